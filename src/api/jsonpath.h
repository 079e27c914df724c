/* The JSONPath subset of printer columns and selectable fields: .a.b, ['a'], ["a.b"], \. in names, [0], [-1], [*], .*,
 * and filters
 * [?(@.type=="Ready")] with == and !=. */
#pragma once

#include "base/json.h"

struct jsonpath;

int jsonpath_parse(const char *text, struct jsonpath **ret, struct gw_error *err);
/* The first match, or NULL. */
yyjson_val *jsonpath_first(const struct jsonpath *p, yyjson_val *root);
/* Calls visit for each match, until it returns false. */
void jsonpath_each(const struct jsonpath *p, yyjson_val *root, bool (*visit)(void *data, yyjson_val *v), void *data);
struct jsonpath *jsonpath_free(struct jsonpath *p);
DEFINE_CLEANUP(struct jsonpath *, jsonpath_free)
