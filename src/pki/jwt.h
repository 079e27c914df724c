/* JSON web tokens signed with ECDSA P-256: "ES256" of RFC 7518, in the compact form of RFC 7515. Only what service
 * accounts need; no other algorithm is ever believed. */
#pragma once

#include "base/json.h"

#define JWT_ALGORITHM "ES256"

struct jwt_key;

/* From the PEM text of one key or more: the first one signs, all check. Safe on any thread. */
int jwt_key_new(const char *key_pem, struct jwt_key **ret, struct gw_error *err);
struct jwt_key *jwt_key_free(struct jwt_key *k);
DEFINE_CLEANUP(struct jwt_key *, jwt_key_free)

/* The token for claims (JSON text). Freed by the caller. */
int jwt_sign(const struct jwt_key *k, const char *claims, char **ret, struct gw_error *err);

/* The claims of a token that was signed with one of these keys; Unauthorized for any other text. What the claims say,
 * their times included, is the caller's to check. */
int jwt_verify(const struct jwt_key *k, const char *token, yyjson_doc **ret, struct gw_error *err);

/* Makes d, an empty object, the JSON Web Key Set (RFC 7517) by which others can check such tokens; each names its key
 * in "kid". */
int jwt_public_keys(const struct jwt_key *k, yyjson_mut_doc *d, struct gw_error *err);
