/* Immutable bytes shared by reference count: an encoded object or event that many readers send without a copy.
 * Counting is atomic, so that blobs cross threads. */
#pragma once

#include <stddef.h>

#include "base/cleanup.h"

struct blob {
    unsigned refs;
    size_t len;
    char data[]; /* len bytes and a NUL */
};

/* A new blob with one reference and a copy of data (data may be NULL: uninitialised, to be filled before it is shared).
 */
struct blob *blob_new(const void *data, size_t len);
struct blob *blob_text(const char *text);
struct blob *blob_ref(struct blob *b);
/* Drops one reference; NULL is allowed. Returns NULL. */
struct blob *blob_unref(struct blob *b);

DEFINE_CLEANUP(struct blob *, blob_unref)
#define _cleanup_blob_ _cleanup_(blob_unrefp)
