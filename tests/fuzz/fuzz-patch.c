/* Patches: a byte for the kind of patch, then the object and the patch with a NUL between. What comes out must be JSON
 * that the store can give back: not deeper than a parser takes it. */
#include <stdint.h>
#include <string.h>

#include "api/kind.h"
#include "api/managed_fields.h"
#include "api/patch.h"

static const struct schema *pod_schema(void)
{
    static struct kinds *kinds;

    if (!kinds && kinds_new(&kinds, NULL) < 0)
        __builtin_trap();
    return kinds_find(kinds, "", "v1", "pods")->schema;
}

/* The managers that the object brings, then an apply of the patch by one of them. */
static int apply(yyjson_mut_doc *d, yyjson_val *object, yyjson_val *patch, struct gw_error *err)
{
    const struct schema *s = pod_schema();
    const struct managed_writer w = {.manager = "a", .api_version = "v1", .time = "2026-11-21T08:00:00Z"};
    _cleanup_mut_doc_ yyjson_mut_doc *sets = json_object();
    yyjson_mut_val *entries = managed_read(sets, json_at(object, "/metadata/managedFields")), *root = NULL;
    _cleanup_doc_ yyjson_doc *merged = NULL;
    int rc = patch_apply(d, s, object, patch, managed_applied(entries, &w), managed_by_others(sets, entries, &w), &root,
                         err);

    if (rc < 0)
        return rc;
    yyjson_mut_doc_set_root(d, root);
    merged = yyjson_mut_doc_imut_copy(d, NULL);
    struct field_changes c = field_set_compare(s, object, yyjson_doc_get_root(merged), sets);
    managed_forget(c.set);
    rc = managed_apply(sets, entries, &w, field_set_of(s, patch, sets), &c, false, err);
    (void)managed_update(sets, entries, &w, &c);
    json_set(d, "/metadata/managedFields", yyjson_mut_val_mut_copy(d, entries));
    return rc;
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
    if (data[0] % 4 == 3)
        rc = apply(d, yyjson_doc_get_root(object), yyjson_doc_get_root(patch), &err);
    else if (data[0] % 4 == 0)
        rc = patch_json(d, yyjson_doc_get_root(patch), &err);
    else if (data[0] % 4 == 1)
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
