/* YAML as it arrives in request bodies and manifests: what is taken must be JSON of bounded depth, and the same when it
 * is written as YAML and read again. */
#include <stdint.h>
#include <string.h>

#include "api/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_yaml_docs_ struct yaml_docs docs = {0};

    if (yaml_parse_all(data, size, &docs, &err) < 0)
        return 0;
    for (size_t i = 0; i < docs.len; i++) {
        _cleanup_blob_ struct blob *text = json_encode_val(yyjson_doc_get_root(docs.items[i]));
        _cleanup_doc_ yyjson_doc *again = NULL;
        if (json_parse(text->data, text->len, &again, &err) < 0)
            __builtin_trap();
        _cleanup_free_ char *written = yaml_write(yyjson_doc_get_root(docs.items[i]));
        _cleanup_doc_ yyjson_doc *reread = NULL;
        if (yaml_parse(written, strlen(written), &reread, &err) < 0 ||
            !json_equal(yyjson_doc_get_root(docs.items[i]), yyjson_doc_get_root(reread)))
            __builtin_trap();
    }
    return 0;
}
