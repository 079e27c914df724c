#include "agent/migration/script.h"

#include <stdarg.h>

#include "base/alloc.h"
#include "base/vec.h"

struct step {
    const char *command;
    yyjson_mut_doc *args;
    bool may_fail;
};
VEC_DEFINE(step_vec, struct step);

struct script {
    struct qmp *qmp;
    struct step_vec steps;
    size_t at;
    bool waiting; /* a reply is to come, which holds the script */
    bool cancelled;
    script_done_fn done;
    void *userdata;
};

struct script *script_new(struct qmp *q)
{
    struct script *s = xnew(struct script);

    s->qmp = q;
    return s;
}

static void add(struct script *s, const char *command, yyjson_mut_doc *args, bool may_fail)
{
    step_vec_push(&s->steps, (struct step){command, args, may_fail});
}

void script_add(struct script *s, const char *command, yyjson_mut_doc *args)
{
    add(s, command, args, false);
}

void script_try(struct script *s, const char *command, yyjson_mut_doc *args)
{
    add(s, command, args, true);
}

static void release(struct script *s)
{
    for (size_t i = s->at; i < s->steps.len; i++)
        if (s->steps.items[i].args)
            yyjson_mut_doc_free(s->steps.items[i].args);
    step_vec_done(&s->steps);
    free(s);
}

static void finish(struct script *s, const char *fault)
{
    script_done_fn done = s->done;
    void *userdata = s->userdata;

    release(s);
    done(userdata, fault);
}

static void send_next(struct script *s);

static void replied(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    struct script *s = userdata;
    const struct step *step = &s->steps.items[s->at - 1];

    (void)result;
    s->waiting = false;
    if (s->cancelled) {
        release(s);
    } else if (fault && !step->may_fail) {
        _cleanup_free_ char *text = xasprintf("%s: %s", step->command, fault->desc);
        finish(s, text);
    } else if (s->at == s->steps.len) {
        finish(s, NULL);
    } else {
        send_next(s);
    }
}

static void send_next(struct script *s)
{
    struct step *step = &s->steps.items[s->at++];

    s->waiting = true;
    qmp_command(s->qmp, step->command, TAKE_PTR(step->args), replied, s);
}

void script_run(struct script *s, script_done_fn done, void *userdata)
{
    s->done = done;
    s->userdata = userdata;
    if (s->steps.len == 0) /* a round trip all the same, so that done comes from the loop */
        add(s, "query-name", NULL, true);
    send_next(s);
}

struct script *script_cancel(struct script *s)
{
    if (!s)
        return NULL;
    if (s->waiting)
        s->cancelled = true;
    else
        release(s);
    return NULL;
}

struct script *script_drop(struct script *s)
{
    if (s)
        release(s);
    return NULL;
}

yyjson_mut_doc *script_args(const char *path, ...)
{
    yyjson_mut_doc *d = json_object();
    va_list ap;

    va_start(ap, path);
    for (; path; path = va_arg(ap, const char *))
        json_set_str(d, path, va_arg(ap, const char *));
    va_end(ap);
    return d;
}
