/* Users of an OpenID Connect issuer: ID tokens as bearer tokens, with kube-apiserver's options. The keys by which they
 * are checked are given from outside (server/oidc_keys.h); nothing here waits for the network. */
#pragma once

#include "apiserver/identity.h"
#include "pki/jwks.h"

/* As kube-apiserver's --oidc-...; NULL: not given. Texts must outlive what is made of this. */
struct oidc_config {
    const char *issuer_url;      /* https://...; NULL: there is no issuer */
    const char *client_id;       /* must be among the token's audiences */
    const char *username_claim;  /* [sub] */
    const char *username_prefix; /* [the issuer's URL and "#", unless the claim is email]; "-": none */
    const char *groups_claim;
    const char *groups_prefix;
    const char *ca_file;                /* for the issuer's certificate [the system's] */
    const char *const *required_claims; /* "KEY=VALUE"; NULL-terminated, or NULL */
    const char *const *signing_algs;    /* NULL-terminated, or NULL: RS256 */
};

struct oidc;

/* Invalid for a configuration that can't be, naming the option. */
int oidc_new(const struct oidc_config *config, struct oidc **ret, struct gw_error *err);
struct oidc *oidc_free(struct oidc *o);

/* The issuer's keys from now on; taken over. Any thread. */
void oidc_set_keys(struct oidc *o, struct jwks *keys);
/* Called (on any thread) when a token names a key that is not there. */
void oidc_on_missing_key(struct oidc *o, void (*fn)(void *userdata), void *userdata);

/* Whether a token says that it is of this issuer; nothing is believed by that. */
bool oidc_is_issuer(const struct oidc *o, const char *token);

/* Whose it is. Unauthorized with the reason. Any thread.
 *
 * An issuer speaks for people, never for the system: a user name that begins with system: is refused, and groups that
 * do are left out, whatever the prefixes are. */
int oidc_check(struct oidc *o, const char *token, int64_t wall_ms, struct identity **ret, struct gw_error *err);
