/* Authentication: from a client certificate or a bearer token to a user and its groups. */
#pragma once

#include "apiserver/identity.h"
#include "pki/authority.h"

struct authn;
struct oidc;
struct rest_server;

struct authn_config {
    const struct pki_authority *clients; /* whose client certificates are believed; must outlive this */
    /* Lines TOKEN,USER,UID[,"GROUP,GROUP"] as kube-apiserver's --token-auth-file has them; NULL = none. */
    const char *static_tokens;
    /* Lines ID.SECRET (6 and 16 of a-z0-9); who brings one is system:bootstrap:ID in system:bootstrappers; NULL = none.
     */
    const char *bootstrap_tokens;
    struct oidc *oidc;        /* further issuer of tokens (oidc.h); NULL = none */
    struct rest_server *rest; /* has the service accounts and the key of their tokens; NULL = none */
};

/* Texts are copied. Invalid names the line that is malformed, never its contents. */
int authn_new(const struct authn_config *config, struct authn **ret, struct gw_error *err);
struct authn *authn_free(struct authn *a);

/* CN is the user, O are the groups. Unauthorized for anything but a valid client certificate of the CA. Any thread. */
int authn_chain(const struct authn *a, const struct pki_der *chain, size_t n, int64_t wall_ms, struct identity **ret,
                struct gw_error *err);

/* Whether authn_chain's identity still counts: its certificate has not ended, and no authority was taken out since. */
bool authn_is_current(const struct authn *a, const struct identity *who, int64_t wall_ms);

/* Unauthorized for an unknown token, and for one that is for none of those asked for (NULL: this server). Takes the
 * same time wherever a wrong token differs. Any thread. */
int authn_token(const struct authn *a, const char *token, const struct authn_audiences *asked, struct identity **ret,
                struct gw_error *err);
