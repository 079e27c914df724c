/* Streams. The queue is filled by any thread and emptied on the loop's: first by MHD's content reader, behind the head
 * of the answer. When the reader finds nothing it suspends its connection, and from then on we write the chunks to
 * socket or TLS session ourselves: one system call for an event of a watch, where resuming the connection and
 * suspending it again takes six. MHD gets it back for the end of the stream. (It does not frame chunks for HTTP/1.0,
 * and writes such streams itself all the time.) Whoever queues something kicks the loop.
 *
 * MHD takes a suspended connection out of its epoll set, so it would not notice a client that leaves an idle watch.
 * Each stream therefore has the loop watch its socket besides. A client that only half-closes its side is taken as
 * gone: no client of this API does that. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "http/http_internal.h"

struct http_stream *http_stream_ref(struct http_stream *st)
{
    __atomic_add_fetch(&st->refs, 1, __ATOMIC_RELAXED);
    return st;
}

/* Drops everything that waits; with the lock held. */
static void drop_queue(struct http_stream *st)
{
    if (st->queue.len)
        parts_release(st->queue.items + st->first, st->queue.len - st->first);
    part_vec_done(&st->queue);
    st->first = st->waiting = 0;
    pthread_cond_broadcast(&st->taken);
}

struct http_stream *http_stream_unref(struct http_stream *st)
{
    if (!st || __atomic_sub_fetch(&st->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return NULL;
    drop_queue(st);
    str_done(&st->rest);
    pthread_cond_destroy(&st->taken);
    pthread_mutex_destroy(&st->lock);
    free(st);
    return NULL;
}

static void kick(struct http_stream *st)
{
    if (st->kicked || st->over)
        return;
    st->kicked = true;
    server_kick(st->s, http_stream_ref(st));
}

int http_stream_send(struct http_stream *st, const struct http_part *parts, size_t n)
{
    int r = 0;

    pthread_mutex_lock(&st->lock);
    if (st->over || st->cut || st->closing) {
        parts_release(parts, n);
        r = -EPIPE;
    } else {
        for (size_t i = 0; i < n; i++) {
            part_vec_push(&st->queue, parts[i]);
            st->waiting += parts[i].len;
        }
        if (st->waiting > st->s->config.max_backlog) {
            COUNT(st->s, cut, 1);
            st->cut = true;
            drop_queue(st);
            r = -EPIPE;
        }
        kick(st);
    }
    pthread_mutex_unlock(&st->lock);
    return r;
}

static struct timespec from_now(unsigned ms)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += ms % 1000 * 1000000L;
    if (t.tv_nsec >= 1000000000L) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000L;
    }
    return t;
}

int http_stream_wait(struct http_stream *st, size_t bytes, unsigned timeout_ms)
{
    int r = 0;

    pthread_mutex_lock(&st->lock);
    st->waiters++;
    while (r == 0 && st->waiting > bytes) {
        struct timespec until = from_now(timeout_ms);
        size_t before = st->waiting;

        r = -pthread_cond_timedwait(&st->taken, &st->lock, &until);
        if (r == -ETIMEDOUT && st->waiting < before)
            r = 0;
    }
    if (st->over || st->cut)
        r = -EPIPE;
    st->waiters--;
    pthread_mutex_unlock(&st->lock);
    return r;
}

size_t http_stream_waiting(struct http_stream *st)
{
    size_t n;

    pthread_mutex_lock(&st->lock);
    n = st->waiting;
    pthread_mutex_unlock(&st->lock);
    return n;
}

void http_stream_close(struct http_stream *st)
{
    pthread_mutex_lock(&st->lock);
    if (!st->closing) {
        st->closing = true;
        kick(st);
    }
    pthread_mutex_unlock(&st->lock);
}

/* Moves what fits into buf; with the lock held. */
static size_t take(struct http_stream *st, char *buf, size_t max)
{
    size_t done = 0;

    while (done < max && st->first < st->queue.len) {
        struct http_part *p = &st->queue.items[st->first];
        size_t n = MIN(max - done, p->len);

        memcpy(buf + done, p->blob->data + p->offset, n);
        done += n;
        p->offset += n;
        p->len -= n;
        if (p->len == 0) {
            blob_unref(p->blob);
            st->first++;
        }
    }
    st->waiting -= done;
    if (st->first == st->queue.len)
        part_vec_done(&st->queue), st->first = 0;
    if (st->waiters)
        pthread_cond_broadcast(&st->taken);
    return done;
}

static ssize_t stream_read(void *cls, uint64_t pos, char *buf, size_t max)
{
    struct http_stream *st = cls;
    ssize_t n = 0;

    pthread_mutex_lock(&st->lock);
    if (st->cut)
        n = MHD_CONTENT_READER_END_WITH_ERROR;
    else if ((n = (ssize_t)take(st, buf, max)) == 0 && st->closing)
        n = MHD_CONTENT_READER_END_OF_STREAM;
    if (n == 0) {
        MHD_suspend_connection(st->c->mhd);
        st->suspended = true;
    }
    pthread_mutex_unlock(&st->lock);
    return n;
}

static void unref_stream(void *cls)
{
    http_stream_unref(cls);
}

static void resume(struct http_stream *st)
{
    if (!st->suspended)
        return;
    st->suspended = false;
    MHD_resume_connection(st->c->mhd);
}

/* --- Chunks of our own --- */

#define CHUNK_HEAD 8     /* "3fe8\r\n" */
#define CHUNK_DATA 16360 /* with head and end it fills a TLS record */
#define CHUNKS_A_TURN 32

static void watch_socket(struct http_stream *st, bool until_writable)
{
    (void)sd_event_source_set_io_events(st->source, EPOLLRDHUP | (until_writable ? (uint32_t)EPOLLOUT : 0));
}

/* What is queued, as one chunk; false: nothing is. ret_end: and nothing will come. */
static bool next_chunk(struct http_stream *st, bool *ret_end)
{
    char data[CHUNK_DATA], head[CHUNK_HEAD + 1];
    size_t n;

    pthread_mutex_lock(&st->lock);
    n = take(st, data, sizeof(data));
    *ret_end = n == 0 && (st->closing || st->cut);
    pthread_mutex_unlock(&st->lock);
    if (n == 0)
        return false;
    str_add(&st->rest, head, (size_t)snprintf(head, sizeof(head), "%zx\r\n", n));
    str_add(&st->rest, data, n);
    str_puts(&st->rest, "\r\n");
    return true;
}

/* 0: all of it is written; or -EAGAIN, or another negative errno. */
static ssize_t write_rest(struct http_stream *st)
{
    size_t done = 0;
    ssize_t n = 0;

    while (done < st->rest.len && (n = wire_write(&st->wire, st->rest.data + done, st->rest.len - done)) > 0)
        done += (size_t)n;
    st->rest.len -= done;
    memmove(st->rest.data, st->rest.data + done, st->rest.len);
    return st->rest.len ? (n < 0 ? n : -EPIPE) : 0;
}

/* Writes what it can; the socket tells when there is room for more, and sd-event gives others their turn. */
static void advance(struct http_stream *st)
{
    bool end = false;
    ssize_t r = 0;

    if (!st->suspended || !st->chunked) {
        resume(st);
        return;
    }
    for (int i = 0; i < CHUNKS_A_TURN && r == 0; i++) {
        if (!st->rest.len && !next_chunk(st, &end)) {
            watch_socket(st, false);
            if (end)
                resume(st);
            return;
        }
        r = write_rest(st);
    }
    if (r < 0 && r != -EAGAIN)
        stream_cut(st);
    else
        watch_socket(st, true);
}

static int on_socket(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    struct http_stream *st = userdata;

    if (!(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))) {
        advance(st);
        return 0;
    }
    (void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
    pthread_mutex_lock(&st->lock);
    st->cut = true;
    kick(st);
    pthread_mutex_unlock(&st->lock);
    return 0;
}

struct MHD_Response *stream_response(struct http_stream *st, bool chunked)
{
    /* Chunks are put together in the connection's buffer; the response's own is used for HTTP/1.0 only. */
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 512, stream_read, http_stream_ref(st), unref_stream);

    wire_open(&st->wire, st->c);
    st->chunked = sd_event_add_io(st->s->loop, &st->source, st->c->fd, EPOLLRDHUP, on_socket, st) >= 0 && chunked;
    return response;
}

void stream_cut(struct http_stream *st)
{
    pthread_mutex_lock(&st->lock);
    st->cut = true;
    drop_queue(st);
    pthread_mutex_unlock(&st->lock);
    /* MHD may be waiting for room in the socket, which a slow reader won't make: this ends that wait as well. */
    (void)shutdown(st->c->fd, SHUT_RDWR);
    resume(st);
}

void stream_kick(struct http_stream *st)
{
    bool over, cut;

    pthread_mutex_lock(&st->lock);
    st->kicked = false;
    over = st->over;
    cut = st->cut;
    pthread_mutex_unlock(&st->lock);
    if (cut && !over)
        stream_cut(st);
    else if (!over)
        advance(st);
    http_stream_unref(st);
}

void stream_over(struct http_stream *st)
{
    pthread_mutex_lock(&st->lock);
    st->over = true;
    drop_queue(st);
    pthread_mutex_unlock(&st->lock);
    COUNT(st->s, streams, -1);
    st->source = sd_event_source_disable_unref(st->source);
    if (st->closed)
        st->closed(st, st->userdata);
    http_stream_unref(st);
}
