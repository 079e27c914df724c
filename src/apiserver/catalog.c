#include "apiserver/catalog.h"

#include <stdlib.h>
#include <string.h>

#include "apiserver/rest_call.h"
#include "base/str.h"

const char *const catalog_subresources[] = {"status", "finalize", NULL};

const char *catalog_subresource_verbs(const struct kind *kind, const char *subresource)
{
    if (streq(subresource, "status"))
        return kind->has_status ? STATUS_VERBS : NULL;
    return streq(kind->kind, "Namespace") && !*kind->group ? "update" : NULL;
}

/* How ripe a version is, and its number: v1beta2 is 1 and 2 below major 1. */
struct ripeness {
    int stage; /* 0 GA, 1 beta, 2 alpha, 3 not of this form */
    long major, minor;
};

static struct ripeness ripeness_of(const char *version)
{
    struct ripeness r = {.stage = 3};
    char *end;

    if (*version != 'v')
        return r;
    r.major = strtol(version + 1, &end, 10);
    r.stage = streq(end, "") ? 0 : str_starts(end, "beta") ? 1 : str_starts(end, "alpha") ? 2 : 3;
    r.minor = r.stage ? strtol(end + strcspn(end, "0123456789"), NULL, 10) : 0;
    return r;
}

int catalog_compare_versions(const char *a, const char *b)
{
    struct ripeness x = ripeness_of(a), y = ripeness_of(b);

    if (x.stage != y.stage)
        return x.stage - y.stage;
    if (x.major != y.major)
        return x.major > y.major ? -1 : 1;
    if (x.minor != y.minor)
        return x.minor > y.minor ? -1 : 1;
    return strcmp(a, b);
}

bool catalog_has_version(const struct catalog_group *g, const char *version)
{
    VEC_EACH(&g->versions, v)
        if (streq(*v, version))
            return true;
    return false;
}

static void add_version(struct catalog_group *g, const char *version)
{
    if (!catalog_has_version(g, version))
        name_vec_push(&g->versions, version);
}

static struct catalog_group *group_at(struct catalog_vec *catalog, const char *name)
{
    VEC_EACH(catalog, g)
        if (streq(g->name, name))
            return g;
    catalog_vec_push(catalog, (struct catalog_group){.name = name});
    return &catalog->items[catalog->len - 1];
}

static void add_extras(struct catalog_vec *catalog, const struct rest_extra *table)
{
    for (const struct rest_extra *e = table; e->resource; e++) {
        if (!e->kind)
            continue;
        struct catalog_group *g = group_at(catalog, e->group);
        extra_vec_push(&g->extras, e);
        if (e->version)
            add_version(g, e->version);
    }
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct catalog_group *)a)->name, ((const struct catalog_group *)b)->name);
}

static int by_version(const void *a, const void *b)
{
    return catalog_compare_versions(*(const char *const *)a, *(const char *const *)b);
}

void catalog_read(struct rest_server *server, struct catalog_vec *ret)
{
    struct kind_vec kinds;

    *ret = (struct catalog_vec){0};
    kinds_list(server->kinds, &kinds);
    VEC_EACH(&kinds, k) {
        struct catalog_group *g = group_at(ret, (*k)->group);
        kind_vec_push(&g->kinds, *k);
        for (size_t i = 0; i < (*k)->n_versions; i++)
            if ((*k)->versions[i].served)
                add_version(g, (*k)->versions[i].name);
    }
    kind_vec_done(&kinds);
    add_extras(ret, pod_extras);
    for (const struct rest_extra *const *table = server->extras; table && *table; table++)
        add_extras(ret, *table);
    qsort(ret->items, ret->len, sizeof(*ret->items), by_name);
    VEC_EACH(ret, g)
        qsort(g->versions.items, g->versions.len, sizeof(*g->versions.items), by_version);
}

void catalog_done(struct catalog_vec *catalog)
{
    VEC_EACH(catalog, g) {
        name_vec_done(&g->versions);
        kind_vec_done(&g->kinds);
        extra_vec_done(&g->extras);
    }
    catalog_vec_done(catalog);
}

const struct catalog_group *catalog_find(const struct catalog_vec *catalog, const char *group)
{
    VEC_EACH(catalog, g)
        if (streq(g->name, group))
            return g;
    return NULL;
}

bool catalog_extra_below(const struct rest_extra *e, const struct kind *kind)
{
    return e->subresource && !e->version && streq(e->resource, kind->plural);
}

bool catalog_extra_alone(const struct rest_extra *e, const char *version)
{
    return e->version && streq(e->version, version);
}

yyjson_mut_val *catalog_verbs(yyjson_mut_doc *d, const char *verbs)
{
    yyjson_mut_val *list = yyjson_mut_arr(d);
    size_t len;

    for (; *verbs; verbs += len + (verbs[len] == ' ')) {
        len = strcspn(verbs, " ");
        yyjson_mut_arr_add_strncpy(d, list, verbs, len);
    }
    return list;
}
