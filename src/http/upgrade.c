/* Upgrades. The connection stays suspended, so MHD leaves socket and TLS session alone, and we use both ourselves:
 * MHD's own upgrades copy through a buffer of what memory the connection has left, which may be a few bytes. At the end
 * the connection is resumed, and refusing the request has MHD close it.
 *
 * Clients send nothing behind a request before its 101 has come, as RFC 9110 wants it; what MHD may have read of it
 * nevertheless is lost. */
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
    return u->wire.fd;
}

ssize_t http_upgrade_read(struct http_upgrade *u, void *buf, size_t len)
{
    return wire_read(&u->wire, buf, len);
}

ssize_t http_upgrade_write(struct http_upgrade *u, const void *data, size_t len)
{
    return wire_write(&u->wire, data, len);
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
    struct http_server *s = u->r->c->s;

    wire_open(&u->wire, u->r->c);
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
    if (u->wire.session)
        (void)gnutls_bye(u->wire.session, GNUTLS_SHUT_WR);
    (void)shutdown(u->wire.fd, SHUT_WR);
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
