/* OpenAPI v3 of the served kinds: what kubectl explains, validates and merges by. One document per group-version, and
 * an index with a hash of each, by which clients cache them for ever. Documents are made when they are asked for; only
 * their hashes are kept, until a kind changes. */
#pragma once

#include "apiserver/catalog.h"
#include "http/uri.h"

struct openapi;

struct openapi *openapi_new(struct rest_server *server);
struct openapi *openapi_free(struct openapi *o);

/* Answers /openapi/v3, /openapi/v3/api/v1, /openapi/v3/apis/GROUP/VERSION; and /openapi/v2 (openapi_v2.h). */
void openapi_handle(struct openapi *o, const struct http_uri *uri, const struct api_request *request,
                    struct api_response *response);

/* The document of one group-version, as a tree that the caller frees; and encoded, a reference that he owns. */
yyjson_mut_doc *openapi_tree(const struct catalog_group *g, const char *version);
struct blob *openapi_document(const struct catalog_group *g, const char *version);

/* 128 bits of hash in hexadecimal: the ETag of a body. */
#define HASH_TEXT 33
char *content_hash(const void *data, size_t len, char *buf);
/* Answers 304 if the request has the body's hash already, else 200 with it; takes the reference over. */
void answer_with_etag(const struct api_request *request, struct api_response *response, const char *content_type,
                      struct blob *body);
