/* GET /pods/UID/log: an upgrade, over which the lines come until they end. With follow the file is watched; the
 * launcher renames it when it is full, and its last words are followed by the end of the pod's QEMU. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/guest/guest_internal.h"
#include "agent/guest/lines.h"
#include "agent/launcher/spec.h"
#include "base/alloc.h"
#include "base/fs.h"

#define PENDING_MAX (64 * 1024) /* more is read when this is on its way */
#define WORDS_MAX (1 << 20)     /* of one file: the launcher keeps them far smaller */

struct log_reader {
    struct guest_services *g;
    struct log_reader *prev, *next;
    struct http_upgrade *upgrade;
    int file;
    char *uid, *path;
    struct line_options options;
    struct str pending, partial; /* to be sent; read, but no whole line yet */
    bool finished;               /* nothing comes behind what is pending */
    sd_event_source *io, *watch;
};

static void reader_free(struct log_reader *l)
{
    if (l->prev)
        l->prev->next = l->next;
    else
        l->g->logs = l->next;
    if (l->next)
        l->next->prev = l->prev;
    sd_event_source_disable_unref(l->io);
    sd_event_source_disable_unref(l->watch);
    if (l->upgrade)
        http_upgrade_end(l->upgrade);
    if (l->file >= 0)
        close(l->file);
    l->g->channels--;
    str_done(&l->pending);
    str_done(&l->partial);
    free(l->uid);
    free(l->path);
    free(l);
}

/* --- Reading --- */

static void take(struct log_reader *l, const char *data, size_t len)
{
    size_t used;

    str_add(&l->partial, data, len);
    used = lines_take(&l->options, l->partial.data, l->partial.len, &l->pending);
    l->partial.len -= used;
    memmove(l->partial.data, l->partial.data + used, l->partial.len);
    if (l->options.limit == 0)
        l->finished = true;
}

static void read_file(struct log_reader *l)
{
    char buf[8192];
    ssize_t n;

    while (l->file >= 0 && l->pending.len < PENDING_MAX && (n = read(l->file, buf, sizeof(buf))) > 0)
        take(l, buf, (size_t)n);
}

/* The full file and the current one, from where the tail begins. */
static void read_present(struct log_reader *l)
{
    _cleanup_free_ char *before = xasprintf("%s.1", l->path), *old = NULL, *now = NULL;
    _cleanup_str_ struct str all = {0};
    size_t n = 0, at;

    if (fs_read(before, WORDS_MAX, &old, &n, NULL) >= 0)
        str_add(&all, old, n);
    l->file = open(l->path, O_RDONLY | O_CLOEXEC);
    if (fs_read(l->path, WORDS_MAX, &now, &n, NULL) >= 0) {
        str_add(&all, now, n);
        (void)lseek(l->file, (off_t)n, SEEK_SET);
    }
    at = lines_tail(str_text(&all), all.len, l->options.tail);
    take(l, str_text(&all) + at, all.len - at);
}

static bool was_renamed(const struct log_reader *l)
{
    struct stat mine, now;

    return stat(l->path, &now) == 0 && (l->file < 0 || (fstat(l->file, &mine) == 0 && mine.st_ino != now.st_ino));
}

static void watch_file(struct log_reader *l);

static void read_on(struct log_reader *l)
{
    read_file(l);
    if (l->pending.len < PENDING_MAX && was_renamed(l)) {
        if (l->file >= 0)
            close(l->file);
        l->file = open(l->path, O_RDONLY | O_CLOEXEC);
        watch_file(l);
        read_file(l);
    }
}

/* --- Sending --- */

/* Frees l at the end. */
static void pump(struct log_reader *l)
{
    for (;;) {
        ssize_t n = l->pending.len ? http_upgrade_write(l->upgrade, l->pending.data, l->pending.len) : 0;

        if (n < 0 && n != -EAGAIN)
            return reader_free(l);
        if (n > 0) {
            l->pending.len -= (size_t)n;
            memmove(l->pending.data, l->pending.data + n, l->pending.len);
        }
        if (n < 0)
            break;
        if (l->pending.len == 0 && l->options.follow && !l->finished)
            read_on(l);
        if (l->pending.len == 0 && (l->finished || !l->options.follow))
            return reader_free(l);
        if (l->pending.len == 0)
            break;
    }
    (void)sd_event_source_set_io_events(l->io, EPOLLIN | (l->pending.len ? EPOLLOUT : 0));
}

/* Who asked has nothing to say: what comes is their end. */
static int on_out(sd_event_source *s, int fd, uint32_t events, void *userdata)
{
    struct log_reader *l = userdata;
    char buf[64];
    ssize_t n = events & ~EPOLLOUT ? http_upgrade_read(l->upgrade, buf, sizeof(buf)) : 1;

    if (n == 0 || (n < 0 && n != -EAGAIN))
        reader_free(l);
    else
        pump(l);
    return 0;
}

static int on_words(sd_event_source *s, const struct inotify_event *event, void *userdata)
{
    struct log_reader *l = userdata;

    if (!l->pending.len)
        read_on(l);
    pump(l);
    return 0;
}

static void watch_file(struct log_reader *l)
{
    l->watch = sd_event_source_disable_unref(l->watch);
    (void)sd_event_add_inotify(l->g->agent->loop, &l->watch, l->path, IN_MODIFY | IN_MOVE_SELF, on_words, l);
}

void logs_ended(struct guest_services *g, const struct pod *p)
{
    struct log_reader *next;

    for (struct log_reader *l = g->logs; l; l = next) {
        next = l->next;
        if (l->io && streq(l->uid, p->uid)) {
            read_on(l);
            l->finished = true;
            pump(l);
        }
    }
}

/* --- The request --- */

static void on_open(void *userdata, struct http_upgrade *u)
{
    struct log_reader *l = userdata;

    l->upgrade = u;
    if (!u || sd_event_add_io(l->g->agent->loop, &l->io, http_upgrade_fd(u), EPOLLIN, on_out, l) < 0) {
        reader_free(l);
        return;
    }
    read_present(l);
    if (l->options.follow)
        watch_file(l);
    pump(l);
}

static void on_cut(void *userdata)
{
    reader_free(userdata);
}

static void serve_log(void *userdata, const struct endpoint_call *call)
{
    static const struct http_upgrade_handlers handlers = {on_open, on_cut};
    struct guest_services *g = userdata;
    struct pod *p = agent_pod(call->agent, call->uid);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct line_options o;

    if (!p) {
        endpoint_refuse(call->request, 404, "the pod is not on node %s any more", call->agent->config.node);
        return;
    }
    if (p->step < POD_LAUNCHING) {
        endpoint_refuse(call->request, 400, "container \"compute\" in pod \"%s\" is waiting to start", p->name);
        return;
    }
    if (line_options_read(call->uri, env_wall_ms(call->agent->env), &o, &err) < 0) {
        endpoint_refuse(call->request, 400, "%s", gw_error_message(&err));
        return;
    }
    if (!guest_channel_begin(g, call))
        return;
    struct log_reader *l = xnew(struct log_reader);
    o.follow = o.follow && p->step < POD_ENDED;
    *l = (struct log_reader){.g = g, .next = g->logs, .file = -1, .uid = xstrdup(p->uid), .options = o};
    l->path = xasprintf("%s/" LAUNCHER_LOG, p->dir);
    if (l->next)
        l->next->prev = l;
    g->logs = l;
    http_upgrade(call->request, "godwit", &handlers, l);
}

const struct endpoint_route log_routes[] = {{"GET", "pods", "log", CALLER_SERVER, serve_log}, {0}};
