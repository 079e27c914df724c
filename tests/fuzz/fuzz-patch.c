/* Patches: a byte for the kind of patch, then the object and the patch with a NUL between. What comes out must be JSON
 * that the store can give back: not deeper than a parser takes it. */
#include <stdint.h>
#include <string.h>

#include "api/kind.h"
#include "api/patch.h"

static const struct schema *pod_schema(void)
{
    static struct kinds *kinds;

    if (!kinds && kinds_new(&kinds, NULL) < 0)
        __builtin_trap();
    return kinds_find(kinds, "", "v1", "pods")->schema;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size > 1 ? memchr(data + 1, '\0', size - 1) : NULL;
    _cleanup_doc_ yyjson_doc *object = NULL, *patch = NULL, *again = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    const struct schema *schema = pod_schema();
    int rc;

    if (!end || json_parse(data + 1, (size_t)(end - data - 1), &object, NULL) < 0 ||
        json_parse(end + 1, (size_t)(data + size - end - 1), &patch, NULL) < 0 ||
        !yyjson_is_obj(yyjson_doc_get_root(object)))
        return 0;
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_copy(yyjson_doc_get_root(object));
    if (data[0] % 3 == 0)
        rc = patch_json(d, yyjson_doc_get_root(patch), &err);
    else if (data[0] % 3 == 1)
        rc = patch_merge(d, yyjson_doc_get_root(patch), &err);
    else
        rc = patch_strategic(d, schema, yyjson_doc_get_root(patch), &err);
    if (rc < 0)
        return 0;
    _cleanup_blob_ struct blob *text = json_encode(yyjson_mut_doc_get_root(d));
    if (json_parse(text->data, text->len, &again, &err) < 0)
        __builtin_trap();
    return 0;
}
