/* meta.k8s.io/v1 Table: column definitions and cells of a kind. */
#pragma once

#include "api/kind.h"

/* The array columnDefinitions, Name first. */
yyjson_mut_val *columns_definitions(const struct kind *kind, yyjson_mut_doc *d);
/* The array of cells of one object (null for what is missing; dates as human ages seen from now, in ms). Strings are
 * copied into d. */
yyjson_mut_val *columns_cells(const struct kind *kind, yyjson_val *object, int64_t now, yyjson_mut_doc *d);

#define AGE_TEXT_MAX 64
/* "12s", "4m8s", "3h", "2d4h", "5y": what kubectl prints for an age in seconds. Returns buf. */
char *age_format(int64_t seconds, char *buf);
