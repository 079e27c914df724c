/* The `format` keyword of string and integer schemas. */
#pragma once

#include <stdbool.h>

#include "base/json.h"

/* Whether a value (of the right JSON type) fits the format. Unknown formats fit everything, as OpenAPI has it. */
bool format_fits(const char *format, yyjson_val *value);
