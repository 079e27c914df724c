/* A JSON web token taken apart, in the compact form of RFC 7515; nothing in it is believed yet. */
#pragma once

#include <gnutls/gnutls.h>

#include "base/json.h"

struct jwt_parts {
    yyjson_doc *head, *claims;
    size_t signed_len; /* so much of the token is signed */
    char *signature;   /* bytes */
    size_t signature_len;
};

/* Unauthorized for a text that is no token. */
int jwt_split(const char *token, struct jwt_parts *ret, struct gw_error *err);
void jwt_parts_done(struct jwt_parts *p);
#define _cleanup_jwt_parts_ __attribute__((cleanup(jwt_parts_done)))

/* base64url without padding (RFC 7515, appendix C). Results are freed by the caller. */
char *jwt_url_encode(const void *data, size_t len);
int jwt_url_decode(const char *text, size_t len, char **ret, size_t *ret_len);

/* An ECDSA signature, which tokens have as two numbers of number_len bytes each, in the form of X.509. ret is freed by
 * gnutls_free. */
bool jwt_signature_to_der(const char *bytes, size_t len, size_t number_len, gnutls_datum_t *ret);
