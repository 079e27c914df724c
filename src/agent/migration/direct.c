#include "agent/migration/direct.h"

#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/alloc.h"
#include "base/blob.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "base/vec.h"
#include "client/client_curl.h"
#include "http/http_server.h"
#include "pki/pki.h"

/* Requests come on worker threads of the HTTP server, grants are dealt with on the agent's loop: between them lies this
 * inbox, and an eventfd that wakes the loop. */
struct message {
    char *node;
    yyjson_doc *grant;
};
VEC_DEFINE(message_vec, struct message);

struct direct_server {
    struct http_server *http;
    struct pki_trust *trust;
    direct_grant_fn fn;
    void *userdata;
    int wake;
    sd_event_source *source;
    pthread_mutex_t lock;
    struct message_vec inbox;
};

static void message_done(struct message *m)
{
    free(m->node);
    yyjson_doc_free(m->grant);
}

static void post(struct direct_server *s, struct message m)
{
    pthread_mutex_lock(&s->lock);
    message_vec_push(&s->inbox, m);
    pthread_mutex_unlock(&s->lock);
    (void)eventfd_write(s->wake, 1);
}

static int on_wake(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct direct_server *s = userdata;
    eventfd_t n;

    (void)eventfd_read(fd, &n);
    pthread_mutex_lock(&s->lock);
    struct message_vec inbox = s->inbox;
    s->inbox = (struct message_vec){0};
    pthread_mutex_unlock(&s->lock);
    VEC_EACH(&inbox, m) {
        s->fn(s->userdata, m->node, yyjson_doc_get_root(m->grant));
        message_done(m);
    }
    message_vec_done(&inbox);
    return 0;
}

#define NODE_PREFIX "system:node:"

/* The node whose agent called, by its certificate; NULL if it is no node's. Caller frees. */
static char *caller(struct direct_server *s, struct http_request *r)
{
    struct http_der der[4];
    struct pki_der chain[4];
    _cleanup_pki_info_ struct pki_info info = {0};
    size_t n = http_peer_chain(r, der, ARRAY_SIZE(der));

    for (size_t i = 0; i < n; i++)
        chain[i] = (struct pki_der){der[i].data, der[i].len};
    if (n == 0 || pki_trust_verify(s->trust, chain, n, PKI_CLIENT, clock_wall_ms(), &info, NULL) < 0 ||
        !str_starts(info.cn, NODE_PREFIX))
        return NULL;
    return xstrdup(info.cn + strlen(NODE_PREFIX));
}

static void on_request(struct http_request *r, void *userdata)
{
    struct direct_server *s = userdata;
    struct message m = {.node = caller(s, r)};
    size_t len;
    const char *body = http_body(r, &len);

    if (!m.node) {
        http_answer_text(r, 401, "text/plain", "a node's certificate is needed\n");
    } else if (streq(http_method(r), "GET")) {
        http_answer_text(r, 200, "text/plain", "ok\n"); /* opens the connection ahead of need */
    } else if (!streq(http_method(r), "POST") || json_parse(body, len, &m.grant, NULL) < 0) {
        http_answer_text(r, 400, "text/plain", "a grant in JSON is needed\n");
    } else {
        post(s, (struct message){TAKE_PTR(m.node), TAKE_PTR(m.grant)});
        http_answer_text(r, 202, "text/plain", "");
    }
    free(m.node);
}

int direct_server_new(struct agent *a, const char *ca_pem, const char *cert_pem, const char *key_pem,
                      direct_grant_fn fn, void *userdata, struct direct_server **ret, struct gw_error *err)
{
    struct direct_server *s = xnew(struct direct_server);
    const struct http_config config = {
        .address = a->config.address,
        .port = (uint16_t)a->config.listen_port,
        .cert_pem = cert_pem,
        .key_pem = key_pem,
        .handler = on_request,
        .userdata = s,
        .workers = 1,
        .max_body = 64 << 10,
        .max_connections = 256,
    };
    int r;

    s->fn = fn;
    s->userdata = userdata;
    s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&s->lock, NULL);
    r = pki_trust_new(ca_pem, &s->trust, err);
    if (r >= 0)
        r = http_server_new(a->loop, &config, &s->http, err);
    if (r >= 0)
        r = sd_event_add_io(a->loop, &s->source, s->wake, EPOLLIN, on_wake, s);
    if (r < 0) {
        direct_server_free(s);
        return gw_error_wrap(err, r, "direct channel on %s:%d", a->config.address, a->config.listen_port);
    }
    *ret = s;
    return 0;
}

struct direct_server *direct_server_free(struct direct_server *s)
{
    if (!s)
        return NULL;
    http_server_free(s->http);
    sd_event_source_disable_unref(s->source);
    pki_trust_free(s->trust);
    VEC_EACH(&s->inbox, m)
        message_done(m);
    message_vec_done(&s->inbox);
    pthread_mutex_destroy(&s->lock);
    close(s->wake);
    free(s);
    return NULL;
}

int direct_server_port(const struct direct_server *s)
{
    return http_server_port(s->http);
}

/* Idle connections are closed after 118 s by libcurl, after 120 s by the server. */
#define KEEP_MS 30000

struct direct_channel {
    struct api_client *client;
    int64_t used_ms;
};

struct direct_channel *direct_open(struct agent *a, const char *ca_pem, const char *address)
{
    struct direct_channel *c = xnew(struct direct_channel);
    _cleanup_free_ char *url = xasprintf("https://%s", address);
    struct client_config config = {.server = url, .ca = (char *)ca_pem, .cert = a->cert_pem, .key = a->key_pem};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (client_curl_new(a->loop, &config, &c->client, &err) < 0) {
        log_warn("direct channel to %s: %s; grants go by the server only", address, gw_error_message(&err));
        return c;
    }
    direct_keep(c, env_now(a->env));
    return c;
}

void direct_keep(struct direct_channel *c, int64_t now)
{
    if (!c->client || (c->used_ms && now - c->used_ms < KEEP_MS))
        return;
    c->used_ms = now;
    api_request(c->client, "GET", "/", NULL, NULL, 0, NULL, NULL);
}

struct direct_channel *direct_close(struct direct_channel *c)
{
    if (c) {
        api_client_free(c->client);
        free(c);
    }
    return NULL;
}

void direct_send_grant(struct direct_channel *c, const char *text)
{
    if (!c || !c->client)
        return;
    struct blob *body = blob_text(text);
    api_request(c->client, "POST", "/grant", "application/json", body, 2000, NULL, NULL);
    blob_unref(body);
}
