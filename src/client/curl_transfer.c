/* One call by libcurl: its options, and how it ended. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "client/curl_internal.h"

#define CONNECT_TIMEOUT_MS 5000L
/* A peer that vanished without a word is noticed in this time even while a watch is silent. */
#define DEAD_PEER_MS 30000

static size_t on_data(char *data, size_t size, size_t n, void *userdata)
{
    struct transfer *t = userdata;

    str_add(&t->data, data, size * n);
    return size * n;
}

static int on_socket_made(_unused_ void *userdata, curl_socket_t fd, _unused_ curlsocktype purpose)
{
    unsigned timeout = DEAD_PEER_MS;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
    return CURL_SOCKOPT_OK;
}

static void add_header(struct transfer *t, const char *name, const char *value)
{
    _cleanup_free_ char *line = xasprintf("%s: %s", name, value);

    t->headers = curl_slist_append(t->headers, line);
}

static void set_body(struct transfer *t)
{
    const struct api_call *call = t->call;

    curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, call->method);
    if (!call->body && streq(call->method, "GET"))
        return;
    curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(call->body ? call->body->len : 0));
    curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, call->body ? call->body->data : "");
    add_header(t, "Content-Type", call->content_type ? call->content_type : "application/json");
    t->headers = curl_slist_append(t->headers, "Expect:"); /* no round trip before the body */
}

static void set_tls(struct transfer *t)
{
    const struct curl_client *c = t->owner;

    curl_easy_setopt(t->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(t->easy, CURLOPT_CAPATH, NULL); /* the system's authorities count for nothing here */
    curl_easy_setopt(t->easy, CURLOPT_CAINFO, c->ca.fd >= 0 ? c->ca.path : NULL);
    if (c->cfg.insecure) {
        curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(t->easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (c->cert.fd < 0)
        return;
    curl_easy_setopt(t->easy, CURLOPT_SSLCERT, c->cert.path);
    curl_easy_setopt(t->easy, CURLOPT_SSLKEY, c->key.path);
}

/* The URL; where the certificate has another name than the address, curl talks to that name but connects here. */
static void set_url(struct transfer *t)
{
    const struct client_config *cfg = &t->owner->cfg;
    const char *host = cfg->server + strlen("https://"), *port = strrchr(host, ':');
    _cleanup_free_ char *url = NULL, *connect_to = NULL;

    if (!cfg->server_name) {
        url = xasprintf("%s%s", cfg->server, t->call->path);
    } else {
        url = xasprintf("https://%s%s%s", cfg->server_name, port ? port : "", t->call->path);
        connect_to = xasprintf("::%s%s", host, port ? "" : ":443");
        t->connect_to = curl_slist_append(NULL, connect_to);
        curl_easy_setopt(t->easy, CURLOPT_CONNECT_TO, t->connect_to);
    }
    curl_easy_setopt(t->easy, CURLOPT_URL, url);
}

static void set_options(struct transfer *t)
{
    const struct client_config *cfg = &t->owner->cfg;

    set_url(t);
    set_tls(t);
    set_body(t);
    add_header(t, "Accept", "application/json");
    if (cfg->token) {
        _cleanup_free_ char *bearer = xasprintf("Bearer %s", cfg->token);
        add_header(t, "Authorization", bearer);
    }
    curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(t->easy, CURLOPT_USERAGENT, cfg->user_agent);
    curl_easy_setopt(t->easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(t->easy, CURLOPT_PROTOCOLS_STR, "https");
    curl_easy_setopt(t->easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(t->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, t->call->stream ? 0L : (long)t->call->timeout_ms);
    curl_easy_setopt(t->easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(t->easy, CURLOPT_TCP_KEEPIDLE, 10L);
    curl_easy_setopt(t->easy, CURLOPT_TCP_KEEPINTVL, 5L);
    curl_easy_setopt(t->easy, CURLOPT_SOCKOPTFUNCTION, on_socket_made);
    curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(t->easy, CURLOPT_ERRORBUFFER, t->error);
    curl_easy_setopt(t->easy, CURLOPT_PRIVATE, t);
}

struct transfer *transfer_new(struct curl_client *c, struct api_call *call)
{
    struct transfer *t = xnew(struct transfer);

    t->owner = c;
    t->call = call;
    t->easy = curl_easy_init();
    if (!t->easy)
        abort(); /* out of memory */
    t->next = c->transfers;
    if (c->transfers)
        c->transfers->prev = t;
    c->transfers = t;
    set_options(t);
    curl_multi_add_handle(curl_loop_multi(c->loop), t->easy);
    return t;
}

void transfer_free(struct transfer *t)
{
    if (t->prev)
        t->prev->next = t->next;
    else
        t->owner->transfers = t->next;
    if (t->next)
        t->next->prev = t->prev;
    curl_multi_remove_handle(curl_loop_multi(t->owner->loop), t->easy);
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    curl_slist_free_all(t->connect_to);
    str_done(&t->data);
    free(t);
}

int transfer_code(const struct transfer *t)
{
    long code = 0;

    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &code);
    return (int)code;
}

void transfer_error(const struct transfer *t, struct gw_error *err)
{
    const char *what = *t->error ? t->error : curl_easy_strerror(t->result);
    bool late = t->result == CURLE_OPERATION_TIMEDOUT;

    gw_error_set(err, late ? GW_TIMEOUT : GW_SERVICE_UNAVAILABLE, "%s %s%s: %s", t->call->method, t->owner->cfg.server,
                 t->call->path, what);
    if (t->result == CURLE_COULDNT_CONNECT)
        err->number = -ECONNREFUSED;
    else if (t->result == CURLE_PEER_FAILED_VERIFICATION)
        err->number = -EKEYREJECTED;
}

/* --- a connection alone --- */

int client_curl_connect(struct api_client *client, void **ret_easy, char **ret_head, struct gw_error *err)
{
    struct curl_client *c = CONTAINER_OF(client, struct curl_client, client);
    struct api_call call = {.method = "GET", .path = "/"};
    struct transfer t = {.owner = c, .call = &call, .easy = curl_easy_init()};

    if (!t.easy)
        abort(); /* out of memory */
    set_url(&t);
    set_tls(&t);
    curl_easy_setopt(t.easy, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(t.easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(t.easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(t.easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(t.easy, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
    curl_easy_setopt(t.easy, CURLOPT_SOCKOPTFUNCTION, on_socket_made);
    curl_easy_setopt(t.easy, CURLOPT_ERRORBUFFER, t.error);
    t.result = curl_easy_perform(t.easy);
    curl_easy_setopt(t.easy, CURLOPT_ERRORBUFFER, NULL);
    curl_easy_setopt(t.easy, CURLOPT_CONNECT_TO, NULL);
    curl_slist_free_all(t.connect_to);
    if (t.result != CURLE_OK) {
        transfer_error(&t, err);
        curl_easy_cleanup(t.easy);
        return -ECONNREFUSED;
    }
    *ret_easy = t.easy;
    *ret_head = c->cfg.token ? xasprintf("Host: %s\r\nAuthorization: Bearer %s\r\n", c->cfg.server + strlen("https://"),
                                         c->cfg.token)
                             : xasprintf("Host: %s\r\n", c->cfg.server + strlen("https://"));
    return 0;
}
