#include "server/agent_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"
#include "http/http_server.h"
#include "server/agents_internal.h"

#define CONNECT_MS 3000
#define ANSWER_MS 10000
#define HEAD_MAX 8192
#define TEXT_MAX (1024 * 1024) /* lists of a guest's users or file systems (agent/guest/answers.h) */
#define PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

struct agent_link {
    int fd;
    gnutls_certificate_credentials_t credentials;
    gnutls_session_t session;
    struct str early; /* came behind the head */
    bool unfinished;  /* a write is to be repeated */
};

int agent_link_fd(const struct agent_link *l)
{
    return l->fd;
}

struct agent_link *agent_link_free(struct agent_link *l)
{
    if (!l)
        return NULL;
    if (l->session) {
        (void)gnutls_bye(l->session, GNUTLS_SHUT_WR); /* best effort: the socket does not block */
        gnutls_deinit(l->session);
    }
    if (l->credentials)
        gnutls_certificate_free_credentials(l->credentials);
    if (l->fd >= 0)
        close(l->fd);
    str_done(&l->early);
    free(l);
    return NULL;
}

/* --- Blocking, with a deadline --- */

static int wait_for(int fd, short events, int64_t deadline_ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    int64_t left = deadline_ms - clock_monotonic_ms();
    int r = left > 0 ? poll(&p, 1, (int)left) : 0;

    return r > 0 || (r < 0 && errno == EINTR) ? 0 : r < 0 ? -errno : -ETIMEDOUT;
}

static int wait_session(struct agent_link *l, int64_t deadline_ms)
{
    return wait_for(l->fd, gnutls_record_get_direction(l->session) ? POLLOUT : POLLIN, deadline_ms);
}

static int dial(const char *address, int port, int64_t deadline_ms)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int failure = 0, r;
    socklen_t len = sizeof(failure);

    if (fd < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1)
        return -EINVAL;
    http_tune(fd);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS)
        return -errno;
    if ((r = wait_for(fd, POLLOUT, deadline_ms)) < 0)
        return r;
    (void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &len);
    return failure ? -failure : TAKE_FD(fd);
}

static int check_peer(struct agents *a, struct agent_link *l, const char *node, struct gw_error *err)
{
    _cleanup_pki_info_ struct pki_info info = {0};
    _cleanup_free_ char *cn = xasprintf("system:node:%s", node);
    struct pki_der chain[4];
    unsigned n = 0;
    const gnutls_datum_t *certs = gnutls_certificate_get_peers(l->session, &n);
    bool named = false;
    int r;

    n = certs ? MIN(n, (unsigned)ARRAY_SIZE(chain)) : 0;
    for (unsigned i = 0; i < n; i++)
        chain[i] = (struct pki_der){certs[i].data, certs[i].size};
    r = pki_trust_verify(pki_authority_now(a->authority)->trust, chain, n, PKI_SERVER, clock_wall_ms(), &info, err);
    if (r < 0)
        return gw_error_wrap(err, r, "the agent of node %s", node);
    for (size_t i = 0; i < info.n_sans; i++)
        named = named || streq(info.sans[i], node);
    return named && streq(info.cn, cn)
               ? 0
               : gw_error_set(err, GW_SERVICE_UNAVAILABLE, "who answers for node %s shows the certificate of %s", node,
                              info.cn);
}

static int start_tls(struct agents *a, struct agent_link *l, const struct agent_identity *own)
{
    gnutls_datum_t cert = {(unsigned char *)own->cert, (unsigned)strlen(own->cert)};
    gnutls_datum_t key = {(unsigned char *)own->key, (unsigned)strlen(own->key)};

    if (gnutls_certificate_allocate_credentials(&l->credentials) < 0 ||
        gnutls_certificate_set_x509_key_mem(l->credentials, &cert, &key, GNUTLS_X509_FMT_PEM) < 0 ||
        gnutls_init(&l->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) < 0 ||
        gnutls_priority_set_direct(l->session, PRIORITIES, NULL) < 0 ||
        gnutls_credentials_set(l->session, GNUTLS_CRD_CERTIFICATE, l->credentials) < 0)
        return -EIO;
    gnutls_transport_set_int(l->session, l->fd);
    return 0;
}

static int shake_hands(struct agent_link *l, int64_t deadline_ms)
{
    int r;

    while ((r = gnutls_handshake(l->session)) < 0 && !gnutls_error_is_fatal(r)) {
        int w = r == GNUTLS_E_AGAIN ? wait_session(l, deadline_ms) : 0;

        if (w < 0)
            return w;
    }
    return r < 0 ? -EPROTO : 0;
}

static int send_all(struct agent_link *l, const char *text, int64_t deadline_ms)
{
    size_t len = strlen(text);

    while (len) {
        ssize_t n = agent_link_write(l, text, len);

        if (n > 0) {
            text += n;
            len -= (size_t)n;
        } else if (n != -EAGAIN || (n = wait_session(l, deadline_ms)) < 0) {
            return (int)n;
        }
    }
    return 0;
}

/* Appends what comes next; -EPIPE at the end. */
static int receive(struct agent_link *l, struct str *text, int64_t deadline_ms)
{
    char buf[4096];

    for (;;) {
        ssize_t n = agent_link_read(l, buf, sizeof(buf));

        if (n > 0) {
            str_add(text, buf, (size_t)n);
            return 0;
        }
        if (n == 0)
            return -EPIPE;
        if (n != -EAGAIN || (n = wait_session(l, deadline_ms)) < 0)
            return (int)n;
    }
}

/* --- HTTP, as much of it as our own endpoint speaks --- */

static int64_t content_length(const char *head)
{
    const char *line = strcasestr(head, "\r\ncontent-length:");

    return line ? strtoll(strchr(line, ':') + 1, NULL, 10) : 0;
}

static int read_answer(struct agent_link *l, struct agent_answer *ret, int64_t deadline_ms)
{
    _cleanup_str_ struct str text = {0};
    const char *end = NULL;
    size_t head, body;
    int r = 0;

    while (r == 0 && text.len < HEAD_MAX && !(end = text.data ? strstr(text.data, "\r\n\r\n") : NULL))
        r = receive(l, &text, deadline_ms);
    if (r < 0 || !end || sscanf(text.data, "HTTP/1.1 %d", &ret->status) != 1)
        return r < 0 ? r : -EPROTO;
    head = (size_t)(end - text.data) + 4;
    if (ret->status == 101) {
        str_add(&l->early, text.data + head, text.len - head);
        ret->text = xstrdup("");
        return 0;
    }
    text.data[head - 2] = '\0';
    body = (size_t)MAX(0, MIN(content_length(text.data), TEXT_MAX));
    while (r == 0 && text.len < head + body)
        r = receive(l, &text, deadline_ms);
    ret->text = xstrndup(text.data + head, MIN(text.len - head, body));
    return r;
}

static int converse(struct agent_link *l, const char *node, const char *method, const char *path, bool upgrade,
                    struct agent_answer *ret)
{
    int64_t deadline = clock_monotonic_ms() + ANSWER_MS;
    _cleanup_free_ char *request = xasprintf("%s %s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: 0\r\n\r\n", method, path,
                                             node, upgrade ? "Connection: Upgrade\r\nUpgrade: godwit\r\n" : "");
    int r = send_all(l, request, deadline);

    return r < 0 ? r : read_answer(l, ret, deadline);
}

static const char *address_of(yyjson_val *node)
{
    yyjson_val *a = json_find(json_at(node, "/status/addresses"), "/type", "InternalIP");

    return json_str(a, "/address");
}

static int failed(int r, const char *node, const char *what, struct gw_error *err)
{
    return r == -ETIMEDOUT
               ? gw_error_set(err, GW_TIMEOUT, "the agent of node %s does not answer in time (%s)", node, what)
               : gw_error_set(err, GW_SERVICE_UNAVAILABLE, "the agent of node %s cannot be reached: %s: %s", node, what,
                              strerror(-r));
}

static int ask(struct agents *a, yyjson_val *node, const char *method, const char *path, bool upgrade,
               struct agent_answer *ret, struct gw_error *err)
{
    _cleanup_identity_pair_ struct agent_identity own = {0};
    const char *name = json_str_or(node, "/metadata/name", ""), *address = address_of(node);
    int port = (int)json_int(node, "/status/daemonEndpoints/kubeletEndpoint/Port", 0);
    int64_t deadline = clock_monotonic_ms() + CONNECT_MS;
    struct agent_link *l;
    int r = agents_identity(a, &own, err);

    if (r < 0)
        return r;
    if (!address || port <= 0)
        return gw_error_set(err, GW_SERVICE_UNAVAILABLE, "node %s does not say where its agent listens", name);
    l = ret->link = xnew(struct agent_link);
    l->fd = dial(address, port, deadline);
    if (l->fd < 0)
        return failed(l->fd, name, "connecting", err);
    r = start_tls(a, l, &own);
    r = r < 0 ? r : shake_hands(l, deadline);
    if (r < 0)
        return failed(r, name, "TLS", err);
    r = check_peer(a, l, name, err);
    if (r < 0)
        return r;
    r = converse(l, name, method, path, upgrade, ret);
    return r < 0 ? failed(r, name, method, err) : 0;
}

int agents_ask(struct agents *a, yyjson_val *node, const char *method, const char *path, bool upgrade,
               struct agent_answer *ret, struct gw_error *err)
{
    int r = agents_enter(a, err);

    *ret = (struct agent_answer){0};
    if (r < 0)
        return r;
    r = ask(a, node, method, path, upgrade, ret, err);
    agents_leave(a);
    if (r < 0 || ret->status != 101)
        ret->link = agent_link_free(ret->link);
    if (r < 0)
        agent_answer_done(ret);
    return r;
}

void agent_answer_done(struct agent_answer *a)
{
    free(a->text);
    agent_link_free(a->link);
    *a = (struct agent_answer){0};
}

/* --- On the loop --- */

static ssize_t outcome(ssize_t n)
{
    if (n >= 0)
        return n;
    if (n == GNUTLS_E_PREMATURE_TERMINATION)
        return 0;
    return gnutls_error_is_fatal((int)n) ? -EIO : -EAGAIN;
}

ssize_t agent_link_read(struct agent_link *l, void *buf, size_t len)
{
    size_t n = MIN(len, l->early.len);

    if (n == 0)
        return outcome(gnutls_record_recv(l->session, buf, len));
    memcpy(buf, l->early.data, n);
    l->early.len -= n;
    memmove(l->early.data, l->early.data + n, l->early.len);
    return (ssize_t)n;
}

ssize_t agent_link_write(struct agent_link *l, const void *data, size_t len)
{
    ssize_t n = l->unfinished ? gnutls_record_send(l->session, NULL, 0) : gnutls_record_send(l->session, data, len);

    l->unfinished = n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED;
    return outcome(n);
}
