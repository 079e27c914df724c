#include "agent/node/join.h"

#include <errno.h>
#include <string.h>

#include "agent/migration/credentials.h"
#include "agent/node/authorities.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/random.h"
#include "client/client_curl.h"
#include "pki/authority.h"

#define RETRY_MS 2000
#define PAUSE_MS 10000 /* between a certificate and the next, should that be as old as the authority allows */

struct identity {
    struct agent *agent;
    identity_fn ready, renewed;
    void *userdata;
    char *token;
    char *cert_path, *key_path;
    struct credentials_call *call;
    struct env_timer *timer;
    bool told;
};

static int read_token(struct identity *id, struct gw_error *err)
{
    const char *path = id->agent->config.token_file;
    int r;

    if (!path)
        return gw_error_set(err, GW_INVALID,
                            "this node has no certificate that is good: --token-file is needed to join");
    id->token = pki_free_key(id->token);
    if ((r = fs_read(path, 4096, &id->token, NULL, err)) < 0)
        return r;
    if (fs_is_shared(path))
        log_warn("%s: others may read this token: chmod 600 it", path);
    id->token[strcspn(id->token, "\r\n")] = '\0';
    return 0;
}

static int connect_client(struct identity *id, struct gw_error *err)
{
    struct agent *a = id->agent;
    struct client_config c = {.server = a->config.server,
                              .ca = a->cluster_ca,
                              .cert = a->cert_pem,
                              .key = a->key_pem,
                              .token = a->cert_pem ? NULL : id->token,
                              .user_agent = "godwit-agent"};

    int r = client_curl_new(a->loop, &c, &a->client, err);
    if (r == 0)
        a->env = env_sd_new(a->loop, a->client);
    return r;
}

/* Reads what an earlier life stored; a certificate that has ended, or without its key, or of an authority that is not
 * trusted any more, counts as none. */
static void load(struct identity *id)
{
    _cleanup_free_ char *cert = NULL;
    _cleanup_key_ char *key = NULL;
    _cleanup_pki_info_ struct pki_info info = {0};
    struct agent *a = id->agent;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    char issuer[65], time[CLOCK_TEXT_MAX];

    if (!fs_exists(id->cert_path))
        return;
    if (fs_read(id->cert_path, 0, &cert, NULL, &err) < 0 || fs_read_secret(id->key_path, 0, &key, NULL, &err) < 0) {
        log_warn("certificate of the node: %s; the node has to join anew", gw_error_message(&err));
        return;
    }
    if (!pki_cert_matches_key(cert, key) || pki_cert_read(cert, &info, NULL) < 0)
        return;
    if (info.not_after_ms <= clock_wall_ms()) {
        log_warn("certificate of the node: it ended at %s, so the node has to join anew: a bootstrap token is needed",
                 clock_format(info.not_after_ms, time));
        return;
    }
    if (pki_issuer_of(a->cluster_ca, cert, issuer, NULL) < 0) {
        log_warn("certificate of the node: its authority is not trusted any more, so the node has to join anew: a "
                 "bootstrap token is needed");
        return;
    }
    a->cert_pem = TAKE_PTR(cert);
    a->key_pem = TAKE_PTR(key);
}

static void take(struct identity *id, const char *cert, const char *key)
{
    struct agent *a = id->agent;

    free(a->cert_pem);
    pki_free_key(a->key_pem);
    a->cert_pem = xstrdup(cert);
    a->key_pem = xstrdup(key);
}

static void step(void *userdata);

static void wait_for(struct identity *id, int64_t ms)
{
    id->timer = env_timer(id->agent->env, ms, step, id);
}

/* The client that brought the token is replaced by one that brings the certificate. */
static int upgrade(struct identity *id, struct gw_error *err)
{
    struct agent *a = id->agent;

    if (id->told) {
        client_curl_set_token(a->client, NULL);
        return client_curl_set_cert(a->client, a->cert_pem, a->key_pem, err);
    }
    struct env *env = a->env;
    struct api_client *client = a->client;
    int r = connect_client(id, err);
    if (r < 0)
        return r;
    env_sd_free(env);
    api_client_free(client);
    return 0;
}

static void begin_again(void *userdata);

static void on_certificate(void *userdata, const char *cert_pem, const char *key_pem, const struct gw_error *failure)
{
    struct identity *id = userdata;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    id->call = NULL;
    if (failure) {
        log_warn("certificate of the node: %s; trying again", gw_error_message(failure));
        wait_for(id, RETRY_MS);
        return;
    }
    if (pki_store(id->cert_path, cert_pem, id->key_path, key_pem, &err) < 0)
        log_failure(-1, &err, "certificate of the node");
    take(id, cert_pem, key_pem);
    log_info("certificate of the node: issued");
    id->timer = env_timer(id->agent->env, 0, begin_again, id); /* the call's client cannot be freed from its callback */
}

static void begin_again(void *userdata)
{
    struct identity *id = userdata;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    id->timer = NULL;
    if (upgrade(id, &err) < 0)
        log_failure(-1, &err, "API client");
    if (!id->told) {
        step(id);
        return;
    }
    wait_for(id, PAUSE_MS);
    id->renewed(id->userdata);
}

/* The server was away for so long that the certificate has ended, and nobody renews one that has: the node joins anew,
 * with the token if that is still there. */
static void join_anew(struct identity *id)
{
    struct agent *a = id->agent;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_pki_info_ struct pki_info info = {0};
    char time[CLOCK_TEXT_MAX];

    if (!a->cert_pem || pki_cert_read(a->cert_pem, &info, NULL) < 0 || info.not_after_ms > clock_wall_ms())
        return;
    clock_format(info.not_after_ms, time);
    if (read_token(id, &err) < 0 || client_curl_set_cert(a->client, NULL, NULL, &err) < 0) {
        log_error("certificate of the node: it ended at %s, and the API server believes us no more: %s", time,
                  gw_error_message(&err));
        return;
    }
    client_curl_set_token(a->client, id->token);
    log_warn("certificate of the node: it ended at %s; joining anew with the bootstrap token", time);
}

static void ask(struct identity *id)
{
    struct agent *a = id->agent;
    _cleanup_free_ char *cn = xasprintf("system:node:%s", a->config.node), *name = NULL;
    const char *groups[] = {"system:nodes", NULL};
    const struct pki_subject subject = {.cn = cn, .o = groups};
    char suffix[11];

    join_anew(id);
    random_suffix(suffix, 10);
    name = xasprintf("node-csr-%s-%s", a->config.node, suffix);
    id->call = credentials_get(a, name, "kubernetes.io/kube-apiserver-client-kubelet", &subject, PKI_CLIENT,
                               on_certificate, id);
}

static void step(void *userdata)
{
    struct identity *id = userdata;
    int64_t wait;

    id->timer = NULL;
    if (id->agent->cert_pem && !id->told) {
        id->told = true;
        id->ready(id->userdata);
    }
    wait = pki_renew_wait_ms(id->agent->cert_pem, clock_wall_ms());
    if (wait == 0 || !pki_is_of_first(id->agent->cluster_ca, id->agent->cert_pem))
        ask(id);
    else
        wait_for(id, wait);
}

void identity_authorities_changed(struct identity *id)
{
    struct agent *a = id->agent;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (client_curl_set_ca(a->client, a->cluster_ca, &err) < 0)
        log_failure(-1, &err, "API client: authorities");
    if (!id->timer || !id->told)
        return; /* a certificate is being made, and looked at when it comes */
    env_timer_cancel(a->env, &id->timer);
    step(id);
}

int identity_start(struct agent *a, identity_fn ready, identity_fn renewed, void *userdata, struct identity **ret,
                   struct gw_error *err)
{
    _cleanup_free_ char *folder = xasprintf("%s/pki", a->config.state_dir);
    struct identity *id = xnew(struct identity);

    id->agent = a;
    id->ready = ready;
    id->renewed = renewed;
    id->userdata = userdata;
    id->cert_path = xasprintf("%s/node.crt", folder);
    id->key_path = xasprintf("%s/node.key", folder);
    int r = fs_mkdirs(folder, 0700, err);
    if (r == 0)
        r = authorities_load(a, err);
    if (r == 0) {
        load(id);
        r = a->cert_pem ? 0 : read_token(id, err);
    }
    if (r == 0)
        r = connect_client(id, err);
    if (r < 0) {
        identity_stop(id);
        return r;
    }
    wait_for(id, 0);
    *ret = id;
    return 0;
}

struct identity *identity_stop(struct identity *id)
{
    if (!id)
        return NULL;
    credentials_cancel(id->call);
    if (id->agent->env)
        env_timer_cancel(id->agent->env, &id->timer);
    pki_free_key(id->token);
    free(id->cert_path);
    free(id->key_path);
    free(id);
    return NULL;
}
