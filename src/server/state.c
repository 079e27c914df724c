#include "server/state.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <string.h>
#include <unistd.h>

#include "apiserver/authn.h"
#include "apiserver/bootstrap_token.h"
#include "apiserver/authz.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/vec.h"
#include "client/kubeconfig.h"

#define DAY_S 86400LL
#define CA_LIFETIME_S (3650 * DAY_S)
#define LEAF_LIFETIME_S (365 * DAY_S)

VEC_DEFINE(name_vec, char *);

char *state_path(const struct server_state *s, const char *name)
{
    return xasprintf("%s/%s", s->config->data_dir, name);
}

static bool is_any(const char *address)
{
    return streq(address, "0.0.0.0") || streq(address, "::");
}

/* --- Names of the server --- */

static void add_name(struct name_vec *v, const char *name)
{
    VEC_EACH(v, have)
        if (streq(*have, name))
            return;
    name_vec_push(v, xstrdup(name));
}

static void add_local_addresses(struct name_vec *v)
{
    struct ifaddrs *all = NULL;

    if (getifaddrs(&all) < 0)
        return;
    for (struct ifaddrs *i = all; i; i = i->ifa_next) {
        char text[INET6_ADDRSTRLEN];
        const struct sockaddr *a = i->ifa_addr;
        const void *bytes;

        if (!a || !(i->ifa_flags & IFF_UP) || (a->sa_family != AF_INET && a->sa_family != AF_INET6))
            continue;
        bytes = a->sa_family == AF_INET ? (const void *)&((const struct sockaddr_in *)(const void *)a)->sin_addr
                                        : (const void *)&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
        if (inet_ntop(a->sa_family, bytes, text, sizeof(text)))
            add_name(v, text);
    }
    freeifaddrs(all);
}

/* NULL-terminated; freed by names_done. */
static void server_names(const struct server_config *c, struct name_vec *v)
{
    static const char *const always[] = {
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "127.0.0.1",
        "::1",
    };
    char host[256];

    for (size_t i = 0; i < ARRAY_SIZE(always); i++)
        add_name(v, always[i]);
    if (gethostname(host, sizeof(host)) == 0 && *host)
        add_name(v, host);
    if (is_any(c->address))
        add_local_addresses(v);
    else
        add_name(v, c->address);
    if (c->advertise)
        add_name(v, c->advertise);
    for (const char *const *n = c->names; n && *n; n++)
        add_name(v, *n);
    name_vec_push(v, NULL);
}

static void names_done(struct name_vec *v)
{
    VEC_EACH(v, name)
        free(*name);
    name_vec_done(v);
}

static bool has_all(const struct pki_info *info, struct name_vec *names)
{
    for (size_t i = 0; i + 1 < names->len; i++) {
        bool found = false;

        for (size_t k = 0; k < info->n_sans && !found; k++)
            found = streq(info->sans[k], names->items[i]);
        if (!found)
            return false;
    }
    return true;
}

/* --- Certificates --- */

/* Whether cert (of key) is one of ca, and need not be renewed yet; ret gets what it says. */
static bool is_good(const struct pki_ca *ca, const char *cert, const char *key, unsigned purpose, struct pki_info *ret)
{
    struct pki_trust *trust = NULL;
    int64_t now = clock_wall_ms();
    bool good;

    if (pki_trust_new(pki_ca_cert_pem(ca), &trust, NULL) < 0)
        return false;
    good = pki_cert_matches_key(cert, key) && pki_trust_verify_pem(trust, cert, purpose, now, ret, NULL) == 0 &&
           pki_renew_at_ms(ret) > now;
    pki_trust_free(trust);
    return good;
}

static int64_t leaf_life(const struct server_config *config)
{
    return pki_life(config->certificate_life_s, LEAF_LIFETIME_S);
}

struct pair_paths {
    char *cert, *key;
};

static struct pair_paths pair_paths(const char *dir, const char *name)
{
    return (struct pair_paths){xasprintf("%s/%s.crt", dir, name), xasprintf("%s/%s.key", dir, name)};
}

static void pair_paths_done(struct pair_paths *p)
{
    free(p->cert);
    free(p->key);
}

static void read_server_pair(struct server_state *s)
{
    _cleanup_(pair_paths_done) struct pair_paths p = pair_paths(s->config->data_dir, "server");

    if (fs_read(p.cert, 0, &s->cert, NULL, NULL) >= 0)
        (void)fs_read_secret(p.key, 0, &s->key, NULL, NULL); /* if not, another pair is made */
}

/* The certificate that everybody checks is of the oldest authority that is trusted, so that during a roll-over also
 * those reach the server who have not heard of it. */
int state_renew(struct server_state *s, struct gw_error *err)
{
    const struct pki_ca *ca = pki_authority_now(s->cluster)->oldest;
    _cleanup_(pair_paths_done) struct pair_paths p = pair_paths(s->config->data_dir, "server");
    _cleanup_(names_done) struct name_vec names = {0};
    _cleanup_pki_info_ struct pki_info info = {0};
    _cleanup_free_ char *cert = NULL;
    _cleanup_key_ char *key = NULL;
    struct pki_subject subject = {.cn = "godwit-server"};
    int r;

    server_names(s->config, &names);
    if (s->cert && s->key && is_good(ca, s->cert, s->key, PKI_SERVER, &info) && has_all(&info, &names))
        return 0;
    subject.sans = (const char *const *)names.items;
    r = pki_issue_with_key(ca, &subject, PKI_SERVER, leaf_life(s->config), &cert, &key, err);
    r = r < 0 ? r : pki_store(p.cert, cert, p.key, key, err);
    if (r < 0)
        return r;
    free(s->cert);
    pki_free_key(s->key);
    s->cert = TAKE_PTR(cert);
    s->key = TAKE_PTR(key);
    return 1;
}

static int open_bootstrap_token(struct server_state *s, struct gw_error *err)
{
    _cleanup_free_ char *path = state_path(s, "bootstrap-token");
    _cleanup_key_ char *token = NULL;

    if (fs_exists(path))
        return fs_read_secret(path, 0, &s->bootstrap_tokens, NULL, err);
    token = bootstrap_token_new();
    s->bootstrap_tokens = xasprintf("%s\n", token);
    return fs_write(path, s->bootstrap_tokens, strlen(s->bootstrap_tokens), 0600, err);
}

/* Whoever has this key can be any service account. Another one ends all their tokens. */
static int open_token_key(struct server_state *s, struct gw_error *err)
{
    _cleanup_free_ char *path = state_path(s, "service-account.key");
    _cleanup_key_ char *pem = NULL;
    int r;

    if (fs_exists(path)) {
        r = fs_read_secret(path, 0, &pem, NULL, err);
    } else {
        r = pki_key_new(&pem, err);
        r = r < 0 ? r : fs_write(path, pem, strlen(pem), 0600, err);
    }
    return r < 0 ? r : jwt_key_new(pem, &s->token_key, err);
}

int state_open(const struct server_config *config, struct server_state *ret, struct gw_error *err)
{
    struct server_state s = {.config = config};
    int r = fs_mkdirs(config->data_dir, 0700, err);

    r = r < 0 ? r : pki_authority_open(config->data_dir, "ca", "godwit-cluster-ca", CA_LIFETIME_S, &s.cluster, err);
    r = r < 0 ? r
              : pki_authority_open(config->data_dir, "migration-ca", "godwit-migration-ca", CA_LIFETIME_S, &s.migration,
                                   err);
    read_server_pair(&s);
    r = r < 0 ? r : state_renew(&s, err);
    r = r < 0 ? r : open_bootstrap_token(&s, err);
    r = r < 0 ? r : open_token_key(&s, err);
    if (r >= 0 && config->static_tokens)
        r = fs_read(config->static_tokens, 0, &s.static_tokens, NULL, err);
    if (r < 0)
        state_done(&s);
    else
        *ret = s;
    return r < 0 ? r : 0;
}

void state_done(struct server_state *s)
{
    pki_authority_free(s->cluster);
    pki_authority_free(s->migration);
    free(s->cert);
    pki_free_key(s->key);
    jwt_key_free(s->token_key);
    pki_free_key(s->bootstrap_tokens);
    pki_free_key(s->static_tokens);
    *s = (struct server_state){0};
}

/* --- Kubeconfigs --- */

static const char *own_address(const struct server_config *c)
{
    return is_any(c->address) ? "127.0.0.1" : c->address;
}

const char *state_public_address(const struct server_config *c)
{
    return c->advertise ? c->advertise : own_address(c);
}

static char *server_url(const char *address, uint16_t port)
{
    bool v6 = strchr(address, ':') != NULL;

    return xasprintf("https://%s%s%s:%u", v6 ? "[" : "", address, v6 ? "]" : "", port);
}

static int user_config(struct server_state *s, const char *url, const char *user, const char *group, int64_t lifetime_s,
                       struct client_config *ret, struct gw_error *err)
{
    const struct pki_authority_state *now = pki_authority_now(s->cluster);
    const char *const groups[] = {group, NULL};
    const struct pki_subject subject = {.cn = user, .o = groups};
    int r = pki_issue_with_key(now->issuer, &subject, PKI_CLIENT, lifetime_s, &ret->cert, &ret->key, err);

    if (r < 0)
        return r;
    ret->server = xstrdup(url);
    ret->ca = xstrdup(now->bundle);
    return 0;
}

static bool kubeconfig_is_good(struct server_state *s, const char *path, const char *url)
{
    const struct pki_authority_state *now = pki_authority_now(s->cluster);
    _cleanup_client_config_ struct client_config have = {0};
    _cleanup_pki_info_ struct pki_info info = {0};

    return kubeconfig_load(path, NULL, &have, NULL) == 0 && str_same(have.server, url) && have.cert && have.key &&
           str_same(have.ca, now->bundle) && is_good(now->issuer, have.cert, have.key, PKI_CLIENT, &info);
}

int state_write_admin(struct server_state *s, uint16_t port, struct gw_error *err)
{
    _cleanup_free_ char *path =
        s->config->kubeconfig ? xstrdup(s->config->kubeconfig) : state_path(s, "admin.kubeconfig");
    _cleanup_free_ char *url = server_url(state_public_address(s->config), port);
    _cleanup_client_config_ struct client_config config = {0};
    _cleanup_key_ char *text = NULL;
    int r;

    if (kubeconfig_is_good(s, path, url))
        return 0;
    r = user_config(s, url, "kubernetes-admin", GROUP_MASTERS, leaf_life(s->config), &config, err);
    if (r < 0)
        return r;
    text = kubeconfig_write(&config, "godwit", "kubernetes-admin");
    return fs_write(path, text, strlen(text), 0600, err);
}
