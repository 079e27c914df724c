/* YAML to JSON: libyaml's events become a JSON tree by the YAML 1.2 core schema ("yes" is a string, 0o17 is 15).
 * Anchors and aliases are copied out; what foreign bytes can cost is limited by YAML_MAX_NODES and JSON_MAX_DEPTH.
 * Not supported, and refused: keys that are not scalars, merge keys (<<), other tags than the core ones. */
#pragma once

#include "base/json.h"

#define YAML_MAX_NODES 1000000

/* Exactly one document (an empty text is refused). The caller frees *ret. Errors are BadRequest with line and column.
 */
int yaml_parse(const void *data, size_t len, yyjson_doc **ret, struct gw_error *err);

/* v as block YAML that ends with a newline; what reads it back gets v. Caller frees. */
char *yaml_write(yyjson_val *v);

struct yaml_docs {
    yyjson_doc **items;
    size_t len;
};

/* All documents of a stream; documents that are empty are left out. */
int yaml_parse_all(const void *data, size_t len, struct yaml_docs *ret, struct gw_error *err);
void yaml_docs_done(struct yaml_docs *docs);
#define _cleanup_yaml_docs_ __attribute__((cleanup(yaml_docs_done)))
