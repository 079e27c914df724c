#include "client/packer.h"

#include <stdlib.h>
#include <zlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"

/* Raw deflate; the window spans a dictionary and a text of usual size, and the states of both directions together take
 * 150 KB, once for a cache. */
#define WINDOW_BITS (-14)
#define MEMORY_LEVEL 5
#define LEVEL 1
#define PATTERN_MAX (8UL << 10)

struct packer {
    z_stream in, out; /* deflate, inflate */
    char *pattern;
    unsigned pattern_len;
};

struct packer *packer_new(const char *pattern, size_t len)
{
    struct packer *p = xnew(struct packer);

    p->pattern_len = (unsigned)MIN(len, PATTERN_MAX);
    p->pattern = xmemdup(pattern, p->pattern_len);
    if (deflateInit2(&p->in, LEVEL, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK ||
        inflateInit2(&p->out, WINDOW_BITS) != Z_OK)
        abort(); /* out of memory */
    return p;
}

struct packer *packer_free(struct packer *p)
{
    if (!p)
        return NULL;
    (void)deflateEnd(&p->in);
    (void)inflateEnd(&p->out);
    free(p->pattern);
    free(p);
    return NULL;
}

char *packer_pack(struct packer *p, const char *text, size_t len, size_t *ret_len)
{
    char *packed = xmalloc(len + 1);

    (void)deflateReset(&p->in);
    (void)deflateSetDictionary(&p->in, (const Bytef *)p->pattern, p->pattern_len);
    p->in.next_in = (Bytef *)text;
    p->in.avail_in = (uInt)len;
    p->in.next_out = (Bytef *)packed;
    p->in.avail_out = (uInt)len;
    if (deflate(&p->in, Z_FINISH) != Z_STREAM_END) {
        free(packed);
        return NULL;
    }
    *ret_len = len - p->in.avail_out;
    return xrealloc(packed, *ret_len + 1);
}

char *packer_unpack(struct packer *p, const char *packed, size_t packed_len, size_t len)
{
    char *text = xmalloc(len + 1);

    (void)inflateReset(&p->out);
    (void)inflateSetDictionary(&p->out, (const Bytef *)p->pattern, p->pattern_len);
    p->out.next_in = (Bytef *)packed;
    p->out.avail_in = (uInt)packed_len;
    p->out.next_out = (Bytef *)text;
    p->out.avail_out = (uInt)len;
    if (inflate(&p->out, Z_FINISH) != Z_STREAM_END || p->out.avail_out)
        abort(); /* our own memory was overwritten */
    text[len] = '\0';
    return text;
}
