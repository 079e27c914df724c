/* Who somebody is: what authentication finds out by a certificate or a token of any kind, and what an impersonation
 * makes. */
#pragma once

#include "apiserver/request.h"
#include "base/strv.h"
#include "base/vec.h"

#define USER_ANONYMOUS "system:anonymous"
#define GROUP_AUTHENTICATED "system:authenticated"
#define GROUP_UNAUTHENTICATED "system:unauthenticated"
#define ACCOUNT_PREFIX "system:serviceaccount:"

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

/* Somebody whom nothing proves yet; group may be NULL. A group that he has already is not added again. */
struct identity *identity_new(const char *name, const char *group);
/* Name, uid, groups and end of another. */
struct identity *identity_copy(const struct identity *from);
void identity_add_group(struct identity *i, const char *group);
void identity_add_extra(struct identity *i, const char *key, const char *value);

/* Groups that service accounts have by their name ("system:serviceaccount:NS:NAME"); other users get none. */
void identity_add_account_groups(struct identity *i);

/* Nobody in particular: system:anonymous in system:unauthenticated. */
struct identity *identity_anonymous(void);

/* A view for the request core, valid as long as i. */
struct api_user identity_user(const struct identity *i);
