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
 * A request ends in an answer, a stream (answer.c) or an upgrade (upgrade.c). */
#include "http/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "http/http_internal.h"

#define JANITOR_US 2000000

/* --- The post --- */

void server_wake(struct http_server *s)
{
    (void)eventfd_write(s->wake_fd, 1);
}

/* With post_lock held, after something was put in. */
static void tell_post(struct http_server *s)
{
    if (!s->post_told)
        server_wake(s);
    s->post_told = true;
}

void server_post(struct http_server *s, struct http_request *r)
{
    pthread_mutex_lock(&s->post_lock);
    r->next = s->posted;
    s->posted = r;
    tell_post(s);
    pthread_mutex_unlock(&s->post_lock);
}

void server_kick(struct http_server *s, struct http_stream *st)
{
    pthread_mutex_lock(&s->post_lock);
    st->next_kicked = s->kicked;
    s->kicked = st;
    tell_post(s);
    pthread_mutex_unlock(&s->post_lock);
}

/* Streams that are served before others get their turn: an event with many watchers must not hold up every answer. */
#define KICKS_A_TURN 64

static void take_answers(struct http_server *s)
{
    struct http_request *r, *next;

    pthread_mutex_lock(&s->post_lock);
    s->post_told = false;
    r = s->posted;
    s->posted = NULL;
    pthread_mutex_unlock(&s->post_lock);
    for (; r; r = next) {
        next = r->next;
        if (r->upgrade) {
            upgrade_start(r->upgrade);
            continue;
        }
        r->phase = REQUEST_ANSWERED;
        MHD_resume_connection(r->c->mhd);
    }
}

static struct http_stream *take_kicked(struct http_server *s)
{
    struct http_stream *st;

    pthread_mutex_lock(&s->post_lock);
    st = s->kicked;
    if (st)
        s->kicked = st->next_kicked;
    pthread_mutex_unlock(&s->post_lock);
    return st;
}

static void read_post(struct http_server *s, unsigned max_kicks)
{
    struct http_stream *st = NULL;

    take_answers(s);
    for (unsigned i = 0; i < max_kicks && (st = take_kicked(s)); i++)
        stream_kick(st);
    if (st)
        server_wake(s); /* perhaps there are more */
}

/* --- Turns of the loop --- */

static void finish_drain(struct http_server *s)
{
    void (*drained)(void *) = s->drained;

    s->drained = NULL;
    s->drain_timer = sd_event_source_disable_unref(s->drain_timer);
    if (drained)
        drained(s->drained_data);
}

/* MHD asks to be run again at once as long as a handshake is under way, also while the peer is silent. What arrives
 * wakes us anyway (on_daemon, on_wake): so after some turns in which nothing did, there is a pause before each. */
#define EAGER_TURNS 64
#define PAUSE_MS 1

static unsigned pause_ms(struct http_server *s)
{
    return ++s->idle_turns > EAGER_TURNS ? PAUSE_MS : 0;
}

static void turn(struct http_server *s)
{
    MHD_UNSIGNED_LONG_LONG ms;

    (void)MHD_run(s->daemon);
    if (MHD_get_timeout(s->daemon, &ms) == MHD_YES) {
        ms = ms ? ms : pause_ms(s);
        (void)sd_event_source_set_time_relative(s->turn_timer, (uint64_t)ms * 1000);
        (void)sd_event_source_set_enabled(s->turn_timer, SD_EVENT_ONESHOT);
    } else {
        (void)sd_event_source_set_enabled(s->turn_timer, SD_EVENT_OFF);
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

/* MHD's epoll set is edge-triggered: an end of the stream that came together with bytes it does not see. */
static bool has_left(const struct http_connection *c)
{
    char byte;

    return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static int on_janitor(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct http_server *s = userdata;
    int64_t now = clock_monotonic_ms();

    for (struct http_connection *c = s->connections; c; c = c->next)
        if (c->deadline_ms && (c->deadline_ms < now || has_left(c)))
            (void)shutdown(c->fd, SHUT_RDWR); /* MHD sees the end and closes */
    (void)sd_event_source_set_time_relative(source, JANITOR_US);
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* --- What MHD calls --- */

static void set_idle(struct http_connection *c)
{
    c->deadline_ms = clock_monotonic_ms() + c->s->config.idle_timeout_s * 1000LL;
}

static void format_address(const struct sockaddr *a, char *text)
{
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)a;

    if (a->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)a)->sin_addr, text, INET6_ADDRSTRLEN);
    else if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
        inet_ntop(AF_INET, v6->sin6_addr.s6_addr + 12, text, INET6_ADDRSTRLEN);
    else
        inet_ntop(AF_INET6, &v6->sin6_addr, text, INET6_ADDRSTRLEN);
}

static void connection_start(struct http_server *s, struct MHD_Connection *mhd, void **ret)
{
    struct http_connection *c = xnew(struct http_connection);
    const union MHD_ConnectionInfo *tls;

    *ret = c;
    c->s = s;
    c->mhd = mhd;
    c->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    format_address(MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr, c->address);
    http_tune(c->fd);
    set_idle(c);
    tls = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    if (tls && tls->tls_session)
        gnutls_certificate_server_set_request(tls->tls_session, GNUTLS_CERT_REQUEST);
    c->next = s->connections;
    if (c->next)
        c->next->prev = c;
    s->connections = c;
    COUNT(s, connections, 1);
}

static void connection_end(struct http_connection *c)
{
    if (c->next)
        c->next->prev = c->prev;
    if (c->prev)
        c->prev->next = c->next;
    else
        c->s->connections = c->next;
    if (c->data && c->free_data)
        c->free_data(c->data);
    COUNT(c->s, connections, -1);
    free(c);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        connection_start(cls, mhd, context);
    else if (*context)
        connection_end(*context);
}

/* Called with the request target before MHD decodes it. What it returns is the request's pointer in the calls below. */
static void *on_target(void *cls, const char *target, struct MHD_Connection *mhd)
{
    struct http_connection *c = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;

    c->s->active++;
    c->request = request_new(c, target);
    return c->request;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                                  const char *version, const char *data, size_t *len, void **request)
{
    struct http_request *r = *request;

    if (!r)
        return MHD_NO;
    r->old = streq(version, MHD_HTTP_VERSION_1_0);
    return request_step(r, method, data, len);
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **request, enum MHD_RequestTerminationCode code)
{
    struct http_request *r = *request;
    struct http_connection *c;

    if (!r)
        return;
    *request = NULL;
    c = r->c;
    c->request = NULL;
    c->s->active--;
    set_idle(c);
    if (r->stream)
        stream_over(r->stream);
    if (r->upgrade)
        upgrade_free(r->upgrade);
    request_free(r);
}

/* We decode targets ourselves. */
static size_t no_unescape(void *cls, struct MHD_Connection *mhd, char *text)
{
    return strlen(text);
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

static int start_daemon(struct http_server *s, const char *address, struct gw_error *err)
{
    const struct http_config *c = &s->config;
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | (s->identity ? MHD_USE_TLS : 0);
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)http_identity_retrieve},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"},
        {MHD_OPTION_END, 0, NULL},
    };
    int fd = socket_listen(address, c->port, &s->port, err);

    if (fd < 0)
        return fd;
    s->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, s, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_CONNECTION, on_connection,
        s, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s, MHD_OPTION_URI_LOG_CALLBACK, on_target, s,
        MHD_OPTION_UNESCAPE_CALLBACK, no_unescape, s, MHD_OPTION_CONNECTION_LIMIT, c->max_connections,
        MHD_OPTION_PER_IP_CONNECTION_LIMIT, c->max_per_client, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_CONNECTION_TIMEOUT, c->idle_timeout_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT, c->max_header,
        MHD_OPTION_ARRAY, s->identity ? tls : &tls[2], MHD_OPTION_END);
    if (!s->daemon) {
        close(fd);
        return gw_error_set(err, GW_INTERNAL_ERROR, "cannot start the HTTP server");
    }
    return 0;
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
    set_defaults(&s->config);
    pthread_mutex_init(&s->post_lock, NULL);
    if (config->cert_pem)
        r = http_identity_load(config->cert_pem, config->key_pem, &s->identity, err);
    s->config.cert_pem = s->config.key_pem = s->config.address = NULL; /* the caller's, and not needed any more */
    if (r >= 0 && !config->on_loop)
        r = workers_start(&s->workers, s->config.workers, err);
    r = r < 0 ? r : start_daemon(s, config->address, err);
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
    for (struct http_stream *st; (st = take_kicked(s));) /* by those who fed streams that were just cut */
        http_stream_unref(st);
    sd_event_source_disable_unref(s->daemon_source);
    sd_event_source_disable_unref(s->wake_source);
    sd_event_source_disable_unref(s->turn_timer);
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
