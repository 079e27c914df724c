/* The stored form of objects (docs/architecture.md): encoded without apiVersion, kind and metadata.resourceVersion,
 * always beginning with {"metadata":{ so that any served version is its prefix and then the stored bytes from
 * OBJECT_SKIP. */
#pragma once

#include "base/json.h"
#include "base/str.h"

#define OBJECT_START "{\"metadata\":{"
#define OBJECT_SKIP (sizeof(OBJECT_START) - 1)

/* Encodes a full object. d is changed: apiVersion, kind and metadata.resourceVersion leave it, metadata comes first.
 * metadata must hold at least one more field (a name), which every stored object has. */
struct blob *object_store(yyjson_mut_doc *d);

/* Appends the whole object as clients see it. api_version and kind need no escaping. */
void object_write(struct str *out, const char *api_version, const char *kind, int64_t revision, const void *stored,
                  size_t len);

/* The whole object parsed; the caller frees it. InternalError if the stored bytes are damaged. */
int object_load(const char *api_version, const char *kind, int64_t revision, const void *stored, size_t len,
                yyjson_doc **ret, struct gw_error *err);
