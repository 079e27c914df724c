#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "http/http_internal.h"

struct http_request *request_new(struct http_connection *c, const char *target)
{
    struct http_request *r = xnew(struct http_request);

    r->c = c;
    r->target = xstrdup(target);
    return r;
}

void request_free(struct http_request *r)
{
    VEC_EACH(&r->headers, h) {
        free(h->name);
        free(h->value);
    }
    header_vec_done(&r->headers);
    parts_release(r->parts.items, r->parts.len);
    part_vec_done(&r->parts);
    str_done(&r->body);
    gw_error_done(&r->fault);
    free(r->content_type);
    free(r->method);
    free(r->target);
    free(r);
}

/* Calls the handler, on whatever thread it is to run on. */
static void handle(struct http_request *r)
{
    struct http_server *s = r->c->s;
    bool started = false;

    r->started = &started;
    s->config.handler(r, s->config.userdata);
    if (started || r->later)
        return; /* r may be gone already */
    http_send(r);
}

static void handle_job(struct http_job *job)
{
    handle(CONTAINER_OF(job, struct http_request, job));
}

static enum MHD_Result run(struct http_request *r)
{
    r->phase = REQUEST_RUNNING;
    r->c->deadline_ms = 0;
    MHD_suspend_connection(r->c->mhd);
    r->job.run = handle_job;
    if (r->c->s->config.on_loop)
        handle(r);
    else
        workers_submit(&r->c->s->workers, r);
    return MHD_YES;
}

void http_later(struct http_request *r)
{
    r->later = true;
}

void http_send(struct http_request *r)
{
    if (r->status == 0)
        http_answer_text(r, 500, "text/plain", "no answer\n");
    server_post(r->c->s, r);
}

static void refuse_size(struct http_request *r)
{
    gw_error_set(&r->fault, GW_TOO_LARGE, "Request entity too large: limit is %zu", r->c->s->config.max_body);
    str_done(&r->body);
}

static enum MHD_Result begin(struct http_request *r, const char *method)
{
    const struct http_config *config = &r->c->s->config;
    const char *length;

    r->method = xstrdup(method);
    r->phase = REQUEST_BODY;
    r->c->deadline_ms = clock_monotonic_ms() + config->body_timeout_s * 1000LL;
    COUNT(r->c->s, requests, 1);
    length = http_header(r, "Content-Length");
    if (!length || strtoull(length, NULL, 10) <= config->max_body)
        return MHD_YES;
    refuse_size(r); /* answered before the body comes; MHD closes such a connection */
    return run(r);
}

/* A body that turns out to be too large is read to its end, unstored, so that its sender gets to read the answer. */
static enum MHD_Result take_body(struct http_request *r, const char *data, size_t *len)
{
    if (!r->fault.reason && r->body.len + *len > r->c->s->config.max_body)
        refuse_size(r);
    if (!r->fault.reason)
        str_add(&r->body, data, *len);
    *len = 0;
    return MHD_YES;
}

enum MHD_Result request_step(struct http_request *r, const char *method, const char *data, size_t *len)
{
    if (r->c->s->stopping)
        return MHD_NO;
    switch (r->phase) {
    case REQUEST_NEW:
        return begin(r, method);
    case REQUEST_BODY:
        return *len ? take_body(r, data, len) : run(r);
    case REQUEST_ANSWERED:
        return answer_queue(r);
    case REQUEST_OVER:
        return MHD_NO; /* which closes the connection */
    case REQUEST_RUNNING:
    case REQUEST_SENDING:
        break;
    }
    return MHD_YES;
}

const char *http_method(const struct http_request *r)
{
    return r->method;
}

const char *http_target(const struct http_request *r)
{
    return r->target;
}

const char *http_header(const struct http_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->c->mhd, MHD_HEADER_KIND, name);
}

struct each_header {
    void (*visit)(void *data, const char *name, const char *value);
    void *data;
};

static enum MHD_Result visit_header(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
    const struct each_header *e = cls;

    e->visit(e->data, name, value ? value : "");
    return MHD_YES;
}

void http_each_header(const struct http_request *r, void (*visit)(void *data, const char *name, const char *value),
                      void *data)
{
    struct each_header e = {visit, data};

    (void)MHD_get_connection_values(r->c->mhd, MHD_HEADER_KIND, visit_header, &e);
}

const char *http_body(const struct http_request *r, size_t *ret_len)
{
    if (ret_len)
        *ret_len = r->body.len;
    return str_text(&r->body);
}

const char *http_client_address(const struct http_request *r)
{
    return r->c->address;
}

const struct gw_error *http_fault(const struct http_request *r)
{
    return r->fault.reason ? &r->fault : NULL;
}

const char *http_bearer_token(const struct http_request *r)
{
    static const char scheme[] = "Bearer ";
    const char *value = http_header(r, "Authorization");

    if (!value || strncasecmp(value, scheme, sizeof(scheme) - 1) != 0)
        return NULL;
    value += sizeof(scheme) - 1;
    return value + strspn(value, " ");
}

size_t http_peer_chain(const struct http_request *r, struct http_der *ret, size_t max)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(r->c->mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    const gnutls_datum_t *certs;
    unsigned n = 0;

    if (!info || !info->tls_session)
        return 0;
    certs = gnutls_certificate_get_peers(info->tls_session, &n);
    n = (unsigned)MIN((size_t)n, max);
    for (unsigned i = 0; certs && i < n; i++)
        ret[i] = (struct http_der){certs[i].data, certs[i].size};
    return certs ? n : 0;
}

void *http_connection_data(const struct http_request *r)
{
    return r->c->data;
}

void http_set_connection_data(struct http_request *r, void *data, void (*free_data)(void *))
{
    if (r->c->data && r->c->free_data)
        r->c->free_data(r->c->data);
    r->c->data = data;
    r->c->free_data = free_data;
}
