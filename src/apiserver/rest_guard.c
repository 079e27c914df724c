/* Who may list a view sees of it what he may get: everybody may list projects (k8s.io/apiserver knows nothing like it;
 * openshift/openshift-apiserver keeps a cache of who may see which namespace). A watch asks anew at each event, so what
 * a role gives or takes later shows with the next change of the object or the next list. */
#include <pthread.h>
#include <stdlib.h>

#include "apiserver/rest_call.h"
#include "base/map.h"

/* The user outlives the request: watches keep it. */
struct guard {
    struct selection_guard base;
    struct rest_server *server;
    struct rest_target target;
    char *name, **groups;
    struct api_user user;
    pthread_mutex_t lock;
    struct map *shown; /* a set of keys */
};

static bool may_get(const struct guard *g, const char *name)
{
    struct rest_target t = g->target;

    t.name = name;
    return g->server->authorize(g->server->data, &g->user, &t, NULL, NULL, NULL) == 0;
}

static bool may_see(struct selection_guard *base, const char *name)
{
    return may_get((const struct guard *)base, name);
}

static void note(struct selection_guard *base, const char *key, bool shown)
{
    struct guard *g = (struct guard *)base;

    pthread_mutex_lock(&g->lock);
    if (shown)
        map_put(g->shown, key, g);
    else
        map_remove(g->shown, key);
    pthread_mutex_unlock(&g->lock);
}

static bool was_shown(struct selection_guard *base, const char *key)
{
    struct guard *g = (struct guard *)base;
    bool shown;

    pthread_mutex_lock(&g->lock);
    shown = map_has(g->shown, key);
    pthread_mutex_unlock(&g->lock);
    return shown;
}

static void guard_free(struct selection_guard *base)
{
    struct guard *g = (struct guard *)base;

    for (size_t i = 0; i < g->user.n_groups; i++)
        free(g->groups[i]);
    free(g->groups);
    free(g->name);
    map_free(g->shown);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

struct selection_guard *rest_guard(struct rest_call *c)
{
    const struct api_user *u = &c->request->user;
    struct guard *g;

    if (!c->server->authorize)
        return NULL;
    g = xnew(struct guard);
    *g = (struct guard){
        .base = {.may_see = may_see, .note = note, .was_shown = was_shown, .free = guard_free},
        .server = c->server,
        .target = {.verb = "get",
                   .group = call_kind(c)->group,
                   .version = c->target.version,
                   .resource = call_kind(c)->plural,
                   .kind = call_kind(c)},
        .name = xstrdup(u->name),
        .groups = xnew_n(char *, u->n_groups + 1),
        .shown = map_new(NULL),
    };
    pthread_mutex_init(&g->lock, NULL);
    for (size_t i = 0; i < u->n_groups; i++)
        g->groups[i] = xstrdup(u->groups[i]);
    g->user = (struct api_user){.name = g->name, .groups = (const char *const *)g->groups, .n_groups = u->n_groups};
    if (may_get(g, NULL)) { /* all of them */
        guard_free(&g->base);
        return NULL;
    }
    return &g->base;
}
