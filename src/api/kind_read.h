/* Private to the registry (kind.c). */
#pragma once

#include "api/kind.h"

/* Reads the JSON form of a kind file into a kind without a schema; the kind keeps a copy. BadRequest with the fault. */
int kind_read(yyjson_val *file, struct kind **ret, struct gw_error *err);

/* The schema to compile, with the fields that every object has; belongs to the kind. */
yyjson_val *kind_schema_source(const struct kind *kind);

struct kind *kind_free(struct kind *kind);
DEFINE_CLEANUP(struct kind *, kind_free)
