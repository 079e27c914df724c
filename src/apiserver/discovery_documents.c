#include "apiserver/discovery_documents.h"

#include <string.h>

#include "base/alloc.h"

static char *group_version(const char *group, const char *version)
{
    return *group ? xasprintf("%s/%s", group, version) : xstrdup(version);
}

static void add_texts(yyjson_mut_doc *d, yyjson_mut_val *to, const char *key, const char *const *texts)
{
    yyjson_mut_val *list;

    if (!texts || !*texts)
        return;
    list = yyjson_mut_obj_add_arr(d, to, key);
    for (; *texts; texts++)
        yyjson_mut_arr_add_strcpy(d, list, *texts);
}

void legacy_versions(yyjson_mut_doc *d, const struct catalog_group *core)
{
    yyjson_mut_val *list = yyjson_mut_arr(d), *address = yyjson_mut_arr(d), *any;

    for (size_t i = 0; core && i < core->versions.len; i++)
        yyjson_mut_arr_add_strcpy(d, list, core->versions.items[i]);
    any = yyjson_mut_arr_add_obj(d, address);
    yyjson_mut_obj_add_str(d, any, "clientCIDR", "0.0.0.0/0");
    yyjson_mut_obj_add_str(d, any, "serverAddress", "");
    json_set_str(d, "/kind", "APIVersions");
    json_set(d, "/versions", list);
    json_set(d, "/serverAddressByClientCIDRs", address);
}

static yyjson_mut_val *version_of(yyjson_mut_doc *d, const struct catalog_group *g, const char *version)
{
    _cleanup_free_ char *text = group_version(g->name, version);
    yyjson_mut_val *o = yyjson_mut_obj(d);

    yyjson_mut_obj_add_strcpy(d, o, "groupVersion", text);
    yyjson_mut_obj_add_strcpy(d, o, "version", version);
    return o;
}

static void fill_group(yyjson_mut_doc *d, yyjson_mut_val *to, const struct catalog_group *g)
{
    yyjson_mut_val *list;

    yyjson_mut_obj_add_strcpy(d, to, "name", g->name);
    list = yyjson_mut_obj_add_arr(d, to, "versions");
    VEC_EACH(&g->versions, v)
        yyjson_mut_arr_append(list, version_of(d, g, *v));
    yyjson_mut_obj_add_val(d, to, "preferredVersion", version_of(d, g, g->versions.items[0]));
}

void legacy_group(yyjson_mut_doc *d, const struct catalog_group *g)
{
    json_set_str(d, "/kind", "APIGroup");
    json_set_str(d, "/apiVersion", "v1");
    fill_group(d, d->root, g);
}

void legacy_groups(yyjson_mut_doc *d, const struct catalog_vec *catalog)
{
    yyjson_mut_val *list = yyjson_mut_arr(d);

    json_set_str(d, "/kind", "APIGroupList");
    json_set_str(d, "/apiVersion", "v1");
    VEC_EACH(catalog, g)
        if (*g->name)
            fill_group(d, yyjson_mut_arr_add_obj(d, list), g);
    json_set(d, "/groups", list);
}

static yyjson_mut_val *add_resource(yyjson_mut_doc *d, yyjson_mut_val *list, const char *resource,
                                    const char *subresource, const char *singular, bool namespaced, const char *kind,
                                    const char *verbs)
{
    _cleanup_free_ char *name = xasprintf("%s%s%s", resource, subresource ? "/" : "", subresource ? subresource : "");
    yyjson_mut_val *o = yyjson_mut_arr_add_obj(d, list);

    yyjson_mut_obj_add_strcpy(d, o, "name", name);
    yyjson_mut_obj_add_strcpy(d, o, "singularName", singular);
    yyjson_mut_obj_add_bool(d, o, "namespaced", namespaced);
    yyjson_mut_obj_add_strcpy(d, o, "kind", kind);
    yyjson_mut_obj_add_val(d, o, "verbs", catalog_verbs(d, verbs));
    return o;
}

static void add_extra_resource(yyjson_mut_doc *d, yyjson_mut_val *list, const struct rest_extra *e, bool namespaced)
{
    yyjson_mut_val *o = add_resource(d, list, e->resource, e->subresource, "", namespaced, e->kind, e->verbs);

    if (e->kind_group) {
        yyjson_mut_obj_add_str(d, o, "group", e->kind_group);
        yyjson_mut_obj_add_str(d, o, "version", e->kind_version);
    }
}

static void add_kind(yyjson_mut_doc *d, yyjson_mut_val *list, const struct catalog_group *g, const struct kind *k)
{
    yyjson_mut_val *o = add_resource(d, list, k->plural, NULL, k->singular, k->namespaced, k->kind, k->verbs);

    add_texts(d, o, "shortNames", k->short_names);
    add_texts(d, o, "categories", k->categories);
    for (const char *const *sub = catalog_subresources; *sub; sub++)
        if (catalog_subresource_verbs(k, *sub))
            add_resource(d, list, k->plural, *sub, "", k->namespaced, k->kind, catalog_subresource_verbs(k, *sub));
    VEC_EACH(&g->extras, e)
        if (catalog_extra_below(*e, k))
            add_extra_resource(d, list, *e, k->namespaced);
}

void legacy_resources(yyjson_mut_doc *d, const struct catalog_group *g, const char *version)
{
    _cleanup_free_ char *text = group_version(g->name, version);
    yyjson_mut_val *list = yyjson_mut_arr(d);

    json_set_str(d, "/kind", "APIResourceList");
    json_set_str(d, "/apiVersion", "v1");
    json_set_str(d, "/groupVersion", text);
    VEC_EACH(&g->kinds, k)
        if (*(*k)->verbs && kind_version(*k, version))
            add_kind(d, list, g, *k);
    VEC_EACH(&g->extras, e)
        if (catalog_extra_alone(*e, version))
            add_extra_resource(d, list, *e, (*e)->namespaced);
    json_set(d, "/resources", list);
}

/* --- Aggregated --- */

/* What a resource, or subresource, answers with. */
struct response_kind {
    const char *group, *version, *kind;
};

static void add_response_kind(yyjson_mut_doc *d, yyjson_mut_val *to, const struct response_kind *k)
{
    yyjson_mut_val *o = yyjson_mut_obj_add_obj(d, to, "responseKind");

    yyjson_mut_obj_add_strcpy(d, o, "group", k->group);
    yyjson_mut_obj_add_strcpy(d, o, "version", k->version);
    yyjson_mut_obj_add_strcpy(d, o, "kind", k->kind);
}

static yyjson_mut_val *aggregated_resource(yyjson_mut_doc *d, const char *name, const struct response_kind *kind,
                                           bool namespaced, const char *singular, const char *verbs)
{
    yyjson_mut_val *o = yyjson_mut_obj(d);

    yyjson_mut_obj_add_strcpy(d, o, "resource", name);
    add_response_kind(d, o, kind);
    yyjson_mut_obj_add_str(d, o, "scope", namespaced ? "Namespaced" : "Cluster");
    yyjson_mut_obj_add_strcpy(d, o, "singularResource", singular);
    yyjson_mut_obj_add_val(d, o, "verbs", catalog_verbs(d, verbs));
    return o;
}

static void add_subresource(yyjson_mut_doc *d, yyjson_mut_val *list, const char *name, const struct response_kind *kind,
                            const char *verbs)
{
    yyjson_mut_val *o = yyjson_mut_arr_add_obj(d, list);

    yyjson_mut_obj_add_strcpy(d, o, "subresource", name);
    add_response_kind(d, o, kind);
    yyjson_mut_obj_add_val(d, o, "verbs", catalog_verbs(d, verbs));
}

static struct response_kind extra_kind(const struct rest_extra *e, const char *version)
{
    return (struct response_kind){e->kind_group ? e->kind_group : e->group, e->kind_version ? e->kind_version : version,
                                  e->kind};
}

static yyjson_mut_val *aggregated_kind(yyjson_mut_doc *d, const struct catalog_group *g, const struct kind *k,
                                       const char *version)
{
    struct response_kind own = {k->group, version, k->kind};
    yyjson_mut_val *o = aggregated_resource(d, k->plural, &own, k->namespaced, k->singular, k->verbs),
                   *list = yyjson_mut_arr(d);

    add_texts(d, o, "shortNames", k->short_names);
    add_texts(d, o, "categories", k->categories);
    for (const char *const *sub = catalog_subresources; *sub; sub++)
        if (catalog_subresource_verbs(k, *sub))
            add_subresource(d, list, *sub, &own, catalog_subresource_verbs(k, *sub));
    VEC_EACH(&g->extras, e)
        if (catalog_extra_below(*e, k)) {
            struct response_kind kind = extra_kind(*e, version);
            add_subresource(d, list, (*e)->subresource, &kind, (*e)->verbs);
        }
    if (yyjson_mut_arr_size(list))
        yyjson_mut_obj_add_val(d, o, "subresources", list);
    return o;
}

static yyjson_mut_val *find_resource(yyjson_mut_val *list, const char *name)
{
    yyjson_mut_val *o;
    size_t i, max;

    yyjson_mut_arr_foreach(list, i, max, o)
        if (yyjson_mut_equals_str(yyjson_mut_obj_get(o, "resource"), name))
            return o;
    return NULL;
}

/* Subresources without a resource of their own stand below one that has neither kind nor verbs: clients leave it out,
 * as they do with that of an aggregated API server. */
static void add_extra(yyjson_mut_doc *d, yyjson_mut_val *list, const struct rest_extra *e, const char *version)
{
    static const struct response_kind none = {"", "", ""};
    struct response_kind kind = extra_kind(e, version);
    yyjson_mut_val *o = find_resource(list, e->resource), *subresources;

    if (!e->subresource) {
        yyjson_mut_arr_append(list, aggregated_resource(d, e->resource, &kind, e->namespaced, "", e->verbs));
        return;
    }
    if (!o) {
        o = aggregated_resource(d, e->resource, &none, e->namespaced, "", "");
        yyjson_mut_arr_append(list, o);
    }
    subresources = yyjson_mut_obj_get(o, "subresources");
    if (!subresources)
        subresources = yyjson_mut_obj_add_arr(d, o, "subresources");
    add_subresource(d, subresources, e->subresource, &kind, e->verbs);
}

static void fill_aggregated(yyjson_mut_doc *d, yyjson_mut_val *to, const struct catalog_group *g)
{
    yyjson_mut_val *metadata = yyjson_mut_obj_add_obj(d, to, "metadata"), *versions, *o, *list;

    if (*g->name)
        yyjson_mut_obj_add_strcpy(d, metadata, "name", g->name);
    yyjson_mut_obj_add_null(d, metadata, "creationTimestamp");
    versions = yyjson_mut_obj_add_arr(d, to, "versions");
    VEC_EACH(&g->versions, v) {
        o = yyjson_mut_arr_add_obj(d, versions);
        yyjson_mut_obj_add_strcpy(d, o, "version", *v);
        list = yyjson_mut_obj_add_arr(d, o, "resources");
        VEC_EACH(&g->kinds, k)
            if (*(*k)->verbs && kind_version(*k, *v))
                yyjson_mut_arr_append(list, aggregated_kind(d, g, *k, *v));
        VEC_EACH(&g->extras, e)
            if (catalog_extra_alone(*e, *v))
                add_extra(d, list, *e, *v);
        yyjson_mut_obj_add_str(d, o, "freshness", "Current");
    }
}

void aggregated_groups(yyjson_mut_doc *d, const struct catalog_vec *catalog, bool core, const char *version)
{
    _cleanup_free_ char *api_version = xasprintf("apidiscovery.k8s.io/%s", version);
    yyjson_mut_val *list = yyjson_mut_arr(d);

    json_set_str(d, "/kind", "APIGroupDiscoveryList");
    json_set_str(d, "/apiVersion", api_version);
    json_set(d, "/metadata", yyjson_mut_obj(d));
    VEC_EACH(catalog, g)
        if (core == !*g->name)
            fill_aggregated(d, yyjson_mut_arr_add_obj(d, list), g);
    json_set(d, "/items", list);
}
