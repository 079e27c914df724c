/* One command at a time: IDLE -> SYNCING (guest-sync-delimited is out) -> ASKING (the command is out) -> IDLE. The byte
 * 0xff, which no JSON text holds, stands before the answer to guest-sync-delimited, and before the command so that the
 * guest's parser begins anew. */
#include "qmp/ga.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/vec.h"
#include "qmp/frames.h"

#define SENTINEL "\xff"
#define PORTION 16384
#define BEHIND_OTHERS (SD_EVENT_PRIORITY_NORMAL + 10)

enum phase { PHASE_IDLE, PHASE_SYNCING, PHASE_ASKING };

struct command {
    const char *name;
    char *text;
    int patience_ms;
    ga_reply_fn reply;
    void *userdata;
};
VEC_DEFINE(command_vec, struct command);

struct ga {
    enum phase phase;
    int fd;
    sd_event_source *io, *timer, *turn;
    void (*closed)(void *userdata, const char *why);
    void *userdata;
    struct command_vec queue; /* the first one is under way unless IDLE */
    struct str out;           /* still to be written */
    struct frames frames;
    bool marked;  /* a sentinel has come since the last line */
    size_t taken; /* bytes read for this command */
    int64_t sync;
    char *why; /* set once the session is over */
    bool told; /* closed was called */
    int depth; /* callbacks on the stack */
    bool freed;
};

static void command_done(struct command *c)
{
    free(c->text);
}

static void destroy(struct ga *g)
{
    VEC_EACH(&g->queue, c)
        command_done(c);
    command_vec_done(&g->queue);
    str_done(&g->out);
    frames_done(&g->frames);
    free(g->why);
    free(g);
}

static void disconnect(struct ga *g)
{
    g->io = sd_event_source_disable_unref(g->io);
    if (g->fd >= 0)
        close(g->fd);
    g->fd = -1;
}

struct ga *ga_free(struct ga *g)
{
    if (!g || g->freed)
        return NULL;
    g->freed = true;
    disconnect(g);
    g->timer = sd_event_source_disable_unref(g->timer);
    g->turn = sd_event_source_disable_unref(g->turn);
    if (g->depth == 0)
        destroy(g);
    return NULL;
}

/* False when the client is gone. */
static bool leave(struct ga *g)
{
    bool alive = !g->freed;

    if (--g->depth == 0 && !alive)
        destroy(g);
    return alive;
}

static void soon(struct ga *g)
{
    (void)sd_event_source_set_enabled(g->turn, SD_EVENT_ONESHOT);
}

/* Ends the session; callbacks follow from the loop. */
static void fail(struct ga *g, const char *fmt, ...) _printf_(2, 3);
static void fail(struct ga *g, const char *fmt, ...)
{
    va_list ap;

    if (g->why)
        return;
    va_start(ap, fmt);
    g->why = xvasprintf(fmt, ap);
    va_end(ap);
    disconnect(g);
    soon(g);
}

void ga_end(struct ga *g, const char *why)
{
    fail(g, "%s", why);
}

/* --- One command --- */

/* The client may be gone afterwards. */
static void complete(struct ga *g, yyjson_val *result, const struct ga_fault *fault)
{
    struct command c = g->queue.items[0];

    command_vec_remove(&g->queue, 0);
    g->phase = PHASE_IDLE;
    g->out.len = 0;
    (void)sd_event_source_set_enabled(g->timer, SD_EVENT_OFF);
    soon(g);
    if (c.reply)
        c.reply(c.userdata, result, fault);
    command_done(&c);
}

static void complete_silent(struct ga *g, const char *text)
{
    complete(g, NULL, &(struct ga_fault){GA_SILENT, text, g->phase == PHASE_ASKING});
}

static void flush(struct ga *g)
{
    ssize_t n = g->out.len ? send(g->fd, g->out.data, g->out.len, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;

    if (n > 0) {
        g->out.len -= (size_t)n;
        memmove(g->out.data, g->out.data + n, g->out.len);
    }
    bool due = g->phase == PHASE_SYNCING || g->phase == PHASE_ASKING;
    (void)sd_event_source_set_io_events(g->io, (due ? EPOLLIN : 0) | (g->out.len ? EPOLLOUT : 0));
}

static void start_next(struct ga *g)
{
    struct command *c = &g->queue.items[0];

    g->phase = PHASE_SYNCING;
    g->marked = false;
    g->taken = 0;
    g->sync++;
    frames_clear(&g->frames);
    str_puts(&g->out, SENTINEL);
    str_printf(&g->out, "{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":%lld}}\n", (long long)g->sync);
    (void)sd_event_source_set_time_relative(g->timer, (uint64_t)c->patience_ms * 1000);
    (void)sd_event_source_set_enabled(g->timer, SD_EVENT_ONESHOT);
    flush(g);
}

static void answer_lost(struct ga *g)
{
    while (g->queue.len && !g->freed)
        complete(g, NULL, &(struct ga_fault){GA_LOST, g->why, g->phase == PHASE_ASKING});
    if (g->freed || g->told)
        return;
    g->told = true;
    if (g->closed)
        g->closed(g->userdata, g->why);
}

static int on_turn(sd_event_source *s, void *userdata)
{
    struct ga *g = userdata;

    g->depth++;
    if (g->why)
        answer_lost(g);
    else if (g->phase == PHASE_IDLE && g->queue.len)
        start_next(g);
    else if (g->phase == PHASE_IDLE)
        flush(g);
    leave(g);
    return 0;
}

static int on_timeout(sd_event_source *s, uint64_t usec, void *userdata)
{
    struct ga *g = userdata;
    const struct command *c = &g->queue.items[0];
    _cleanup_free_ char *text = NULL;

    if (g->why || g->phase == PHASE_IDLE)
        return 0;
    text = xasprintf("no answer to %s within %d s", g->phase == PHASE_ASKING ? c->name : "guest-sync-delimited",
                     c->patience_ms / 1000);
    g->depth++;
    complete_silent(g, text);
    if (!g->freed)
        fail(g, "%s", text);
    leave(g);
    return 0;
}

/* --- What comes in --- */

static void in_step(struct ga *g)
{
    g->phase = PHASE_ASKING;
    str_puts(&g->out, g->queue.items[0].text);
    flush(g);
}

static void handle_line(struct ga *g, const char *line, size_t len)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    bool syncs = g->phase == PHASE_SYNCING, marked = g->marked;

    g->marked = false;
    if (syncs && !marked)
        return;
    int r = json_parse(line, len, &doc, &err);
    yyjson_val *root = r == 0 ? yyjson_doc_get_root(doc) : NULL;
    yyjson_val *result = yyjson_obj_get(root, "return"), *error = yyjson_obj_get(root, "error");
    if (syncs) {
        if (yyjson_is_int(result) && yyjson_get_sint(result) == g->sync)
            in_step(g);
    } else if (r < 0) {
        complete_silent(g, gw_error_message(&err));
    } else if (error) {
        complete(g, NULL, &(struct ga_fault){GA_REFUSED, json_str_or(error, "/desc", "no reason given"), true});
    } else if (result) {
        complete(g, result, NULL);
    }
}

static bool listens(const struct ga *g)
{
    return !g->freed && !g->why && (g->phase == PHASE_SYNCING || g->phase == PHASE_ASKING);
}

/* Up to the next sentinel. */
static void handle_run(struct ga *g, const char *data, size_t len)
{
    const char *line;
    size_t n;

    if (!frames_feed(&g->frames, data, len)) {
        fail(g, "the guest's agent sends a line of more than %u bytes", GA_BYTES_MAX);
        return;
    }
    while (listens(g) && frames_next(&g->frames, &line, &n))
        handle_line(g, line, n);
}

static void handle(struct ga *g, const char *data, size_t len)
{
    while (len && listens(g)) {
        const char *mark = memchr(data, SENTINEL[0], len);
        size_t n = mark ? (size_t)(mark - data) : len;

        handle_run(g, data, n);
        if (!mark || !listens(g))
            return;
        frames_clear(&g->frames);
        g->marked = true;
        data += n + 1;
        len -= n + 1;
    }
}

static void receive(struct ga *g)
{
    char portion[PORTION];
    ssize_t n = recv(g->fd, portion, sizeof(portion), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        fail(g, "%s", n == 0 || errno == ECONNRESET ? "QEMU closed the guest agent's channel" : strerror(errno));
        return;
    }
    g->taken += (size_t)n;
    if (g->taken > GA_BYTES_MAX)
        fail(g, "the guest's agent sends more than %u bytes for one answer", GA_BYTES_MAX);
    else
        handle(g, portion, (size_t)n);
}

static int on_io(sd_event_source *s, int fd, uint32_t events, void *userdata)
{
    struct ga *g = userdata;

    g->depth++;
    if (events & EPOLLOUT)
        flush(g);
    if (listens(g) && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        receive(g);
    else if (!g->freed && events & (EPOLLHUP | EPOLLERR))
        fail(g, "QEMU closed the guest agent's channel");
    leave(g);
    return 0;
}

/* --- Life --- */

void ga_command(struct ga *g, const char *name, yyjson_mut_doc *arguments, int patience_ms, ga_reply_fn reply,
                void *userdata)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = arguments ? arguments : json_object();
    yyjson_mut_val *root = yyjson_mut_obj(d);

    yyjson_mut_obj_add_str(d, root, "execute", name);
    if (arguments)
        yyjson_mut_obj_add_val(d, root, "arguments", yyjson_mut_doc_get_root(d));
    _cleanup_free_ char *text = json_text(root);
    command_vec_push(&g->queue, (struct command){name, xasprintf("%s\n", text), patience_ms, reply, userdata});
    if (g->phase == PHASE_IDLE)
        soon(g);
}

int ga_new(sd_event *loop, int fd, void (*closed)(void *userdata, const char *why), void *userdata, struct ga **ret,
           struct gw_error *err)
{
    struct ga *g = xnew(struct ga);

    g->fd = fd;
    g->closed = closed;
    g->userdata = userdata;
    g->frames.max = GA_BYTES_MAX;
    g->sync = clock_wall_ms() % INT32_MAX; /* not that of an earlier connection */
    int r = sd_event_add_io(loop, &g->io, fd, 0, on_io, g);
    if (r >= 0)
        r = sd_event_source_set_priority(g->io, BEHIND_OTHERS);
    if (r >= 0)
        r = sd_event_add_time_relative(loop, &g->timer, CLOCK_MONOTONIC, 0, 1000, on_timeout, g);
    if (r >= 0)
        r = sd_event_source_set_enabled(g->timer, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_defer(loop, &g->turn, on_turn, g);
    if (r >= 0)
        r = sd_event_source_set_enabled(g->turn, SD_EVENT_OFF);
    if (r < 0) {
        ga_free(g);
        return gw_error_errno(err, r, "guest agent client");
    }
    *ret = g;
    return 0;
}
