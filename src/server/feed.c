/* A feed has two holders: the worker while it sends the initial state, and the stream from then on. Whoever finds the
 * other one gone closes the watcher: the worker when the stream is over, the stream's end when the worker is done. */
#include "server/feed.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>

#include "base/alloc.h"

#define AHEAD_BYTES (1UL << 20) /* initial state that may wait for the reader */
#define PATIENCE_MS 30000

static_assert(sizeof(struct http_part) == sizeof(struct api_part) &&
                  offsetof(struct http_part, len) == offsetof(struct api_part, len),
              "lines go from one to the other as they are");

struct feed {
    struct watcher *watcher;
    struct http_stream *stream;
    pthread_mutex_t lock; /* guards the two below, and on_ready against close */
    bool worker_done, stream_over;
};

static void feed_free(struct feed *f)
{
    watcher_close(f->watcher);
    http_stream_unref(f->stream);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

/* Moves the lines that are ready. Returns what watcher_next or the stream said last. */
static int pump(struct feed *f, bool patiently)
{
    int r;

    do {
        struct api_parts lines = {0};

        r = watcher_next(f->watcher, &lines);
        if (r > 0 && http_stream_send(f->stream, (const struct http_part *)lines.items, lines.len) < 0)
            r = -EPIPE;
        api_parts_done(&lines); /* the references went to the stream */
        if (r > 0 && patiently && http_stream_wait(f->stream, AHEAD_BYTES, PATIENCE_MS) < 0)
            r = -EPIPE;
    } while (r > 0);
    return r;
}

static void on_ready(void *userdata)
{
    struct feed *f = userdata;

    if (pump(f, false) < 0)
        http_stream_close(f->stream);
}

static void on_over(struct http_stream *st, void *userdata)
{
    struct feed *f = userdata;
    bool last;

    pthread_mutex_lock(&f->lock);
    f->stream_over = true;
    last = f->worker_done;
    pthread_mutex_unlock(&f->lock);
    if (last)
        feed_free(f);
}

void feed_start(struct http_request *r, int status, const char *content_type, struct watcher *w)
{
    struct feed *f = xnew(struct feed);
    bool last;
    int going;

    f->watcher = w;
    pthread_mutex_init(&f->lock, NULL);
    f->stream = http_stream_start(r, status, content_type, on_over, f);
    going = pump(f, true);
    pthread_mutex_lock(&f->lock);
    if (going == 0 && !f->stream_over)
        watcher_on_ready(w, on_ready, f);
    else
        http_stream_close(f->stream);
    f->worker_done = true;
    last = f->stream_over;
    pthread_mutex_unlock(&f->lock);
    if (last)
        feed_free(f);
}
