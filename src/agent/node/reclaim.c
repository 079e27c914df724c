#include "agent/node/reclaim.h"

#include <dirent.h>
#include <string.h>

#include "agent/core/worker.h"
#include "agent/volumes/volumes.h"
#include "api/volumes.h"
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/strv.h"
#include "client/informer.h"

#define EVERY_MS 30000

struct reclaim {
    struct agent *agent;
    struct informer *volumes[2]; /* of this node, and of all */
    struct env_timer *timer;     /* until the next sweep; NULL: at work */
    struct api_call *call;
    struct strv queue; /* folders still to be asked about */
    char *folder;      /* the one asked about */
    struct job *job;
};

static void next(struct reclaim *r);

static void consider(struct reclaim *r, const char *root, const char *name)
{
    _cleanup_free_ char *mark = root ? xasprintf("%s/%s/" VOLUME_RECLAIM_MARK, root, name) : NULL;

    if (mark && *name != '.' && fs_exists(mark))
        strv_printf(&r->queue, "%s/%s", root, name);
}

static void look_into(struct reclaim *r, const char *root)
{
    DIR *d = root ? opendir(root) : NULL;
    struct dirent *e;

    while (d && (e = readdir(d)))
        consider(r, root, e->d_name);
    if (d)
        closedir(d);
}

static void sweep(void *userdata)
{
    struct reclaim *r = userdata;

    r->timer = NULL;
    look_into(r, r->agent->config.shared_dir);
    look_into(r, r->agent->config.local_dir);
    next(r);
}

static void remove_work(void *userdata)
{
    fs_remove_tree(((struct reclaim *)userdata)->folder, NULL);
}

static void remove_done(void *userdata)
{
    struct reclaim *r = userdata;

    r->job = NULL;
    log_info("volume folder %s: removed, its PersistentVolume is gone", r->folder);
    next(r);
}

static void on_volume(void *userdata, struct api_answer *answer)
{
    struct reclaim *r = userdata;

    r->call = NULL;
    if (answer->err && answer->err->reason == GW_NOT_FOUND)
        r->job = job_start(r->agent->loop, remove_work, remove_done, r);
    if (!r->job)
        next(r);
}

/* A volume is gone, or is no more one of ours; which, is asked as ever. */
static void on_change(void *userdata, const char *key, yyjson_val *old, yyjson_val *obj)
{
    struct reclaim *r = userdata;

    if (obj)
        return;
    consider(r, r->agent->config.shared_dir, key);
    consider(r, r->agent->config.local_dir, key);
    if (r->queue.len && r->timer) {
        env_timer_cancel(r->agent->env, &r->timer);
        next(r);
    }
}

static struct informer *watch(struct reclaim *r, const char *label, const char *value)
{
    static const char *const nothing[] = {NULL};
    _cleanup_free_ char *selector = xasprintf("%s=%s", label, value);
    struct informer *inf = informer_new(
        r->agent->env,
        &(struct informer_config){.resource = &API_PERSISTENTVOLUMES, .label_selector = selector, .keep = nothing});

    informer_add_handler(inf, on_change, r);
    return inf;
}

/* One folder after the other. */
static void next(struct reclaim *r)
{
    free(TAKE_PTR(r->folder));
    if (r->queue.len == 0) {
        r->timer = env_timer(r->agent->env, env_jitter(r->agent->env, EVERY_MS), sweep, r);
        return;
    }
    r->folder = r->queue.items[--r->queue.len];
    r->queue.items[r->queue.len] = NULL;
    r->call = api_get(r->agent->client, &API_PERSISTENTVOLUMES, NULL, strrchr(r->folder, '/') + 1, on_volume, r);
}

struct reclaim *reclaim_start(struct agent *a)
{
    struct reclaim *r = xnew(struct reclaim);

    r->agent = a;
    r->timer = env_timer(a->env, env_jitter(a->env, EVERY_MS), sweep, r);
    r->volumes[0] = watch(r, LABEL_VOLUME_NODE, a->config.node);
    r->volumes[1] = watch(r, LABEL_VOLUME_PLACE, PLACE_SHARED);
    return r;
}

struct reclaim *reclaim_stop(struct reclaim *r)
{
    if (!r)
        return NULL;
    for (size_t i = 0; i < ARRAY_SIZE(r->volumes); i++)
        informer_free(r->volumes[i]);
    api_cancel(r->call);
    env_timer_cancel(r->agent->env, &r->timer);
    if (r->job) /* its thread still uses r; the process ends */
        return NULL;
    free(r->folder);
    strv_done(&r->queue);
    free(r);
    return NULL;
}
