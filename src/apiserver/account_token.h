/* Tokens of service accounts: JSON web tokens that this server signs, for a time, and that die with their account.
 * Nothing of them is stored, but for those in Secrets. account_token.c issues them, account_check.c believes them. */
#pragma once

#include "apiserver/identity.h"
#include "apiserver/rest.h"

/* Whom such a token is for unless it says otherwise: this server. */
#define TOKEN_AUDIENCE "https://kubernetes.default.svc.cluster.local"

#define ACCOUNT_SECRET_TYPE "kubernetes.io/service-account-token"
#define ACCOUNT_NAME_ANNOTATION "kubernetes.io/service-account.name"
#define ACCOUNT_UID_ANNOTATION "kubernetes.io/service-account.uid"

/* Whether a bearer token has the form of one (two dots), so that nothing else need be looked at. */
bool account_token_is_one(const char *token);

/* Whose it is: system:serviceaccount:NS:NAME, as long as that account with that uid is there, and the object to which
 * the token is bound. asked: see authn_token. Unauthorized otherwise. */
int account_token_check(struct rest_server *s, const char *token, const struct authn_audiences *asked,
                        struct identity **ret, struct gw_error *err);

/* A token for a Secret of type ACCOUNT_SECRET_TYPE, to be put into it as "token": it has no end but that of the Secret
 * and of the account. Freed by the caller. */
int account_token_for_secret(struct rest_server *s, yyjson_val *account, yyjson_val *secret, char **ret,
                             struct gw_error *err);

/* serviceaccounts/token: TokenRequest. */
extern const struct rest_extra account_token_extras[];
