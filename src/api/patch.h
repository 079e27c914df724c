/* Patches on a JSON tree: RFC 6902, RFC 7386 and Kubernetes' strategic merge. All work in place on a document that the
 * caller copied before, so a failed patch leaves only that copy half changed. */
#pragma once

#include "api/schema.h"
#include "base/json.h"

/* RFC 6902. Two deviations follow kube-apiserver: `test` of an absent path against null succeeds; an operation whose
 * path (or its parent) is absent is Invalid (422), as is a failed test. A malformed patch is BadRequest. At most
 * PATCH_MAX_OPERATIONS operations. */
#define PATCH_MAX_OPERATIONS 10000
int patch_json(yyjson_mut_doc *doc, yyjson_val *operations, struct gw_error *err);

/* RFC 7386. */
int patch_merge(yyjson_mut_doc *doc, yyjson_val *patch, struct gw_error *err);

/* Strategic merge by the patch strategies and merge keys of the schema; directives $patch (replace, merge, delete),
 * $deleteFromPrimitiveList/F, $setElementOrder/F, $retainKeys. BadRequest when a list item lacks its merge key or a
 * directive is malformed. */
int patch_strategic(yyjson_mut_doc *doc, const struct schema *schema, yyjson_val *patch, struct gw_error *err);

/* Server-side apply: old with what the configuration names in its place, lists that are maps or sets item by item. What
 * `applied` (field_set.h: the fields that this applier named last; NULL: none) has, and neither the configuration nor
 * `kept` (the fields of all others), goes. ret: a new value in d. BadRequest when an item lacks its keys, or comes
 * twice. */
int patch_apply(yyjson_mut_doc *d, const struct schema *schema, yyjson_val *old, yyjson_val *configuration,
                yyjson_mut_val *applied, yyjson_mut_val *kept, yyjson_mut_val **ret, struct gw_error *err);
