/* CustomResourceDefinitions: to kinds, and kinds to them. */
#pragma once

#include "api/kind.h"

/* Checks a CustomResourceDefinition (apiextensions.k8s.io/v1) beyond its own schema: name, names, one storage version,
 * structural schema. What Godwit can't do is refused with a cause (x-kubernetes-validations, conversion webhooks). */
void crd_validate(yyjson_val *crd, struct gw_error *err);

/* Conflict when crd has a name that other, of the same group, has already; the cause's type is the reason for the
 * condition NamesAccepted. */
int crd_check_names(yyjson_val *crd, yyjson_val *other, struct gw_error *err);

/* Registers the kind that crd defines. A built-in kind is never replaced: Forbidden. */
int crd_register(struct kinds *kinds, yyjson_val *crd, struct gw_error *err);
void crd_unregister(struct kinds *kinds, yyjson_val *crd);

/* The CustomResourceDefinition that describes a kind to another API server. Freed by the caller. */
yyjson_mut_doc *crd_from_kind(const struct kind *kind);

/* The name of a shared type: its title, or the name of its file. */
const char *schema_title(const struct schema *s);

/* Writes a schema as plain OpenAPI v3 into d. Shared types become {"$ref": ref_prefix + TITLE} and are appended to refs
 * (when new); with refs NULL they are expanded. */
yyjson_mut_val *schema_write(const struct schema *s, yyjson_mut_doc *d, const char *ref_prefix, struct map *refs);
