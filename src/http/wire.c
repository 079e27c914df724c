/* A connection that MHD leaves alone because it is suspended: upgrades and idle streams write and read it themselves.
 */
#include <errno.h>
#include <sys/socket.h>

#include "http/http_internal.h"

void wire_open(struct wire *w, const struct http_connection *c)
{
    const union MHD_ConnectionInfo *tls = MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);

    *w = (struct wire){.fd = c->fd, .session = c->s->identity && tls ? tls->tls_session : NULL};
}

static ssize_t outcome(const struct wire *w, ssize_t n)
{
    if (n >= 0)
        return n;
    if (!w->session)
        return -errno;
    if (n == GNUTLS_E_PREMATURE_TERMINATION)
        return 0;
    return gnutls_error_is_fatal((int)n) ? -EIO : -EAGAIN;
}

ssize_t wire_read(struct wire *w, void *buf, size_t len)
{
    return outcome(w, w->session ? gnutls_record_recv(w->session, buf, len) : recv(w->fd, buf, len, MSG_DONTWAIT));
}

ssize_t wire_write(struct wire *w, const void *data, size_t len)
{
    ssize_t n = !w->session     ? send(w->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL)
                : w->unfinished ? gnutls_record_send(w->session, NULL, 0)
                                : gnutls_record_send(w->session, data, len);

    w->unfinished = w->session && (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED);
    return outcome(w, n);
}
