#include "api/object.h"

#include <inttypes.h>
#include <string.h>

struct blob *object_store(yyjson_mut_doc *d)
{
    yyjson_mut_val *root = yyjson_mut_doc_get_root(d), *metadata;

    (void)yyjson_mut_obj_remove_key(root, "apiVersion");
    (void)yyjson_mut_obj_remove_key(root, "kind");
    metadata = yyjson_mut_obj_remove_key(root, "metadata");
    if (!yyjson_mut_is_obj(metadata))
        metadata = yyjson_mut_obj(d);
    (void)yyjson_mut_obj_remove_key(metadata, "resourceVersion");
    yyjson_mut_obj_insert(root, yyjson_mut_str(d, "metadata"), metadata, 0);
    return json_encode(root);
}

void object_write(struct str *out, const char *api_version, const char *kind, int64_t revision, const void *stored,
                  size_t len)
{
    str_reserve(out, len + 160);
    str_printf(out, "{\"kind\":\"%s\",\"apiVersion\":\"%s\",\"metadata\":{\"resourceVersion\":\"%" PRId64 "\",", kind,
               api_version, revision);
    str_add(out, (const char *)stored + OBJECT_SKIP, len - OBJECT_SKIP);
}

int object_load(const char *api_version, const char *kind, int64_t revision, const void *stored, size_t len,
                yyjson_doc **ret, struct gw_error *err)
{
    _cleanup_str_ struct str text = {0};
    _cleanup_error_ struct gw_error fault = GW_ERROR_INIT;

    if (len <= OBJECT_SKIP || memcmp(stored, OBJECT_START, OBJECT_SKIP) != 0)
        return gw_error_set(err, GW_INTERNAL_ERROR, "a stored %s is damaged", kind);
    object_write(&text, api_version, kind, revision, stored, len);
    if (json_parse(text.data, text.len, ret, &fault) < 0)
        return gw_error_set(err, GW_INTERNAL_ERROR, "a stored %s is damaged: %s", kind, gw_error_message(&fault));
    return 0;
}
