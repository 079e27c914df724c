/* JSON as it arrives from anybody: what parses must survive a copy, an encoding and a second parse unchanged. */
#include <stdint.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_doc_ yyjson_doc *doc = NULL;
    if (json_parse(data, size, &doc, &err) < 0)
        return 0;
    _cleanup_mut_doc_ yyjson_mut_doc *copy = json_copy(yyjson_doc_get_root(doc));
    _cleanup_blob_ struct blob *text = json_encode(yyjson_mut_doc_get_root(copy));
    _cleanup_doc_ yyjson_doc *again = NULL;
    if (json_parse(text->data, text->len, &again, &err) < 0 ||
        !json_equal(yyjson_doc_get_root(doc), yyjson_doc_get_root(again)))
        __builtin_trap();
    return 0;
}
