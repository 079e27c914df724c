/* Upgrades. The connection stays suspended, so MHD leaves socket and TLS session alone, and we use both ourselves:
 * MHD's own upgrades copy through a buffer of what memory the connection has left, which may be a few bytes. At the end
 * the connection is resumed, and refusing the request has MHD close it.
 *
 * Clients send nothing behind a request before its 101 has come, as RFC 9110 wants it; what MHD may have read of it
 * nevertheless is lost. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "http/http_internal.h"

void http_upgrade(struct http_request *r, const char *protocol, const struct http_upgrade_handlers *handlers,
                  void *userdata)
{
    struct http_upgrade *u = xnew(struct http_upgrade);

    *u = (struct http_upgrade){.r = r, .protocol = xstrdup(protocol), .handlers = handlers, .userdata = userdata};
    r->upgrade = u;
    r->status = MHD_HTTP_SWITCHING_PROTOCOLS;
}

int http_upgrade_fd(const struct http_upgrade *u)
{
    return u->r->c->fd;
}

static ssize_t outcome(const struct http_upgrade *u, ssize_t n)
{
    if (n >= 0)
        return n;
    if (!u->session)
        return -errno;
    if (n == GNUTLS_E_PREMATURE_TERMINATION)
        return 0;
    return gnutls_error_is_fatal((int)n) ? -EIO : -EAGAIN;
}

ssize_t http_upgrade_read(struct http_upgrade *u, void *buf, size_t len)
{
    return outcome(u,
                   u->session ? gnutls_record_recv(u->session, buf, len) : recv(u->r->c->fd, buf, len, MSG_DONTWAIT));
}

ssize_t http_upgrade_write(struct http_upgrade *u, const void *data, size_t len)
{
    ssize_t n = !u->session     ? send(u->r->c->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL)
                : u->unfinished ? gnutls_record_send(u->session, NULL, 0)
                                : gnutls_record_send(u->session, data, len);

    u->unfinished = u->session && (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED);
    return outcome(u, n);
}

/* A few hundred bytes, which a fresh connection takes at once. */
static bool send_head(struct http_upgrade *u)
{
    _cleanup_str_ struct str head = {0};

    str_printf(&head, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n", u->protocol);
    VEC_EACH(&u->r->headers, h)
        str_printf(&head, "%s: %s\r\n", h->name, h->value);
    str_puts(&head, "\r\n");
    return http_upgrade_write(u, head.data, head.len) == (ssize_t)head.len;
}

static void give_back(struct http_upgrade *u)
{
    struct http_request *r = u->r;

    u->open = false;
    r->phase = REQUEST_OVER;
    MHD_resume_connection(r->c->mhd);
    server_wake(r->c->s);
}

void upgrade_start(struct http_upgrade *u)
{
    const union MHD_ConnectionInfo *tls = MHD_get_connection_info(u->r->c->mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    struct http_server *s = u->r->c->s;

    u->session = s->identity && tls ? tls->tls_session : NULL;
    u->r->phase = REQUEST_SENDING;
    if (s->draining || s->stopping || !send_head(u)) {
        u->handlers->open(u->userdata, NULL);
        give_back(u);
        return;
    }
    u->open = true;
    u->handlers->open(u->userdata, u);
}

void http_upgrade_end(struct http_upgrade *u)
{
    if (u->session)
        (void)gnutls_bye(u->session, GNUTLS_SHUT_WR);
    (void)shutdown(u->r->c->fd, SHUT_WR);
    give_back(u);
}

void upgrade_cut(struct http_upgrade *u)
{
    if (u->open)
        u->handlers->cut(u->userdata);
}

void upgrade_free(struct http_upgrade *u)
{
    free(u->protocol);
    free(u);
}
