/* Large answers are compressed for clients who ask for it. Level 1: the others cost several times the time for a tenth
 * of the bytes (docs/decisions/0008-gzip.md). */
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "http/http_internal.h"

/* Below this the network is faster than the compressor, wherever both are of this decade; kube-apiserver has the same.
 */
#define GZIP_MIN (128UL << 10)
#define GZIP_WINDOW_BITS (15 + 16) /* the largest window, and a gzip header */
#define GZIP_MEMORY_LEVEL 8
#define CHUNK (64UL << 10)

/* "gzip", "deflate, gzip;q=0.5", "*"; not "gzip;q=0" */
static bool accepts_gzip(const char *header)
{
    for (const char *p = header; p && *p; p += strcspn(p, ","), p += *p == ',') {
        size_t len;

        p += strspn(p, " \t");
        len = strcspn(p, ",; \t");
        if ((len == 4 && strncasecmp(p, "gzip", 4) == 0) || (len == 1 && *p == '*')) {
            const char *q = p + len + strspn(p + len, " \t;");

            return !(strncmp(q, "q=0", 3) == 0 && strspn(q + 3, ".0") == strcspn(q + 3, ", \t"));
        }
    }
    return false;
}

static int run(z_stream *z, int flush, struct str *out)
{
    int r;

    do {
        str_reserve(out, CHUNK);
        z->next_out = (Bytef *)out->data + out->len;
        z->avail_out = CHUNK;
        r = deflate(z, flush);
        out->len += CHUNK - z->avail_out;
    } while (r == Z_OK && z->avail_out == 0);
    return r == Z_OK || r == Z_STREAM_END || r == Z_BUF_ERROR ? 0 : -EIO;
}

static int compress_parts(const struct part_vec *parts, struct str *out)
{
    z_stream z = {0};
    int r = deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, GZIP_WINDOW_BITS, GZIP_MEMORY_LEVEL, Z_DEFAULT_STRATEGY) == Z_OK
                ? 0
                : -ENOMEM;

    VEC_EACH(parts, p) {
        z.next_in = (Bytef *)p->blob->data + p->offset;
        z.avail_in = (uInt)p->len;
        r = r < 0 ? r : run(&z, Z_NO_FLUSH, out);
    }
    r = r < 0 ? r : run(&z, Z_FINISH, out);
    (void)deflateEnd(&z);
    return r;
}

void answer_compress(struct http_request *r)
{
    _cleanup_str_ struct str out = {0};
    size_t len = 0;

    VEC_EACH(&r->parts, p)
        len += p->len;
    if (len < GZIP_MIN || r->status != 200 || !accepts_gzip(http_header(r, "Accept-Encoding")) ||
        compress_parts(&r->parts, &out) < 0)
        return;
    parts_release(r->parts.items, r->parts.len);
    r->parts.len = 0;
    part_vec_push(&r->parts, (struct http_part){blob_new(out.data, out.len), 0, out.len});
    http_add_header(r, "Content-Encoding", "gzip");
    http_add_header(r, "Vary", "Accept-Encoding");
}
