/* Tokens of service accounts: JSON web tokens that this server signs, for a time, and that die with their account.
 * Nothing of them is stored. */
#pragma once

#include "apiserver/authn.h"
#include "apiserver/rest.h"

/* Whom such a token is for unless it says otherwise: this server. */
#define TOKEN_AUDIENCE "https://kubernetes.default.svc.cluster.local"

/* Whether a bearer token has the form of one (two dots), so that nothing else need be looked at. */
bool account_token_is_one(const char *token);

/* Whose it is: system:serviceaccount:NS:NAME, as long as that account with that uid is there. Unauthorized otherwise.
 */
int account_token_check(struct rest_server *s, const char *token, struct identity **ret, struct gw_error *err);

/* serviceaccounts/token: TokenRequest. */
extern const struct rest_extra account_token_extras[];
