/* HTTPS for api_client.
 *
 * Bytes that arrive are put aside in their transfer and reported after libcurl's turn, so that callbacks may start and
 * cancel calls at will. Certificates and keys are handed over as /proc/self/fd/N of sealed memory files: libcurl's
 * GnuTLS build takes files only, and nothing secret shall lie on a disk for that. */
#include "client/client_curl.h"

#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/str.h"
#include "client/curl_loop.h"
#include "client/transport.h"

#define CONNECT_TIMEOUT_MS 5000L
/* A peer that vanished without a word is noticed in this time even while a watch is silent. */
#define DEAD_PEER_MS 30000

/* A PEM text as a file name. */
struct pem {
    int fd;
    char path[32];
};

struct curl_client {
    struct api_client client;
    struct curl_loop *loop;
    struct client_config cfg;
    struct pem ca, cert, key;
    struct pem old_ca, old_cert, old_key; /* of the last rotation: transfers under way may still open them */
    struct transfer *transfers;
};

struct transfer {
    struct curl_client *owner;
    struct api_call *call;
    struct transfer *prev, *next;
    CURL *easy;
    struct curl_slist *headers, *connect_to;
    struct str data;
    char error[CURL_ERROR_SIZE];
    bool ended;
    CURLcode result;
};

void client_config_done(struct client_config *cfg)
{
    char **texts[] = {&cfg->server, &cfg->ca,          &cfg->cert,       &cfg->key,
                      &cfg->token,  &cfg->server_name, &cfg->namespace_, &cfg->user_agent};

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        if (*texts[i])
            explicit_bzero(*texts[i], strlen(*texts[i]));
        free(*texts[i]);
    }
    *cfg = (struct client_config){0};
}

static void config_copy(struct client_config *dst, const struct client_config *src)
{
    *dst = (struct client_config){
        .server = xstrdup(src->server),
        .ca = xstrdup(src->ca),
        .token = xstrdup(src->token),
        .server_name = xstrdup(src->server_name),
        .user_agent = xstrdup(src->user_agent ? src->user_agent : "godwit"),
        .insecure = src->insecure,
    };
}

static void pem_done(struct pem *p)
{
    close_p(&p->fd);
    *p = (struct pem){.fd = -1};
}

static int pem_set(struct pem *p, const char *text, struct gw_error *err)
{
    size_t len = text ? strlen(text) : 0;

    *p = (struct pem){.fd = -1};
    if (!text)
        return 0;
    _cleanup_close_ int fd = memfd_create("godwit-pem", MFD_CLOEXEC);
    if (fd < 0 || write(fd, text, len) != (ssize_t)len)
        return gw_error_errno(err, errno, "cannot hold a certificate in memory");
    p->fd = TAKE_FD(fd);
    snprintf(p->path, sizeof(p->path), "/proc/self/fd/%d", p->fd);
    return 0;
}

/* --- one transfer --- */

static void transfer_free(struct transfer *t)
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

/* --- the transport --- */

static void start(struct api_client *client, struct api_call *call)
{
    struct curl_client *c = CONTAINER_OF(client, struct curl_client, client);
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
    call->transport = t;
    set_options(t);
    curl_multi_add_handle(curl_loop_multi(c->loop), t->easy);
}

static void cancel(_unused_ struct api_client *client, struct api_call *call)
{
    transfer_free(call->transport);
}

static int transfer_code(struct transfer *t)
{
    long code = 0;

    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &code);
    return (int)code;
}

static void set_error(struct transfer *t, struct gw_error *err)
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

static void finish(struct transfer *t)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct api_call *call = t->call;
    CURLcode result = t->result;
    int code = transfer_code(t);

    if (result != CURLE_OK)
        set_error(t, &err);
    transfer_free(t);
    api_call_end(call, result == CURLE_OK ? code : 0, result == CURLE_OK ? NULL : &err);
}

/* Reports one transfer that has something to report; false if none has. Any callback may change the list. */
static bool report_one(struct curl_client *c)
{
    for (struct transfer *t = c->transfers; t; t = t->next) {
        if (t->data.len) {
            struct str data = t->data;
            t->data = (struct str){0};
            (void)api_call_data(t->call, transfer_code(t), data.data, data.len);
            str_done(&data);
            return true;
        }
        if (t->ended) {
            finish(t);
            return true;
        }
    }
    return false;
}

static void turned(void *userdata)
{
    struct curl_client *c = userdata;
    CURLMsg *msg;
    int left;

    while ((msg = curl_multi_info_read(curl_loop_multi(c->loop), &left))) {
        struct transfer *t = NULL;
        if (msg->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &t);
        t->ended = true;
        t->result = msg->data.result;
    }
    while (report_one(c))
        ;
}

static void client_free(struct api_client *client)
{
    struct curl_client *c = CONTAINER_OF(client, struct curl_client, client);

    curl_loop_free(c->loop);
    struct pem *pems[] = {&c->ca, &c->cert, &c->key, &c->old_ca, &c->old_cert, &c->old_key};
    for (size_t i = 0; i < ARRAY_SIZE(pems); i++)
        pem_done(pems[i]);
    client_config_done(&c->cfg);
    free(c);
}

static const struct api_client_ops curl_ops = {.start = start, .cancel = cancel, .free = client_free};

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
        set_error(&t, err);
        curl_easy_cleanup(t.easy);
        return -ECONNREFUSED;
    }
    *ret_easy = t.easy;
    *ret_head = c->cfg.token ? xasprintf("Host: %s\r\nAuthorization: Bearer %s\r\n", c->cfg.server + strlen("https://"),
                                         c->cfg.token)
                             : xasprintf("Host: %s\r\n", c->cfg.server + strlen("https://"));
    return 0;
}

int client_curl_set_cert(struct api_client *client, const char *cert, const char *key, struct gw_error *err)
{
    struct curl_client *c = CONTAINER_OF(client, struct curl_client, client);
    struct pem new_cert = {.fd = -1}, new_key = {.fd = -1};

    if (pem_set(&new_cert, cert, err) < 0 || pem_set(&new_key, key, err) < 0) {
        pem_done(&new_cert);
        return -EIO;
    }
    pem_done(&c->old_cert);
    pem_done(&c->old_key);
    c->old_cert = c->cert;
    c->old_key = c->key;
    c->cert = new_cert;
    c->key = new_key;
    return 0;
}

int client_curl_set_ca(struct api_client *client, const char *ca, struct gw_error *err)
{
    struct curl_client *c = CONTAINER_OF(client, struct curl_client, client);
    struct pem new_ca = {.fd = -1};
    int r = pem_set(&new_ca, ca, err);

    if (r < 0)
        return r;
    pem_done(&c->old_ca);
    c->old_ca = c->ca;
    c->ca = new_ca;
    return 0;
}

void client_curl_set_token(struct api_client *client, const char *token)
{
    struct curl_client *c = CONTAINER_OF(client, struct curl_client, client);
    char *copy = xstrdup(token);

    if (c->cfg.token)
        explicit_bzero(c->cfg.token, strlen(c->cfg.token));
    free(c->cfg.token);
    c->cfg.token = copy;
}

static int check_config(const struct client_config *cfg, struct gw_error *err)
{
    if (!cfg->server || !str_starts(cfg->server, "https://"))
        return gw_error_set(err, GW_BAD_REQUEST, "the server's address %s does not begin with https://",
                            cfg->server ? cfg->server : "(none)");
    if (!cfg->ca && !cfg->insecure)
        return gw_error_set(err, GW_BAD_REQUEST, "no certificate authority to check %s with", cfg->server);
    if (!cfg->cert != !cfg->key)
        return gw_error_set(err, GW_BAD_REQUEST, "a client certificate and its key are needed together");
    return 0;
}

static void init_curl(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

int client_curl_new(sd_event *loop, const struct client_config *cfg, struct api_client **ret, struct gw_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct curl_client *c;
    int r = check_config(cfg, err);

    if (r < 0)
        return r;
    pthread_once(&once, init_curl);
    c = xnew(struct curl_client);
    c->client.ops = &curl_ops;
    c->ca.fd = c->cert.fd = c->key.fd = c->old_ca.fd = c->old_cert.fd = c->old_key.fd = -1;
    config_copy(&c->cfg, cfg);
    r = curl_loop_new(loop, turned, c, &c->loop, err);
    if (r >= 0)
        r = client_curl_set_ca(&c->client, cfg->ca, err);
    if (r >= 0)
        r = client_curl_set_cert(&c->client, cfg->cert, cfg->key, err);
    if (r < 0) {
        client_free(&c->client);
        return r;
    }
    *ret = &c->client;
    return 0;
}
