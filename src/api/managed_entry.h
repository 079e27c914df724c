/* What the files of managed_fields.h share: the members of an entry. */
#pragma once

#include "api/managed_fields.h"
#include "base/str.h"

#define APPLY "Apply"
#define UPDATE "Update"

static inline const char *text_of(yyjson_mut_val *entry, const char *key)
{
    const char *text = yyjson_mut_get_str(yyjson_mut_obj_get(entry, key));

    return text ? text : "";
}

static inline yyjson_mut_val *set_of(yyjson_mut_val *entry)
{
    return yyjson_mut_obj_get(entry, "fieldsV1");
}

static inline bool is_apply(yyjson_mut_val *entry)
{
    return streq(text_of(entry, "operation"), APPLY);
}

/* Conflict if entries other than own have fields of set: one cause for each of them. */
int managed_check(yyjson_mut_doc *d, yyjson_mut_val *entries, yyjson_mut_val *own, yyjson_mut_val *set,
                  struct gw_error *err);
