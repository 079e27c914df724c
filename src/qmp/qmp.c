/* One session: CONNECTING (retry timer) -> GREETING -> NEGOTIATING (qmp_capabilities sent) -> READY -> CLOSED.
 *
 * QEMU's monitor outlives its clients: what the one before us asked for is still answered, in the middle of a line
 * even, and to us (monitor/qmp.c sends replies to whoever is connected). So nothing counts before the greeting, and the
 * ids of commands begin at a random place: no reply to somebody else's is taken for one to ours.
 *
 * Callbacks can free the client, so each is bracketed by enter and leave: qmp_free
 * within a callback only marks the client, the memory goes when the outermost callback has returned. */
#include "qmp/qmp.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/unix.h"
#include "qmp/qmp_internal.h"

#define RETRY_US 5000
#define READ_PORTION 65536

static void destroy(struct qmp *q)
{
    commands_done(q);
    frames_done(&q->frames);
    yyjson_doc_free(q->greeting);
    sd_event_unref(q->loop);
    free(q->path);
    free(q->why);
    free(q);
}

static void disconnect(struct qmp *q)
{
    q->io = sd_event_source_disable_unref(q->io);
    q->retry = sd_event_source_disable_unref(q->retry);
    if (q->fd >= 0)
        close(q->fd);
    q->fd = -1;
}

struct qmp *qmp_free(struct qmp *q)
{
    if (!q || q->freed)
        return NULL;
    q->freed = true;
    disconnect(q);
    q->deferred = sd_event_source_disable_unref(q->deferred);
    if (q->depth == 0)
        destroy(q);
    return NULL;
}

static void enter(struct qmp *q)
{
    q->depth++;
}

/* False when the client is gone: the caller must return without touching it. */
static bool leave(struct qmp *q)
{
    if (--q->depth > 0 || !q->freed)
        return !q->freed;
    destroy(q);
    return false;
}

/* Ends the session; callbacks follow from the loop. */
static void fail(struct qmp *q, const char *fmt, ...) _printf_(2, 3);
static void fail(struct qmp *q, const char *fmt, ...)
{
    va_list ap;

    if (q->state == QMP_CLOSED)
        return;
    va_start(ap, fmt);
    q->why = xvasprintf(fmt, ap);
    va_end(ap);
    q->state = QMP_CLOSED;
    disconnect(q);
    (void)sd_event_source_set_enabled(q->deferred, SD_EVENT_ONESHOT);
}

static int on_deferred(sd_event_source *s, void *userdata)
{
    struct qmp *q = userdata;

    enter(q);
    if (commands_lost(q) && !q->told) {
        q->told = true;
        if (q->handlers->closed)
            q->handlers->closed(q->userdata, q->why);
    }
    leave(q);
    return 0;
}

static void on_capabilities(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    struct qmp *q = userdata;

    if (fault) {
        fail(q, "QMP capabilities refused: %s", fault->desc);
        return;
    }
    q->state = QMP_READY;
    q->retry = sd_event_source_disable_unref(q->retry);
    if (q->handlers->ready)
        q->handlers->ready(q->userdata, json_at(yyjson_doc_get_root(q->greeting), "/QMP"));
    if (!q->freed)
        commands_flush(q);
}

/* Anything else before it belongs to an earlier client. It is kept for `ready`; the negotiation goes in front of what
 * callers asked for meanwhile. */
static void handle_greeting(struct qmp *q, yyjson_doc **doc)
{
    struct command *c;

    if (!json_at(yyjson_doc_get_root(*doc), "/QMP"))
        return;
    q->greeting = TAKE_PTR(*doc);
    q->state = QMP_NEGOTIATING;
    struct command_vec later = q->outbox;
    q->outbox = (struct command_vec){0};
    c = command_new(q, "qmp_capabilities", NULL, on_capabilities, q);
    command_vec_push(&q->outbox, c);
    commands_flush(q);
    VEC_EACH(&later, l)
        command_vec_push(&q->outbox, *l);
    command_vec_done(&later);
}

static void handle_event(struct qmp *q, yyjson_val *root, const char *name)
{
    int64_t us = json_int(root, "/timestamp/seconds", 0) * 1000000 + json_int(root, "/timestamp/microseconds", 0);

    if (q->handlers->event)
        q->handlers->event(q->userdata, name, json_at(root, "/data"), us);
}

static void handle_message(struct qmp *q, const char *line, size_t len)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (json_parse(line, len, &doc, &err) < 0) {
        if (q->state != QMP_GREETING)
            fail(q, "QMP message: %s", gw_error_message(&err));
        return;
    }
    yyjson_val *root = yyjson_doc_get_root(doc);
    yyjson_val *result = yyjson_obj_get(root, "return"), *error = yyjson_obj_get(root, "error");
    const char *event = yyjson_get_str(yyjson_obj_get(root, "event"));
    if (q->state == QMP_GREETING)
        handle_greeting(q, &doc);
    else if (event)
        handle_event(q, root, event);
    else if (result || error)
        commands_reply(q, root, result, error);
}

/* Handles all whole messages. Callbacks of one may end the session or free the client. */
static bool handle_messages(struct qmp *q)
{
    const char *line;
    size_t len;

    while (!q->freed && q->state != QMP_CLOSED && frames_next(&q->frames, &line, &len))
        handle_message(q, line, len);
    return !q->freed && q->state != QMP_CLOSED;
}

static void receive(struct qmp *q)
{
    char portion[READ_PORTION];

    for (;;) {
        ssize_t n = recv(q->fd, portion, sizeof(portion), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            fail(q, "%s", n == 0 || errno == ECONNRESET ? "QEMU closed the QMP connection" : strerror(errno));
            return;
        }
        if (!frames_feed(&q->frames, portion, (size_t)n)) {
            fail(q, "QMP message longer than %u bytes", FRAMES_MAX);
            return;
        }
        if (!handle_messages(q) || (size_t)n < sizeof(portion))
            return;
    }
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
    struct qmp *q = userdata;

    enter(q);
    if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR))
        receive(q);
    if (!q->freed && (revents & EPOLLOUT))
        commands_flush(q);
    leave(q);
    return 0;
}

static int start_session(struct qmp *q, int fd)
{
    q->fd = fd;
    q->state = QMP_GREETING;
    int r = sd_event_add_io(q->loop, &q->io, fd, EPOLLIN, on_io, q);
    /* What QEMU said last is heard before anybody tells that it has ended: it may be that a migration is complete. */
    return r < 0 ? r : sd_event_source_set_priority(q->io, SD_EVENT_PRIORITY_IMPORTANT);
}

static void again_in(sd_event_source *timer, uint64_t usec)
{
    (void)sd_event_source_set_time_relative(timer, usec);
    (void)sd_event_source_set_enabled(timer, SD_EVENT_ONESHOT);
}

/* Connects, again and again; once connected the same timer guards the time until the session is ready: QEMU accepts a
 * second client only when the first one leaves, until then the kernel's backlog answers connect(). */
static int on_retry(sd_event_source *s, uint64_t usec, void *userdata)
{
    struct qmp *q = userdata;
    int64_t left_ms = q->deadline_ms - clock_monotonic_ms();

    if (q->state != QMP_CONNECTING) {
        fail(q, "no QMP greeting from %s: another client holds the socket, QEMU hangs, or it is not QEMU's", q->path);
        return 0;
    }
    int fd = unix_connect(q->path);
    if (fd >= 0 && start_session(q, fd) < 0)
        fail(q, "cannot watch the QMP socket");
    else if (fd >= 0)
        again_in(s, (uint64_t)MAX(left_ms, 1) * 1000);
    else if (left_ms <= 0)
        fail(q, "nobody answers at %s: %s", q->path, strerror(-fd));
    else
        again_in(s, RETRY_US);
    return 0;
}

static struct qmp *session_new(sd_event *loop, const struct qmp_handlers *handlers, void *userdata)
{
    struct qmp *q = xnew(struct qmp);

    q->loop = sd_event_ref(loop);
    q->fd = -1;
    q->handlers = handlers;
    q->userdata = userdata;
    q->last_id = commands_first_id();
    return q;
}

/* `start` is the result of setting up the first event source. */
static int session_return(struct qmp *q, int start, struct qmp **ret, struct gw_error *err)
{
    if (start >= 0)
        start = sd_event_add_defer(q->loop, &q->deferred, on_deferred, q);
    if (start >= 0)
        start = sd_event_source_set_enabled(q->deferred, SD_EVENT_OFF);
    if (start < 0) {
        qmp_free(q);
        return gw_error_errno(err, start, "QMP client");
    }
    *ret = q;
    return 0;
}

int qmp_new(sd_event *loop, const char *path, int timeout_ms, const struct qmp_handlers *handlers, void *userdata,
            struct qmp **ret, struct gw_error *err)
{
    struct qmp *q = session_new(loop, handlers, userdata);

    q->path = xstrdup(path);
    q->deadline_ms = clock_monotonic_ms() + timeout_ms;
    return session_return(q, sd_event_add_time_relative(loop, &q->retry, CLOCK_MONOTONIC, 0, 1000, on_retry, q), ret,
                          err);
}

int qmp_new_fd(sd_event *loop, int fd, const struct qmp_handlers *handlers, void *userdata, struct qmp **ret,
               struct gw_error *err)
{
    struct qmp *q = session_new(loop, handlers, userdata);

    return session_return(q, start_session(q, fd), ret, err);
}

bool qmp_is_ready(const struct qmp *q)
{
    return q->state == QMP_READY;
}

bool qmp_is_closed(const struct qmp *q)
{
    return q->state == QMP_CLOSED;
}
