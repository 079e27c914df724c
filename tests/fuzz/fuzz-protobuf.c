/* Protobuf bodies of built-in kinds. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "api/protobuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct kinds *kinds;
    _cleanup_mut_doc_ yyjson_mut_doc *d = NULL;

    if (!kinds && kinds_new(&kinds, NULL) < 0)
        abort();
    if (protobuf_decode(kinds, data, size, &d, NULL) == 0)
        free(json_text(yyjson_mut_doc_get_root(d)));
    return 0;
}
