#include "agent/migration/direct.h"

#include <string.h>

#include "base/alloc.h"
#include "base/blob.h"
#include "base/log.h"
#include "base/str.h"
#include "client/client_curl.h"

/* --- The target's end --- */

/* Opens the connection ahead of need. */
static void serve_greeting(void *userdata, const struct endpoint_call *call)
{
    http_answer_text(call->request, 200, "text/plain", "ok\n");
}

static void serve_grant(void *userdata, const struct endpoint_call *call)
{
    struct direct_server *s = userdata;
    _cleanup_doc_ yyjson_doc *grant = NULL;
    size_t len;
    const char *body = http_body(call->request, &len);

    if (json_parse(body, len, &grant, NULL) < 0) {
        http_answer_text(call->request, 400, "text/plain", "a grant in JSON is needed\n");
        return;
    }
    http_answer_text(call->request, 202, "text/plain", "");
    s->fn(s->userdata, call->node, yyjson_doc_get_root(grant));
}

static const struct endpoint_route routes[] = {
    {"GET", "", NULL, CALLER_AGENT, serve_greeting},
    {"POST", "grant", NULL, CALLER_AGENT, serve_grant},
    {0},
};

void direct_serve(struct direct_server *s, struct endpoint *e)
{
    endpoint_add(e, routes, s);
}

/* --- The source's end --- */

/* Idle connections are closed after 118 s by libcurl, after 120 s by the server. */
#define KEEP_MS 30000

struct direct_channel {
    struct api_client *client;
    int64_t used_ms;
};

struct direct_channel *direct_open(struct agent *a, const char *address)
{
    struct direct_channel *c = xnew(struct direct_channel);
    _cleanup_free_ char *url = xasprintf("https://%s", address);
    struct client_config config = {.server = url, .ca = a->cluster_ca, .cert = a->cert_pem, .key = a->key_pem};
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
