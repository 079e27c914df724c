#include "agent/endpoint/endpoint.h"

#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/vec.h"
#include "pki/pki.h"

#define NODE_PREFIX "system:node:"

struct table {
    const struct endpoint_route *routes;
    void *userdata;
};
VEC_DEFINE(table_vec, struct table);

struct endpoint {
    struct agent *agent;
    struct http_server *http;
    struct pki_trust *trust;
    struct table_vec tables;
};

/* --- Who calls --- */

struct caller {
    enum endpoint_caller kind;
    char node[256];
};

/* The node's name goes along with its connection's certificate. */
static bool identify(struct endpoint *e, struct http_request *r, struct caller *ret)
{
    struct http_der der[4];
    struct pki_der chain[4];
    _cleanup_pki_info_ struct pki_info info = {0};
    size_t n = http_peer_chain(r, der, ARRAY_SIZE(der));

    for (size_t i = 0; i < n; i++)
        chain[i] = (struct pki_der){der[i].data, der[i].len};
    if (n == 0 || !e->trust || pki_trust_verify(e->trust, chain, n, PKI_CLIENT, clock_wall_ms(), &info, NULL) < 0)
        return false;
    if (streq(info.cn, ENDPOINT_SERVER_NAME)) {
        *ret = (struct caller){.kind = CALLER_SERVER};
        return true;
    }
    if (!str_starts(info.cn, NODE_PREFIX) || strlen(info.cn) - strlen(NODE_PREFIX) >= sizeof(ret->node))
        return false;
    *ret = (struct caller){.kind = CALLER_AGENT};
    strcpy(ret->node, info.cn + strlen(NODE_PREFIX));
    return true;
}

/* --- Which part serves it --- */

static bool fits(const struct endpoint_route *route, const char *method, const struct http_uri *uri)
{
    size_t n = uri->n_segments;

    if (!streq(route->method, method))
        return false;
    if (!route->third)
        return *route->first ? n == 1 && streq(uri->segments[0], route->first) : n == 0;
    return (n == 3 || n == 4) && streq(uri->segments[0], route->first) && streq(uri->segments[2], route->third);
}

static const struct endpoint_route *find(struct endpoint *e, const char *method, const struct http_uri *uri,
                                         const struct caller *caller, void **ret_userdata)
{
    VEC_EACH(&e->tables, t)
        for (const struct endpoint_route *route = t->routes; route->method; route++)
            if (route->caller == caller->kind && fits(route, method, uri)) {
                *ret_userdata = t->userdata;
                return route;
            }
    return NULL;
}

static void on_request(struct http_request *r, void *userdata)
{
    struct endpoint *e = userdata;
    _cleanup_uri_ struct http_uri uri = {0};
    const struct endpoint_route *route;
    struct caller caller;
    void *data;

    if (!identify(e, r, &caller)) {
        http_answer_text(r, 401, "text/plain", "a certificate of the API server or of a node is needed\n");
        return;
    }
    if (http_fault(r) || http_uri_parse(http_target(r), &uri, NULL) < 0 ||
        !(route = find(e, http_method(r), &uri, &caller, &data))) {
        http_answer_text(r, 404, "text/plain", "no such request\n");
        return;
    }
    route->serve(data, &(struct endpoint_call){
                           .agent = e->agent,
                           .request = r,
                           .uri = &uri,
                           .node = caller.node,
                           .uid = uri.n_segments > 1 ? uri.segments[1] : "",
                           .what = route->third,
                           .rest = uri.n_segments > 3 ? uri.segments[3] : "",
                       });
}

void endpoint_refuse(struct http_request *r, int status, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    _cleanup_free_ char *text = xvasprintf(fmt, ap);
    va_end(ap);
    http_answer_text(r, status, "text/plain", text);
}

/* --- Life --- */

struct endpoint *endpoint_new(struct agent *a)
{
    struct endpoint *e = xnew(struct endpoint);

    e->agent = a;
    return e;
}

struct endpoint *endpoint_free(struct endpoint *e)
{
    if (!e)
        return NULL;
    http_server_free(e->http);
    pki_trust_free(e->trust);
    table_vec_done(&e->tables);
    free(e);
    return NULL;
}

void endpoint_add(struct endpoint *e, const struct endpoint_route *routes, void *userdata)
{
    table_vec_push(&e->tables, (struct table){routes, userdata});
}

int endpoint_trust(struct endpoint *e, const char *ca_pem, struct gw_error *err)
{
    struct pki_trust *trust = NULL;
    int r = pki_trust_new(ca_pem, &trust, err);

    if (r < 0)
        return r;
    pki_trust_free(e->trust);
    e->trust = trust;
    return 0;
}

int endpoint_listen(struct endpoint *e, const char *cert_pem, const char *key_pem, struct gw_error *err)
{
    const struct agent_config *c = &e->agent->config;
    const struct http_config config = {
        .address = c->address,
        .port = (uint16_t)c->listen_port,
        .cert_pem = cert_pem,
        .key_pem = key_pem,
        .handler = on_request,
        .userdata = e,
        .on_loop = true,
        .max_header = 16 << 10,
        .max_body = 64 << 10,
        .max_connections = 256,
    };
    int r;

    if (e->http)
        return http_server_set_identity(e->http, cert_pem, key_pem, err);
    r = http_server_new(e->agent->loop, &config, &e->http, err);
    return r < 0 ? gw_error_wrap(err, r, "endpoint on %s:%d", c->address, c->listen_port) : 0;
}

int endpoint_port(const struct endpoint *e)
{
    return e->http ? http_server_port(e->http) : 0;
}
