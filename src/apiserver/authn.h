/* Authentication: from a client certificate or a bearer token to a user and its groups. */
#pragma once

#include "apiserver/request.h"
#include "base/strv.h"
#include "pki/authority.h"

struct authn;
struct oidc;
struct rest_server;

#define USER_ANONYMOUS "system:anonymous"
#define GROUP_AUTHENTICATED "system:authenticated"
#define GROUP_UNAUTHENTICATED "system:unauthenticated"

/* What struct api_extra shows, owned. */
struct identity_pair {
    char *key, *value;
};
VEC_DEFINE(identity_extra, struct identity_pair);

/* Somebody who proved who he is. Owned by whom it was given to. */
struct identity {
    char *name;
    char *uid;     /* NULL = none is known */
    char **groups; /* "system:authenticated" is always among them */
    size_t n_groups;
    struct identity_extra extra;
    struct strv audiences; /* of a token: those of the ones asked for that it is good for */
    int64_t expires_ms;    /* wall clock; 0 = never */
    bool of_old;           /* his certificate is of an authority that is about to go */
    unsigned trusted;      /* by which state of the authority (pki/authority.h) its certificate was believed */
};

struct identity *identity_free(struct identity *i);
DEFINE_CLEANUP(struct identity *, identity_free)
#define _cleanup_identity_ _cleanup_(identity_freep)

/* For whom a token should be. */
struct authn_audiences {
    const char *const *items;
    size_t n;
};

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

/* Somebody whom nothing proves yet; group may be NULL. A group that he has already is not added again. */
struct identity *identity_new(const char *name, const char *group);
void identity_add_group(struct identity *i, const char *group);
void identity_add_extra(struct identity *i, const char *key, const char *value);

/* Nobody in particular: system:anonymous in system:unauthenticated. */
struct identity *identity_anonymous(void);

/* A view for the request core, valid as long as i. */
struct api_user identity_user(const struct identity *i);
