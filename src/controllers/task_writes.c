/* What reconcile asks for: writes, in their order, and when to run again. */
#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "controllers/task_internal.h"

static struct task_write *add(struct task *t, enum task_verb verb, const struct api_resource *r, const char *ns,
                              const char *name)
{
    struct task_write w = {.verb = verb, .resource = r, .ns = ns && *ns ? xstrdup(ns) : NULL, .name = xstrdup(name)};

    task_write_vec_push(&t->writes, w);
    return &t->writes.items[t->writes.len - 1];
}

static struct task_write *add_for(struct task *t, enum task_verb verb, const struct api_resource *r, yyjson_val *obj)
{
    struct task_write *w = add(t, verb, r, meta_namespace(obj), meta_name(obj));

    w->uid = xstrdup(meta_uid(obj));
    return w;
}

void task_create(struct task *t, const struct api_resource *r, const char *ns, yyjson_mut_doc *obj)
{
    add(t, VERB_CREATE, r, ns, json_mut_str(obj, "/metadata/name"))->doc = obj;
}

void task_create_sub(struct task *t, const struct api_resource *r, const char *ns, const char *name, const char *sub,
                     yyjson_mut_doc *obj)
{
    struct task_write *w = add(t, VERB_CREATE_SUB, r, ns, name);

    w->sub = xstrdup(sub);
    w->doc = obj;
}

void task_patch(struct task *t, const struct api_resource *r, yyjson_val *obj, const char *sub, bool precondition,
                yyjson_mut_doc *patch)
{
    struct task_write *w = add_for(t, VERB_PATCH, r, obj);

    json_set_str(patch, "/metadata/uid", w->uid);
    if (precondition)
        w->version = xstrdup(meta_version(obj));
    w->sub = xstrdup(sub);
    w->type = API_PATCH_MERGE;
    w->doc = patch;
}

void task_json_patch(struct task *t, const struct api_resource *r, yyjson_val *obj, const char *sub,
                     yyjson_mut_doc *patch)
{
    struct task_write *w = add_for(t, VERB_PATCH, r, obj);

    w->sub = xstrdup(sub);
    w->type = API_PATCH_JSON;
    w->doc = patch;
}

void task_delete(struct task *t, const struct api_resource *r, yyjson_val *obj, const char *propagation)
{
    add_for(t, VERB_DELETE, r, obj)->propagation = xstrdup(propagation);
}

void task_delete_now(struct task *t, const struct api_resource *r, yyjson_val *obj)
{
    add_for(t, VERB_DELETE_NOW, r, obj);
}

void task_delete_all(struct task *t, const struct api_resource *r, const char *ns)
{
    add(t, VERB_DELETE_ALL, r, ns, NULL);
}

void task_require_absent(struct task *t, const struct api_resource *r, const char *ns, const char *name,
                         const char *uid)
{
    add(t, VERB_ABSENT, r, ns, name)->uid = xstrdup(uid);
}

/* What an event says of its object; the object itself may be gone when the event is told. */
static yyjson_mut_doc *about(yyjson_val *obj)
{
    static const char *const fields[] = {"/apiVersion",    "/kind",         "/metadata/namespace",
                                         "/metadata/name", "/metadata/uid", "/metadata/resourceVersion"};
    yyjson_mut_doc *d = json_object();

    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        if (json_str(obj, fields[i]))
            json_set_str(d, fields[i], json_str(obj, fields[i]));
    return d;
}

void task_event(struct task *t, yyjson_val *obj, const char *type, const char *reason, const char *fmt, ...)
{
    struct task_write w = {.verb = VERB_EVENT, .doc = about(obj), .event_type = type, .event_reason = reason};
    va_list ap;

    va_start(ap, fmt);
    w.message = xvasprintf(fmt, ap);
    va_end(ap);
    task_write_vec_push(&t->writes, w);
}

void task_requeue(struct task *t, int64_t delay_ms)
{
    if (t->requeue_ms < 0 || delay_ms < t->requeue_ms)
        t->requeue_ms = MAX(delay_ms, 0);
}

void task_wake(struct task *t, const char *key)
{
    workqueue_add(t->running->queue, key);
}
