/* How it works
 *
 * libmicrohttpd (MHD) speaks HTTP/1.1 and TLS on the loop's thread: its epoll descriptor is one source of the loop, and
 * after each turn a timer is set to what MHD_get_timeout says. When a request is complete its connection is suspended
 * and the request is queued for the workers; the answer comes back through the post (a list and an eventfd), which
 * resumes the connection, and MHD asks for the answer. So MHD's functions are called on the loop's thread alone, but
 * for lookups of headers and of the TLS session, which are safe while the connection is suspended.
 *
 * MHD reads certificates given as options once, at its start. So that they can be replaced at run time, the server's
 * own comes from a callback, client certificates are asked for when a connection starts and accepted as they are;
 * whether to believe them is decided by the handler's side for each connection.
 *
 * Who may keep us waiting: each connection has a deadline for what its client owes (handshake and headers together,
 * then the body), which dripping single bytes does not move; a client that does not read its answer is cut by MHD's
 * idle timeout; a stream whose backlog grows too large is cut; the number of connections is limited, in all and per
 * address.
 *
 * A request ends in an answer, a stream (answer.c) or an upgrade (upgrade.c). What MHD calls is in daemon.c, the post
 * in post.c; here are the turns of the loop, and the server's life. */
#include "http/http_server.h"

#include <errno.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/http_internal.h"

#define JANITOR_US 2000000

/* Streams that are served before others get their turn: an event with many watchers must not hold up every answer. */
#define KICKS_A_TURN 64

/* --- Turns of the loop --- */

static void send_answers(struct http_server *s)
{
    for (struct http_request *r = post_take_answers(s), *next; r; r = next) {
        next = r->next;
        if (r->upgrade) {
            upgrade_start(r->upgrade);
            continue;
        }
        r->phase = REQUEST_ANSWERED;
        MHD_resume_connection(r->c->mhd);
    }
}

static void read_post(struct http_server *s, unsigned max_kicks)
{
    struct http_stream *st = NULL;

    send_answers(s);
    for (unsigned i = 0; i < max_kicks && (st = post_take_kicked(s)); i++)
        stream_kick(st);
    if (st)
        server_wake(s); /* perhaps there are more */
}

static void finish_drain(struct http_server *s)
{
    void (*drained)(void *) = s->drained;

    s->drained = NULL;
    s->drain_timer = sd_event_source_disable_unref(s->drain_timer);
    if (drained)
        drained(s->drained_data);
}

/* MHD asks to be run again at once as long as a handshake is under way, also while the peer is silent; and each time it
 * tries all of them. What arrives wakes us anyway (on_daemon, on_wake): so after some turns in which nothing did, there
 * is a pause before each; soon when handshakes may be under way, for a thousand of them keep a processor busy. */
#define EAGER_TURNS 64
#define EAGER_TURNS_OF_STRANGERS 1
#define PAUSE_MS 1

static unsigned pause_ms(struct http_server *s)
{
    return ++s->idle_turns > (s->strangers ? EAGER_TURNS_OF_STRANGERS : EAGER_TURNS) ? PAUSE_MS : 0;
}

/* One that goes off too early costs a turn in vain. Setting it anew after each turn costs a system call each time. */
static void turn_within(struct http_server *s, uint64_t ms)
{
    int64_t at = clock_monotonic_ms() + (int64_t)ms;

    if (s->turn_at_ms && s->turn_at_ms <= at)
        return;
    s->turn_at_ms = at;
    (void)sd_event_source_set_time_relative(s->turn_timer, ms * 1000);
    (void)sd_event_source_set_enabled(s->turn_timer, SD_EVENT_ONESHOT);
}

static void turn(struct http_server *s)
{
    MHD_UNSIGNED_LONG_LONG ms;

    (void)MHD_run(s->daemon);
    if (MHD_get_timeout(s->daemon, &ms) == MHD_YES) {
        ms = ms ? ms : pause_ms(s);
        if (ms)
            turn_within(s, ms);
        else
            (void)sd_event_source_set_enabled(s->again, SD_EVENT_ONESHOT);
    }
    if (s->draining && s->active == 0)
        finish_drain(s);
}

static int on_daemon(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    ((struct http_server *)userdata)->idle_turns = 0;
    turn(userdata);
    return 0;
}

static int on_turn_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    ((struct http_server *)userdata)->turn_at_ms = 0;
    turn(userdata);
    return 0;
}

static int on_again(sd_event_source *source, void *userdata)
{
    turn(userdata);
    return 0;
}

static int on_wake(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    eventfd_t n;

    (void)eventfd_read(fd, &n);
    ((struct http_server *)userdata)->idle_turns = 0;
    read_post(userdata, KICKS_A_TURN);
    turn(userdata);
    return 0;
}

static int on_janitor(sd_event_source *source, uint64_t usec, void *userdata)
{
    http_daemon_sweep(userdata);
    (void)sd_event_source_set_time_relative(source, JANITOR_US);
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* --- Life --- */

static void set_defaults(struct http_config *c)
{
#define DEFAULT(field, value) c->field = c->field ? c->field : (value)
    DEFAULT(workers, 16);
    DEFAULT(max_body, 3UL << 20);
    DEFAULT(max_header, 32UL << 10);
    DEFAULT(max_connections, 8192);
    DEFAULT(max_per_client, 4096);
    DEFAULT(max_waiting, 2048);
    DEFAULT(idle_timeout_s, 120);
    DEFAULT(body_timeout_s, 60);
    DEFAULT(max_backlog, 8UL << 20);
#undef DEFAULT
}

static int add_sources(struct http_server *s, struct gw_error *err)
{
    int epoll_fd = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, r;

    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake_fd < 0)
        return gw_error_errno(err, errno, "cannot make an eventfd");
    r = sd_event_add_io(s->loop, &s->daemon_source, epoll_fd, EPOLLIN, on_daemon, s);
    r = r < 0 ? r : sd_event_add_io(s->loop, &s->wake_source, s->wake_fd, EPOLLIN, on_wake, s);
    r = r < 0 ? r : sd_event_add_time_relative(s->loop, &s->turn_timer, CLOCK_MONOTONIC, 0, 1, on_turn_timer, s);
    r = r < 0 ? r : sd_event_add_defer(s->loop, &s->again, on_again, s);
    r = r < 0 ? r : sd_event_add_time_relative(s->loop, &s->janitor, CLOCK_MONOTONIC, JANITOR_US, 0, on_janitor, s);
    return r < 0 ? gw_error_errno(err, r, "cannot add to the event loop") : 0;
}

int http_server_new(sd_event *loop, const struct http_config *config, struct http_server **ret, struct gw_error *err)
{
    struct http_server *s = xnew(struct http_server);
    int r = 0;

    s->config = *config;
    s->loop = sd_event_ref(loop);
    s->wake_fd = -1;
    s->posted_end = &s->posted;
    s->kicked_end = &s->kicked;
    set_defaults(&s->config);
    pthread_mutex_init(&s->post_lock, NULL);
    if (config->cert_pem)
        r = http_identity_load(config->cert_pem, config->key_pem, &s->identity, err);
    s->config.cert_pem = s->config.key_pem = s->config.address = NULL; /* the caller's, and not needed any more */
    if (r >= 0 && !config->on_loop)
        r = workers_start(&s->workers, s->config.workers, err);
    r = r < 0 ? r : http_daemon_start(s, config->address, err);
    r = r < 0 ? r : add_sources(s, err);
    if (r < 0)
        http_server_free(s);
    else
        *ret = s;
    return r;
}

static int on_drain_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
    finish_drain(userdata);
    return 0;
}

/* Of streams and upgrades; at_once: without what they still have to say. */
static void end_long_answer(struct http_request *r, bool at_once)
{
    if (r->stream && at_once)
        stream_cut(r->stream);
    else if (r->stream)
        http_stream_close(r->stream);
    if (r->upgrade)
        upgrade_cut(r->upgrade);
}

void http_server_drain(struct http_server *s, unsigned timeout_ms, void (*done)(void *userdata), void *userdata)
{
    MHD_socket fd = MHD_quiesce_daemon(s->daemon);

    if (fd != MHD_INVALID_SOCKET)
        close(fd);
    s->draining = true;
    s->drained = done;
    s->drained_data = userdata;
    for (struct http_connection *c = s->connections; c; c = c->next)
        if (c->request && c->request->phase == REQUEST_SENDING)
            end_long_answer(c->request, false);
    (void)sd_event_add_time_relative(s->loop, &s->drain_timer, CLOCK_MONOTONIC, timeout_ms * 1000ULL, 0,
                                     on_drain_timeout, s);
    server_wake(s);
}

/* MHD must not be stopped while connections are suspended. */
static void resume_all(struct http_server *s)
{
    read_post(s, UINT_MAX);
    for (struct http_connection *c = s->connections; c; c = c->next) {
        if (!c->request)
            continue;
        if (c->request->phase == REQUEST_RUNNING)
            MHD_resume_connection(c->mhd);
        else if (c->request->phase == REQUEST_SENDING)
            end_long_answer(c->request, true);
    }
}

struct http_server *http_server_free(struct http_server *s)
{
    if (!s)
        return NULL;
    workers_stop(&s->workers);
    s->stopping = true;
    if (s->daemon) {
        resume_all(s);
        MHD_stop_daemon(s->daemon);
    }
    for (struct http_stream *st; (st = post_take_kicked(s));) /* by those who fed streams that were just cut */
        http_stream_unref(st);
    sd_event_source_disable_unref(s->daemon_source);
    sd_event_source_disable_unref(s->wake_source);
    sd_event_source_disable_unref(s->turn_timer);
    sd_event_source_disable_unref(s->again);
    sd_event_source_disable_unref(s->janitor);
    sd_event_source_disable_unref(s->drain_timer);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    http_identity_free(s->identity);
    pthread_mutex_destroy(&s->post_lock);
    sd_event_unref(s->loop);
    free(s);
    return NULL;
}

uint16_t http_server_port(const struct http_server *s)
{
    return s->port;
}

int http_server_set_identity(struct http_server *s, const char *cert_pem, const char *key_pem, struct gw_error *err)
{
    struct http_identity *i = NULL;
    int r = http_identity_load(cert_pem, key_pem, &i, err);

    if (r < 0)
        return r;
    i->older = s->identity;
    s->identity = i;
    return 0;
}

void http_server_work(struct http_server *s, const char *user, struct http_job *job)
{
    workers_add(&s->workers, user, job);
}

struct http_counters http_server_counters(struct http_server *s)
{
#define LOAD(field) __atomic_load_n(&s->counters.field, __ATOMIC_RELAXED)
    return (struct http_counters){LOAD(requests), LOAD(streams), LOAD(connections), LOAD(cut)};
#undef LOAD
}
