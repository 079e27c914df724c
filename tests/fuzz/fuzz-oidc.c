/* Keys of an issuer and tokens that claim to be its own: text before the first newline is the token, the rest the key set. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/oidc.h"
#include "base/alloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const algs[] = {"RS256", "ES256", "ES384", "PS256", NULL};
    static const struct oidc_config config = {.issuer_url = "https://i", .client_id = "c", .signing_algs = algs};
    const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;
    size_t n = newline ? (size_t)(newline - data) : size;
    _cleanup_free_ char *token = xstrndup((const char *)data, n);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct identity *who = NULL;
    struct jwks *keys = NULL;
    struct oidc *oidc = NULL;

    if (oidc_new(&config, &oidc, NULL) < 0)
        abort();
    if (newline && jwks_parse((const char *)newline + 1, size - n - 1, &keys, &err) == 0)
        oidc_set_keys(oidc, keys);
    (void)oidc_is_issuer(oidc, token);
    if (oidc_check(oidc, token, 1800000000000, &who, NULL) == 0)
        identity_free(who); /* whoever makes the keys can sign */
    oidc_free(oidc);
    return 0;
}
