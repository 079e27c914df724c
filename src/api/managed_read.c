/* Entries as they come from an object, and what is kept out of sets. */
#include <string.h>

#include "api/managed_entry.h"

/* Clients may send sets back; those that we make are narrower. */
#define WIDTH_MAX (16 * FIELD_SET_WIDTH)

static bool is_set(yyjson_val *node)
{
    yyjson_val *key, *value;

    if (!yyjson_is_obj(node) || yyjson_obj_size(node) > WIDTH_MAX)
        return false;
    json_each_member(node, key, value)
        if (!is_set(value))
            return false;
    return true;
}

static bool is_valid(yyjson_val *entry)
{
    const char *operation = json_str_or(entry, "/operation", ""), *type = json_str_or(entry, "/fieldsType", "");

    return (streq(operation, APPLY) || streq(operation, UPDATE)) && streq(type, "FieldsV1") &&
           is_set(yyjson_obj_get(entry, "fieldsV1"));
}

yyjson_mut_val *managed_read(yyjson_mut_doc *d, yyjson_val *entries)
{
    yyjson_val *entry;

    json_each(entries, entry)
        if (!is_valid(entry))
            return yyjson_mut_arr(d);
    return yyjson_is_arr(entries) ? yyjson_val_mut_copy(d, entries) : yyjson_mut_arr(d);
}

bool managed_is_reset(yyjson_val *entries)
{
    yyjson_val *only = yyjson_arr_size(entries) == 1 ? yyjson_arr_get_first(entries) : NULL, *key, *value;

    json_each_member(only, key, value)
        if (!yyjson_is_null(value))
            return false;
    return yyjson_is_obj(only);
}

static const char *const unmanaged[] = {"f:apiVersion", "f:kind"};
static const char *const unmanaged_metadata[] = {
    "f:name",          "f:namespace",         "f:uid",
    "f:generation",    "f:creationTimestamp", "f:deletionTimestamp",
    "f:selfLink",      "f:resourceVersion",   "f:deletionGracePeriodSeconds",
    "f:managedFields",
};

void managed_forget(yyjson_mut_val *set)
{
    yyjson_mut_val *metadata = yyjson_mut_obj_get(set, "f:metadata");

    for (size_t i = 0; i < ARRAY_SIZE(unmanaged); i++)
        yyjson_mut_obj_remove_key(set, unmanaged[i]);
    for (size_t i = 0; metadata && i < ARRAY_SIZE(unmanaged_metadata); i++)
        yyjson_mut_obj_remove_key(metadata, unmanaged_metadata[i]);
    yyjson_mut_obj_remove_key(metadata, "."); /* every object has metadata */
    if (metadata && field_set_empty(metadata))
        yyjson_mut_obj_remove_key(set, "f:metadata");
}
