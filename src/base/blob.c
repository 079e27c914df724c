#include "base/blob.h"

#include <string.h>

#include "base/alloc.h"

struct blob *blob_new(const void *data, size_t len)
{
    struct blob *b = xmalloc(sizeof(*b) + len + 1);

    b->refs = 1;
    b->len = len;
    if (data && len)
        memcpy(b->data, data, len);
    b->data[len] = '\0';
    return b;
}

struct blob *blob_text(const char *text)
{
    return blob_new(text, strlen(text));
}

struct blob *blob_ref(struct blob *b)
{
    __atomic_add_fetch(&b->refs, 1, __ATOMIC_RELAXED);
    return b;
}

struct blob *blob_unref(struct blob *b)
{
    if (b && __atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL) == 0)
        free(b);
    return NULL;
}
