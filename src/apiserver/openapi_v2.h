/* OpenAPI v2 of all kinds in one document, for clients that came before v3: kubectl 1.20 validates by it what it
 * creates, and explains it; later ones look up merge keys in it when they apply. It is made from the v3 documents. */
#pragma once

#include "apiserver/catalog.h"

/* The caller frees it. */
yyjson_mut_doc *openapi_v2_document(const struct catalog_vec *catalog);

/* Its protobuf form, message Document of gnostic's OpenAPIv2.proto. The caller owns the reference. */
#define OPENAPI_V2_PROTOBUF "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
struct blob *openapi_v2_encode(yyjson_mut_val *document);
