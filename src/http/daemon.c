/* libmicrohttpd's daemon: how it is started, and what it calls. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "http/http_internal.h"

/* --- What it calls --- */

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
    s->strangers++;
    COUNT(s, connections, 1);
}

static void connection_end(struct http_connection *c)
{
    c->s->strangers -= !c->met;
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
    c->s->strangers -= !c->met;
    c->met = true;
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

/* --- Its start --- */

int http_daemon_start(struct http_server *s, const char *address, struct gw_error *err)
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

/* --- Who is late --- */

/* MHD's epoll set is edge-triggered: an end of the stream that came together with bytes it does not see. */
static bool has_left(const struct http_connection *c)
{
    char byte;

    return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

void http_daemon_sweep(struct http_server *s)
{
    int64_t now = clock_monotonic_ms();

    for (struct http_connection *c = s->connections; c; c = c->next)
        if (c->deadline_ms && (c->deadline_ms < now || has_left(c)))
            (void)shutdown(c->fd, SHUT_RDWR); /* MHD sees the end and closes */
}
