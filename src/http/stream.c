/* Streams. The queue is filled by any thread and emptied on the loop's, by MHD's content reader. A reader that finds
 * nothing suspends its connection; whoever queues something kicks the loop, which resumes it.
 *
 * MHD takes a suspended connection out of its epoll set, so it would not notice a client that leaves an idle watch.
 * Each stream therefore has the loop watch its socket for a hang-up besides. A client that only half-closes its side is
 * taken as gone: no client of this API does that. */
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

static int on_hangup(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    struct http_stream *st = userdata;

    pthread_mutex_lock(&st->lock);
    st->cut = true;
    kick(st);
    pthread_mutex_unlock(&st->lock);
    return 0;
}

struct MHD_Response *stream_response(struct http_stream *st)
{
    /* Chunks are put together in the connection's buffer; the response's own is used for HTTP/1.0 only. */
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 512, stream_read, http_stream_ref(st), unref_stream);

    if (sd_event_add_io(st->s->loop, &st->hangup, st->c->fd, EPOLLRDHUP, on_hangup, st) >= 0)
        (void)sd_event_source_set_enabled(st->hangup, SD_EVENT_ONESHOT);
    return response;
}

static void resume(struct http_stream *st)
{
    if (!st->suspended)
        return;
    st->suspended = false;
    MHD_resume_connection(st->c->mhd);
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
        resume(st);
    http_stream_unref(st);
}

void stream_over(struct http_stream *st)
{
    pthread_mutex_lock(&st->lock);
    st->over = true;
    drop_queue(st);
    pthread_mutex_unlock(&st->lock);
    COUNT(st->s, streams, -1);
    st->hangup = sd_event_source_disable_unref(st->hangup);
    if (st->closed)
        st->closed(st, st->userdata);
    http_stream_unref(st);
}
