/* Any JSON as an object of a large kind: pruned, defaulted, validated. What was pruned once has nothing more to prune.
 */
#include <stdint.h>

#include "api/columns.h"
#include "api/kind.h"

static const struct kind *machines(void)
{
    static struct kinds *kinds;

    if (!kinds && kinds_new(&kinds, NULL) < 0)
        __builtin_trap();
    return kinds_find(kinds, "kubevirt.io", "v1", "virtualmachineinstances");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct kind *kind = machines();
    _cleanup_doc_ yyjson_doc *doc = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct text_vec faults = {0}, more = {0};

    if (json_parse(data, size, &doc, NULL) < 0)
        return 0;
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_copy(yyjson_doc_get_root(doc));
    schema_prune(kind->schema, d, d->root, &faults);
    schema_default(kind->schema, d, d->root);
    schema_prune(kind->schema, d, d->root, &more);
    if (more.len)
        __builtin_trap();
    text_vec_clear(&faults);
    text_vec_clear(&more);
    _cleanup_doc_ yyjson_doc *fixed = yyjson_mut_doc_imut_copy(d, NULL);
    schema_validate(kind->schema, yyjson_doc_get_root(fixed), "", &err);
    (void)columns_cells(kind, yyjson_doc_get_root(fixed), 0, d);
    return 0;
}
