/* The served groups, versions and resources, as discovery and OpenAPI need them. A catalog is a snapshot. */
#pragma once

#include "apiserver/rest.h"
#include "base/json.h"

VEC_DEFINE(name_vec, const char *);
VEC_DEFINE(extra_vec, const struct rest_extra *);

struct catalog_group {
    const char *name;
    struct name_vec versions; /* the preferred one first: v2, v1, v1beta1, v1alpha1 */
    struct kind_vec kinds;
    struct extra_vec extras; /* those that are announced */
};
VEC_DEFINE(catalog_vec, struct catalog_group);

/* Sorted by name, so the core group comes first. The caller frees it by catalog_done. */
void catalog_read(struct rest_server *server, struct catalog_vec *ret);
void catalog_done(struct catalog_vec *catalog);
#define _cleanup_catalog_ __attribute__((cleanup(catalog_done)))

const struct catalog_group *catalog_find(const struct catalog_vec *catalog, const char *group);
bool catalog_has_version(const struct catalog_group *g, const char *version);

/* < 0 when version a is preferred to b (Kubernetes: GA before beta before alpha, then the higher number). */
int catalog_compare_versions(const char *a, const char *b);

/* The extras that are subresources of a kind in this version; and whether an extra stands for itself in it. */
bool catalog_extra_below(const struct rest_extra *e, const struct kind *kind);
bool catalog_extra_alone(const struct rest_extra *e, const char *version);

/* "create get" as a list of strings. */
yyjson_mut_val *catalog_verbs(yyjson_mut_doc *d, const char *verbs);
#define STATUS_VERBS "get patch update"
/* The verbs of the subresources that the core serves for a kind; NULL when it does not. */
const char *catalog_subresource_verbs(const struct kind *kind, const char *subresource);
extern const char *const catalog_subresources[]; /* their names, NULL-terminated */
