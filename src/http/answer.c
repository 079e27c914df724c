#include <errno.h>
#include <string.h>

#include "http/http_internal.h"

/* Parts up to this size together are copied into one buffer; larger bodies go out through a window of WINDOW bytes. A
 * TLS record holds 16 KiB at most, and each part sent by itself would become a record and a system call of its own. */
#define JOIN_MAX (32UL << 10)
#define WINDOW (64UL << 10)

void http_add_header(struct http_request *r, const char *name, const char *value)
{
    header_vec_push(&r->headers, (struct header){xstrdup(name), xstrdup(value)});
}

static void set_answer(struct http_request *r, int status, const char *content_type)
{
    r->status = status;
    free(r->content_type);
    r->content_type = xstrdup(content_type);
    parts_release(r->parts.items, r->parts.len);
    r->parts.len = 0;
}

void http_answer(struct http_request *r, int status, const char *content_type, const struct http_part *parts, size_t n)
{
    set_answer(r, status, content_type);
    for (size_t i = 0; i < n; i++)
        part_vec_push(&r->parts, parts[i]);
    answer_compress(r);
}

void http_answer_text(struct http_request *r, int status, const char *content_type, const char *text)
{
    set_answer(r, status, content_type);
    if (text && *text)
        part_vec_push(&r->parts, (struct http_part){blob_text(text), 0, strlen(text)});
}

struct http_stream *http_stream_start(struct http_request *r, int status, const char *content_type,
                                      http_stream_closed closed, void *userdata)
{
    struct http_stream *st = xnew(struct http_stream);
    pthread_condattr_t attr;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&st->lock, NULL);
    pthread_cond_init(&st->taken, &attr);
    pthread_condattr_destroy(&attr);
    st->refs = 2; /* the caller's and the server's */
    st->s = r->c->s;
    st->c = r->c;
    st->closed = closed;
    st->userdata = userdata;
    set_answer(r, status, content_type);
    COUNT(st->s, streams, 1);
    r->stream = st;
    *r->started = true;
    server_post(st->s, r);
    return st;
}

static size_t total(struct part_vec *parts)
{
    size_t n = 0;

    VEC_EACH(parts, p)
        n += p->len;
    return n;
}

/* One blob with all parts, in place of them. */
static void join(struct part_vec *parts, size_t len)
{
    struct blob *all = blob_new(NULL, len);
    size_t at = 0;

    VEC_EACH(parts, p) {
        memcpy(all->data + at, p->blob->data + p->offset, p->len);
        at += p->len;
    }
    parts_release(parts->items, parts->len);
    parts->len = 0;
    part_vec_push(parts, (struct http_part){all, 0, len});
}

/* Each part is let go when it has been read: a large list shrinks while its client takes it. */
struct body {
    struct part_vec parts;
    size_t part, offset; /* what comes next */
};

static ssize_t body_read(void *cls, uint64_t pos, char *buf, size_t max)
{
    struct body *b = cls;
    size_t done = 0;

    while (done < max && b->part < b->parts.len) {
        const struct http_part *p = &b->parts.items[b->part];
        size_t n = MIN(max - done, p->len - b->offset);

        memcpy(buf + done, p->blob->data + p->offset + b->offset, n);
        done += n;
        b->offset += n;
        if (b->offset == p->len) {
            parts_release(p, 1);
            b->part++;
            b->offset = 0;
        }
    }
    return done ? (ssize_t)done : MHD_CONTENT_READER_END_OF_STREAM;
}

static void body_free(void *cls)
{
    struct body *b = cls;

    parts_release(b->parts.items + b->part, b->parts.len - b->part);
    part_vec_done(&b->parts);
    free(b);
}

static void unref_blob(void *cls)
{
    blob_unref(cls);
}

static struct MHD_Response *body_response(struct http_request *r)
{
    size_t len = total(&r->parts);
    struct body *b;

    if (len == 0)
        return MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
    if (r->parts.len > 1 && len <= JOIN_MAX)
        join(&r->parts, len);
    if (r->parts.len == 1) {
        const struct http_part *p = &r->parts.items[0];

        r->parts.len = 0;
        return MHD_create_response_from_buffer_with_free_callback_cls(len, p->blob->data + p->offset, unref_blob,
                                                                      p->blob);
    }
    b = xnew(struct body);
    b->parts = r->parts;
    r->parts = (struct part_vec){0};
    return MHD_create_response_from_callback(len, WINDOW, body_read, b, body_free);
}

enum MHD_Result answer_queue(struct http_request *r)
{
    struct MHD_Response *response = r->stream ? stream_response(r->stream, !r->old) : body_response(r);
    enum MHD_Result result;

    if (!response)
        return MHD_NO;
    r->phase = REQUEST_SENDING;
    if (r->content_type)
        MHD_add_response_header(response, "Content-Type", r->content_type);
    VEC_EACH(&r->headers, h)
        MHD_add_response_header(response, h->name, h->value);
    if (r->c->s->draining) {
        MHD_add_response_header(response, "Connection", "close");
        if (r->stream)
            http_stream_close(r->stream);
    }
    result = MHD_queue_response(r->c->mhd, (unsigned)r->status, response);
    MHD_destroy_response(response);
    return result;
}
