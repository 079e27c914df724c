#include "agent/core/patches.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/vec.h"

#define RETRY_FIRST_MS 100
#define RETRY_MAX_MS 10000
#define CONFLICT_MS 50
#define CONFLICTS_SOON 10

struct entry {
    yyjson_mut_doc *patch;
    void (*done)(void *userdata, const struct gw_error *err);
    void *userdata;
};
VEC_DEFINE(entry_vec, struct entry);

struct patches {
    struct patches_config config;
    char *ns, *name;
    struct entry_vec queue;
    struct api_call *call;
    struct env_timer *timer;
    bool sending_entry; /* the call under way is queue.items[0], else it is what was wanted */
    bool touched;
    bool conflicted; /* and nothing newer was heard of since */
    unsigned failures;
};

static void next(void *userdata);

static void schedule(struct patches *p, int64_t delay_ms)
{
    env_timer_cancel(p->config.env, &p->timer);
    p->timer = env_timer(p->config.env, delay_ms, next, p);
}

struct patches *patches_new(const struct patches_config *config)
{
    struct patches *p = xnew(struct patches);

    p->config = *config;
    p->ns = xstrdup(config->ns);
    p->name = xstrdup(config->name);
    p->config.ns = p->ns;
    p->config.name = p->name;
    return p;
}

struct patches *patches_free(struct patches *p)
{
    if (!p)
        return NULL;
    api_cancel(p->call);
    env_timer_cancel(p->config.env, &p->timer);
    VEC_EACH(&p->queue, e)
        yyjson_mut_doc_free(e->patch);
    entry_vec_done(&p->queue);
    free(p->ns);
    free(p->name);
    free(p);
    return NULL;
}

/* Whether the same request may do better later. */
static bool is_passing(const struct gw_error *err)
{
    switch (err->reason) {
    case GW_CONFLICT:
    case GW_TOO_MANY_REQUESTS:
    case GW_INTERNAL_ERROR:
    case GW_SERVICE_UNAVAILABLE:
    case GW_TIMEOUT:
    case GW_STORAGE_FULL:
    case GW_UNAUTHORIZED: /* a certificate that is being renewed */
        return true;
    default:
        return false;
    }
}

static void end_entry(struct patches *p, const struct gw_error *err)
{
    struct entry e = p->queue.items[0];

    entry_vec_remove(&p->queue, 0);
    yyjson_mut_doc_free(e.patch);
    if (e.done)
        e.done(e.userdata, err);
}

static void on_written(void *userdata, struct api_answer *answer)
{
    struct patches *p = userdata;
    bool entry = p->sending_entry;

    p->call = NULL;
    p->sending_entry = false;
    if (answer->err && is_passing(answer->err)) {
        p->touched = true;
        p->failures++;
        p->conflicted = answer->err->reason == GW_CONFLICT && p->failures < CONFLICTS_SOON;
        if (!p->conflicted)
            log_debug("%s %s/%s: %s", p->config.resource->plural, p->ns, p->name, answer->err->message);
        schedule(p,
                 p->conflicted ? CONFLICT_MS : env_backoff(p->config.env, p->failures, RETRY_FIRST_MS, RETRY_MAX_MS));
        if (p->conflicted && p->config.stale)
            p->config.stale(p->config.userdata);
        return;
    }
    p->failures = 0;
    if (answer->err && !entry && answer->err->reason != GW_NOT_FOUND)
        log_warn("%s %s/%s: %s", p->config.resource->plural, p->ns, p->name, answer->err->message);
    schedule(p, 0); /* before the callbacks, which may free everything */
    yyjson_doc *doc = answer->err ? NULL : TAKE_PTR(answer->doc);
    bool gone = answer->err && answer->err->reason == GW_NOT_FOUND;
    if (doc || gone)
        p->config.written(p->config.userdata, &doc);
    yyjson_doc_free(doc);
    if (entry)
        end_entry(p, answer->err);
}

static void send(struct patches *p, yyjson_mut_doc *patch)
{
    p->call = api_patch(p->config.env->client, p->config.resource, p->ns, p->name, p->config.sub, API_PATCH_MERGE,
                        patch, on_written, p);
}

static void next(void *userdata)
{
    struct patches *p = userdata;

    p->timer = NULL;
    if (p->call)
        return;
    if (p->queue.len > 0) {
        p->sending_entry = true;
        send(p, p->queue.items[0].patch);
        return;
    }
    if (!p->touched)
        return;
    p->touched = false;
    _cleanup_mut_doc_ yyjson_mut_doc *patch = p->config.wanted(p->config.userdata);
    if (patch)
        send(p, patch);
}

void patches_touch(struct patches *p)
{
    p->touched = true;
    if (!p->call && (!p->timer || p->conflicted))
        schedule(p, 0);
    p->conflicted = false;
}

void patches_add(struct patches *p, yyjson_mut_doc *patch, void (*done)(void *userdata, const struct gw_error *err),
                 void *userdata)
{
    entry_vec_push(&p->queue, (struct entry){patch, done, userdata});
    if (!p->call && (!p->timer || p->failures == 0))
        schedule(p, 0);
}

bool patches_idle(const struct patches *p)
{
    return !p || (!p->call && !p->timer && !p->touched && p->queue.len == 0);
}
