/* What a controller watches, and the cache of each kind: those of its table, and users' kinds if it wants them. */
#include <stdlib.h>

#include "controllers/frame.h"

struct informer *controllers_informer(const struct controllers *cs, const struct api_resource *r)
{
    VEC_EACH(&cs->shared, s)
        if (s->resource == r)
            return s->informer;
    VEC_EACH(&cs->custom, c)
        if (&(*c)->resource == r)
            return (*c)->informer;
    return NULL;
}

struct informer *running_informer(const struct running *r, const struct api_resource *resource)
{
    struct informer *inf = controllers_informer(r->all, resource);

    if (inf)
        return inf;
    VEC_EACH(&r->all->custom, c)
        if (&(*c)->resource == resource)
            return NULL;
    abort(); /* not in the controller's table of watches */
}

const struct api_resource *running_next_resource(const struct running *r, size_t *at)
{
    size_t n = 0;

    for (const struct controller_watch *w = r->controller->watches; w->resource; w++, n++)
        if (n == *at) {
            ++*at;
            return w->resource;
        }
    for (size_t i = *at - n; r->controller->custom && i < r->all->custom.len; i++) {
        *at = n + i + 1;
        if (r->all->custom.items[i]->informer)
            return &r->all->custom.items[i]->resource;
    }
    return NULL;
}

const struct api_resource *running_resource(const struct running *r, const char *group, const char *kind)
{
    const struct api_resource *gone = NULL;

    for (const struct controller_watch *w = r->controller->watches; w->resource; w++)
        if (api_resource_is(w->resource, group, kind))
            return w->resource;
    VEC_EACH(&r->all->custom, c) {
        if (!r->controller->custom || !api_resource_is(&(*c)->resource, group, kind))
            continue;
        if ((*c)->informer)
            return &(*c)->resource;
        gone = &(*c)->resource;
    }
    return gone;
}
