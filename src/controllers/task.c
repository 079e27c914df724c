/* One run of reconcile for a key, and the writes that it asked for.
 *
 * A task lives from the start of the run until its last write is answered. Writes go one after the other, so that a
 * later one is only made when what it builds on is there. After a Conflict or AlreadyExists the cache is known to be
 * behind: the object is read, put into the cache, and the key is run again. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "base/map.h"
#include "base/str.h"
#include "controllers/task_internal.h"

static const char *const verbs[] = {
    [VERB_CREATE] = "create",   [VERB_CREATE_SUB] = "create", [VERB_PATCH] = "patch",
    [VERB_DELETE] = "delete",   [VERB_DELETE_NOW] = "delete", [VERB_DELETE_ALL] = "delete all",
    [VERB_ABSENT] = "look for", [VERB_EVENT] = "tell of",
};

/* An object's key behind a prefix of the controller's own. */
#define TASK_KEY_MAX (OBJECT_KEY_MAX + 128)

static bool is_delete(enum task_verb v)
{
    return v == VERB_DELETE || v == VERB_DELETE_NOW;
}

void task_free(void *p)
{
    struct task *t = p;

    api_cancel(t->call);
    VEC_EACH(&t->writes, w) {
        yyjson_mut_doc_free(w->doc);
        free(w->ns);
        free(w->name);
        free(w->sub);
        free(w->uid);
        free(w->version);
        free(w->propagation);
        free(w->message);
    }
    task_write_vec_done(&t->writes);
    free(t);
}

/* --- how a run ends --- */

/* Frees t; its key is the caller's to keep. */
static struct running *finish(struct task *t, char *key)
{
    struct running *r = t->running;

    snprintf(key, TASK_KEY_MAX, "%s", t->key);
    map_remove(r->tasks, key);
    return r;
}

static void end(struct task *t)
{
    int64_t requeue = t->requeue_ms;
    char key[TASK_KEY_MAX];
    struct running *r = finish(t, key);

    map_remove(r->errors, key);
    if (requeue >= 0)
        workqueue_add_after(r->queue, key, requeue);
    workqueue_done(r->queue, key);
}

static void retry(struct task *t)
{
    char key[TASK_KEY_MAX];
    struct running *r = finish(t, key);

    workqueue_retry(r->queue, key);
}

static void note_failure(struct task *t, const struct task_write *w, const struct gw_error *err)
{
    struct gw_error *copy = xnew(struct gw_error);

    gw_error_set(copy, err->reason, "%s", gw_error_message(err));
    map_put(t->running->errors, t->key, copy);
    log_warn("%s %s: cannot %s %s %s: %s", t->running->controller->name, t->key, verbs[w->verb], w->resource->kind,
             w->name ? w->name : "", gw_error_message(err));
}

/* --- performing --- */

static struct informer *cache_of(struct task *t, const struct task_write *w)
{
    return controllers_informer(t->running->all, w->resource);
}

/* The object that a write answered with, or that was read after it. */
static void observe(struct task *t, const struct task_write *w, yyjson_val *obj)
{
    struct informer *inf = cache_of(t, w);
    const char *kind = json_str_or(obj, "/kind", "");
    char key[OBJECT_KEY_MAX];

    if (!inf)
        return;
    if (streq(kind, w->resource->kind))
        informer_observe(inf, obj);
    else if (is_delete(w->verb) && streq(kind, "Status"))
        informer_observe_deleted(inf, object_key_of(w->ns, w->name, key), w->uid);
}

static void perform(struct task *t);

static void on_read_after_conflict(void *userdata, struct api_answer *answer)
{
    struct task *t = userdata;

    t->call = NULL;
    if (!answer->err)
        observe(t, &t->writes.items[t->at], yyjson_doc_get_root(answer->doc));
    retry(t);
}

static void on_read_after_sub(void *userdata, struct api_answer *answer)
{
    struct task *t = userdata;

    t->call = NULL;
    if (!answer->err)
        observe(t, &t->writes.items[t->at], yyjson_doc_get_root(answer->doc));
    t->at++;
    perform(t);
}

static void read_object(struct task *t, api_done_fn done)
{
    const struct task_write *w = &t->writes.items[t->at];

    t->call = api_get(t->running->all->env->client, w->resource, w->ns, w->name, done, t);
}

static void failed(struct task *t, const struct gw_error *err)
{
    const struct task_write *w = &t->writes.items[t->at];

    if ((err->reason == GW_CONFLICT || err->reason == GW_ALREADY_EXISTS) && w->name) {
        read_object(t, on_read_after_conflict);
        return;
    }
    note_failure(t, w, err);
    retry(t);
}

/* Later writes that demand the version from before this one mean: unless somebody else changed it. */
static void follow_version(struct task *t, const char *version)
{
    const struct task_write *done = &t->writes.items[t->at];
    _cleanup_free_ char *before = xstrdup(done->version);

    if (!before || !version)
        return;
    for (size_t i = t->at + 1; i < t->writes.len; i++) {
        struct task_write *w = &t->writes.items[i];
        if (w->version && w->resource == done->resource && str_same(w->ns, done->ns) && str_same(w->name, done->name) &&
            streq(w->version, before)) {
            free(w->version);
            w->version = xstrdup(version);
        }
    }
}

static void on_looked(void *userdata, struct api_answer *answer)
{
    struct task *t = userdata;
    const struct task_write *w = &t->writes.items[t->at];
    yyjson_val *obj = answer->err ? NULL : yyjson_doc_get_root(answer->doc);

    t->call = NULL;
    if (answer->err && answer->err->reason != GW_NOT_FOUND) {
        failed(t, answer->err);
    } else if (obj && streq(meta_uid(obj), w->uid)) {
        observe(t, w, obj);
        t->requeue_ms = 0;
        end(t);
    } else {
        t->at++;
        perform(t);
    }
}

static void on_written(void *userdata, struct api_answer *answer)
{
    struct task *t = userdata;
    const struct task_write *w = &t->writes.items[t->at];

    t->call = NULL;
    if (answer->err && !(is_delete(w->verb) && answer->err->reason == GW_NOT_FOUND)) {
        failed(t, answer->err);
        return;
    }
    if (!answer->err && answer->doc) {
        observe(t, w, yyjson_doc_get_root(answer->doc));
        follow_version(t, json_str(yyjson_doc_get_root(answer->doc), "/metadata/resourceVersion"));
    }
    if (w->verb == VERB_CREATE_SUB) {
        read_object(t, on_read_after_sub);
        return;
    }
    t->at++;
    perform(t);
}

static struct api_call *send(struct task *t, const struct task_write *w)
{
    struct api_client *c = t->running->all->env->client;

    switch (w->verb) {
    case VERB_CREATE:
        return api_create(c, w->resource, w->ns, w->doc, on_written, t);
    case VERB_CREATE_SUB:
        return api_create_sub(c, w->resource, w->ns, w->name, w->sub, w->doc, on_written, t);
    case VERB_PATCH:
        if (w->version)
            json_set_str(w->doc, "/metadata/resourceVersion", w->version);
        return api_patch(c, w->resource, w->ns, w->name, w->sub, w->type, w->doc, on_written, t);
    case VERB_DELETE:
        return api_delete(c, w->resource, w->ns, w->name, w->uid, w->propagation, on_written, t);
    case VERB_DELETE_NOW:
        return api_delete_now(c, w->resource, w->ns, w->name, w->uid, on_written, t);
    case VERB_DELETE_ALL:
        return api_delete_all(c, w->resource, w->ns, NULL, on_written, t);
    case VERB_ABSENT:
        return api_get(c, w->resource, w->ns, w->name, on_looked, t);
    case VERB_EVENT:
        break;
    }
    return NULL;
}

static void tell(struct task *t, const struct task_write *w)
{
    _cleanup_doc_ yyjson_doc *about = yyjson_mut_doc_imut_copy(w->doc, NULL);

    event_record(t->running->events, yyjson_doc_get_root(about), w->event_type, w->event_reason, "%s", w->message);
}

static void perform(struct task *t)
{
    for (; t->at < t->writes.len && t->writes.items[t->at].verb == VERB_EVENT; t->at++)
        tell(t, &t->writes.items[t->at]);
    if (t->at == t->writes.len)
        end(t);
    else
        t->call = send(t, &t->writes.items[t->at]);
}

void task_run(void *userdata, const char *key)
{
    struct running *r = userdata;
    size_t len = strlen(key) + 1;
    struct task *t = xcalloc(1, sizeof(*t) + len);

    t->running = r;
    t->requeue_ms = -1;
    memcpy(t->key, key, len);
    map_put(r->tasks, key, t);
    r->controller->reconcile(t, t->key);
    perform(t);
}
