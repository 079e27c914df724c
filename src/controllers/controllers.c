#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/map.h"
#include "controllers/frame.h"

#define PARALLEL 8
/* How often it is looked whether the first lists are complete. */
#define SYNC_POLL_MS 20

static size_t count_keep(const char *const *keep)
{
    size_t n = 0;

    while (keep && keep[n])
        n++;
    return n;
}

/* Adds a watch's fields to the union; a watch that reads all makes it all. */
static void merge_keep(struct shared *s, const char *const *keep)
{
    size_t have = count_keep(s->keep), more = count_keep(keep);

    if (!keep) {
        free(s->keep);
        s->keep = NULL;
    }
    if (!s->keep)
        return;
    s->keep = xrealloc(s->keep, (have + more + 1) * sizeof(*s->keep));
    memcpy(s->keep + have, keep, more * sizeof(*keep));
    s->keep[have + more] = NULL;
}

static void share(struct controllers *cs, const struct controller_watch *w)
{
    VEC_EACH(&cs->shared, s)
        if (s->resource == w->resource) {
            merge_keep(s, w->keep);
            return;
        }
    struct shared s = {.resource = w->resource};
    if (w->keep) {
        s.keep = xnew_n(const char *, 1);
        merge_keep(&s, w->keep);
    }
    shared_vec_push(&cs->shared, s);
}

static void start_informers(struct controllers *cs, const struct controller *const *table)
{
    for (const struct controller *const *c = table; *c; c++)
        for (const struct controller_watch *w = (*c)->watches; w->resource; w++)
            share(cs, w);
    if (custom_wanted(table))
        share(cs, &custom_definitions);
    VEC_EACH(&cs->shared, s)
        s->informer = informer_new(cs->env, &(struct informer_config){.resource = s->resource, .keep = s->keep});
    for (const struct controller *const *c = table; *c; c++)
        for (const struct controller_watch *w = (*c)->watches; w->resource; w++)
            for (const struct informer_index *i = w->indexes; i && i->name; i++)
                informer_add_index(controllers_informer(cs, w->resource), i->name, i->fn);
}

static void free_error(void *p)
{
    gw_error_done(p);
    free(p);
}

static void add_running(struct controllers *cs, const struct controller *c)
{
    struct running *r = xnew(struct running);
    _cleanup_free_ char *component = xasprintf("godwit-%s", c->name);

    r->controller = c;
    r->all = cs;
    r->queue = workqueue_new(cs->env, c->parallel ? c->parallel : PARALLEL, task_run, r);
    r->events = event_recorder_new(cs->env, component, NULL);
    r->state = c->start ? c->start(cs->env) : NULL;
    r->tasks = map_new(task_free);
    r->errors = map_new(free_error);
    running_vec_push(&cs->running, r);
}

/* Handlers are added when all caches are filled: each then hears of all objects as new ones. */
static void connect(struct controllers *cs)
{
    VEC_EACH(&cs->running, r)
        for (const struct controller_watch *w = (*r)->controller->watches; w->resource; w++) {
            if (w->silent)
                continue;
            struct link *l = xnew(struct link);
            *l = (struct link){.running = *r, .watch = w};
            link_vec_push(&cs->links, l);
            informer_add_handler(controllers_informer(cs, w->resource), link_changed, l);
        }
    custom_start(cs);
}

static bool all_filled(const struct controllers *cs)
{
    VEC_EACH(&cs->shared, s)
        if (!informer_has_synced(s->informer))
            return false;
    return true;
}

static void look_if_filled(void *userdata)
{
    struct controllers *cs = userdata;

    cs->sync_timer = NULL;
    if (all_filled(cs))
        connect(cs);
    else
        cs->sync_timer = env_timer(cs->env, SYNC_POLL_MS, look_if_filled, cs);
}

struct controllers *controllers_start(struct env *env, const struct controller *const *table)
{
    struct controllers *cs = xnew(struct controllers);

    cs->env = env;
    start_informers(cs, table);
    for (; *table; table++)
        add_running(cs, *table);
    look_if_filled(cs);
    return cs;
}

/* --- end --- */

static void running_free(struct running *r)
{
    map_free(r->tasks);
    workqueue_free(r->queue);
    event_recorder_free(r->events);
    map_free(r->errors);
    if (r->controller->stop)
        r->controller->stop(r->state);
    free(r);
}

struct controllers *controllers_stop(struct controllers *cs)
{
    if (!cs)
        return NULL;
    env_timer_cancel(cs->env, &cs->sync_timer);
    VEC_EACH(&cs->shared, s)
        informer_free(s->informer);
    custom_stop(cs);
    VEC_EACH(&cs->running, r)
        running_free(*r);
    VEC_EACH(&cs->links, l)
        free(*l);
    VEC_EACH(&cs->shared, s)
        free(s->keep);
    shared_vec_done(&cs->shared);
    running_vec_done(&cs->running);
    link_vec_done(&cs->links);
    custom_vec_done(&cs->custom);
    free(cs);
    return NULL;
}

bool controllers_synced(const struct controllers *cs)
{
    return !cs->sync_timer;
}

bool controllers_idle(const struct controllers *cs)
{
    VEC_EACH(&cs->running, r)
        if (workqueue_busy((*r)->queue))
            return false;
    return controllers_synced(cs);
}
