/* Public keys of another issuer of JSON web tokens: a JSON Web Key Set (RFC 7517), RSA of at least 2048 bits and the
 * curves P-256, P-384 and P-521. All of it is foreign bytes. */
#pragma once

#include "base/json.h"
#include "pki/jwt_parts.h"

struct jwks;

/* Keys of other kinds, for encryption, or malformed ones are left out; Invalid if none is left. */
int jwks_parse(const char *text, size_t len, struct jwks **ret, struct gw_error *err);
struct jwks *jwks_free(struct jwks *k);
DEFINE_CLEANUP(struct jwks *, jwks_free)

/* Whether signatures of this name (RFC 7518: "RS256") can be checked at all. */
bool jwks_knows(const char *alg);

/* Checks the signature of a token that was split. Unauthorized with the reason; -ENOKEY if the key that it names is not
 * there: then newer keys may help. Safe on any thread. */
int jwks_verify(const struct jwks *k, const char *token, const struct jwt_parts *parts, struct gw_error *err);
