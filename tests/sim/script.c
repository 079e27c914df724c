#include "script.h"

#include <string.h>

#include "base/alloc.h"
#include "base/vec.h"

VEC_DEFINE(call_vec, struct api_call *);

struct script {
    struct api_client client;
    struct call_vec running;
    size_t started, cancelled;
};

static struct script *of(struct api_client *c)
{
    return CONTAINER_OF(c, struct script, client);
}

static void drop(struct script *s, const struct api_call *call)
{
    for (size_t i = 0; i < s->running.len; i++)
        if (s->running.items[i] == call) {
            call_vec_remove(&s->running, i);
            return;
        }
}

static void start(struct api_client *c, struct api_call *call)
{
    call_vec_push(&of(c)->running, call);
    of(c)->started++;
}

static void cancel(struct api_client *c, struct api_call *call)
{
    drop(of(c), call);
    of(c)->cancelled++;
}

static void free_script(struct api_client *c)
{
    call_vec_done(&of(c)->running);
    free(of(c));
}

struct api_client *script_client(void)
{
    static const struct api_client_ops ops = {start, cancel, free_script};
    struct script *s = xnew(struct script);

    s->client.ops = &ops;
    return &s->client;
}

struct api_call *script_call(struct api_client *c, size_t i)
{
    return i < of(c)->running.len ? of(c)->running.items[i] : NULL;
}

size_t script_running(struct api_client *c)
{
    return of(c)->running.len;
}

size_t script_started(struct api_client *c)
{
    return of(c)->started;
}

size_t script_cancelled(struct api_client *c)
{
    return of(c)->cancelled;
}

void script_answer(struct api_call *call, int code, const char *body)
{
    if (body && !api_call_data(call, code, body, strlen(body)))
        return;
    drop(of(call->client), call);
    api_call_end(call, code, NULL);
}

void script_fail(struct api_call *call, enum gw_reason reason, const char *message)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    gw_error_set(&err, reason, "%s", message);
    drop(of(call->client), call);
    api_call_end(call, 0, &err);
}

bool script_data(struct api_call *call, const char *data)
{
    return api_call_data(call, 200, data, strlen(data));
}
