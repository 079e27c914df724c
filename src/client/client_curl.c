/* HTTPS for api_client.
 *
 * Bytes that arrive are put aside in their transfer and reported after libcurl's turn, so that callbacks may start and
 * cancel calls at will. Certificates and keys are handed over as /proc/self/fd/N of sealed memory files: libcurl's
 * GnuTLS build takes files only, and nothing secret shall lie on a disk for that. */
#include "client/client_curl.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "client/curl_internal.h"

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

/* --- the transport --- */

static void start(struct api_client *client, struct api_call *call)
{
    struct curl_client *c = CONTAINER_OF(client, struct curl_client, client);

    call->transport = transfer_new(c, call);
}

static void cancel(_unused_ struct api_client *client, struct api_call *call)
{
    transfer_free(call->transport);
}

static void finish(struct transfer *t)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct api_call *call = t->call;
    CURLcode result = t->result;
    int code = transfer_code(t);

    if (result != CURLE_OK)
        transfer_error(t, &err);
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
