/* JSON with ' for ", so that tests stay readable. */
#pragma once

#include "base/alloc.h"
#include "base/json.h"

static inline yyjson_doc *json(const char *text)
{
    _cleanup_free_ char *copy = xstrdup(text);
    yyjson_doc *doc = NULL;

    for (char *c = copy; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    assert_return_code(json_parse(copy, strlen(copy), &doc, NULL), 0);
    return doc;
}
