#include "agent/core/difference.h"

void keep_conditions(yyjson_mut_doc *want, yyjson_val *have)
{
    yyjson_val *list = json_at(have, "/status/conditions");

    json_set(want, "/status/conditions", list ? yyjson_val_mut_copy(want, list) : yyjson_mut_arr(want));
}

/* Copies into to what is in want but not, or otherwise, in have. False when nothing was. */
static bool copy_difference(yyjson_mut_doc *doc, yyjson_mut_val *to, yyjson_val *have, yyjson_mut_val *want)
{
    yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(want);
    yyjson_mut_val *key, *value, *child;
    bool any = false;

    while ((key = yyjson_mut_obj_iter_next(&it))) {
        const char *name = yyjson_mut_get_str(key);
        yyjson_val *present = yyjson_obj_get(have, name);
        value = yyjson_mut_obj_iter_get_val(key);
        if (yyjson_mut_is_obj(value)) {
            child = yyjson_mut_obj(doc);
            if (!copy_difference(doc, child, present, value))
                continue;
        } else {
            _cleanup_doc_ yyjson_doc *wanted = yyjson_mut_val_imut_copy(value, NULL);
            if (present && json_equal(present, yyjson_doc_get_root(wanted)))
                continue;
            child = yyjson_mut_val_mut_copy(doc, value);
        }
        yyjson_mut_obj_put(to, yyjson_mut_strcpy(doc, name), child);
        any = true;
    }
    return any;
}

yyjson_mut_doc *json_difference(yyjson_val *have, yyjson_mut_doc *want)
{
    _cleanup_mut_doc_ yyjson_mut_doc *patch = json_object();

    if (!copy_difference(patch, yyjson_mut_doc_get_root(patch), have, yyjson_mut_doc_get_root(want)))
        return NULL;
    return TAKE_PTR(patch);
}
