/* Label and field selectors of query strings, and JSONPaths and patterns of definitions. */
#include <stdint.h>
#include <string.h>

#include "api/jsonpath.h"
#include "api/pattern.h"
#include "api/selector.h"
#include "base/alloc.h"

static const char object[] = "{\"metadata\":{\"name\":\"n\",\"labels\":{\"a\":\"b\",\"c/"
                             "d\":\"5\"}},\"status\":{\"conditions\":[{\"type\":\"Ready\","
                             "\"status\":\"True\"},3,null]}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const allowed[] = {"status.phase", NULL};
    _cleanup_free_ char *text = xstrndup((const char *)data, size);
    _cleanup_free_ char *pattern = pattern_translate(text);
    _cleanup_doc_ yyjson_doc *doc = yyjson_read(object, strlen(object), 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    _cleanup_selector_ struct selector *labels = NULL;
    _cleanup_field_selector_ struct field_selector *fields = NULL;
    _cleanup_(jsonpath_freep) struct jsonpath *path = NULL;

    (void)pattern;

    if (selector_parse(text, &labels, NULL) == 0)
        (void)selector_matches(labels, json_at(root, "/metadata/labels"));
    if (field_selector_parse(text, allowed, &fields, NULL) == 0)
        (void)field_selector_matches(fields, root);
    if (jsonpath_parse(text, &path, NULL) == 0)
        (void)jsonpath_first(path, root);
    return 0;
}
