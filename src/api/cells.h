/* Columns that no path can tell, as kubectl's users know them: a column whose path is "=NAME" is made by a function
 * here. */
#pragma once

#include "base/json.h"
#include "base/str.h"

/* Appends the text of the cell; nothing appended means null. */
typedef void cell_fn(yyjson_val *object, struct str *out);

/* NULL when there is no such function. */
cell_fn *cell_find(const char *name);
