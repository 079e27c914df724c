#include "pki/jwt_parts.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <string.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/str.h"

#define URL_ALPHABET "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

char *jwt_url_encode(const void *data, size_t len)
{
    char *text = base64_encode(data, len);

    for (char *c = text; *c; c++)
        *c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
    text[strcspn(text, "=")] = '\0';
    return text;
}

int jwt_url_decode(const char *text, size_t len, char **ret, size_t *ret_len)
{
    _cleanup_free_ char *plain = xasprintf("%.*s%.*s", (int)len, text, (int)((4 - len % 4) % 4), "==");

    if (len == 0 || len % 4 == 1 || strspn(text, URL_ALPHABET) < len)
        return -EINVAL;
    for (char *c = plain; *c; c++)
        *c = *c == '-' ? '+' : *c == '_' ? '/' : *c;
    return base64_decode(plain, strlen(plain), ret, ret_len);
}

static bool decode_json(const char *text, size_t len, yyjson_doc **ret)
{
    _cleanup_free_ char *json = NULL;
    size_t n = 0;

    return jwt_url_decode(text, len, &json, &n) >= 0 && json_parse(json, n, ret, NULL) == 0 &&
           yyjson_is_obj(yyjson_doc_get_root(*ret));
}

int jwt_split(const char *token, struct jwt_parts *ret, struct gw_error *err)
{
    const char *dot = strchr(token, '.'), *second = dot ? strchr(dot + 1, '.') : NULL;
    _cleanup_jwt_parts_ struct jwt_parts p = {0};

    if (!second || !decode_json(token, (size_t)(dot - token), &p.head) ||
        !decode_json(dot + 1, (size_t)(second - dot - 1), &p.claims) ||
        jwt_url_decode(second + 1, strlen(second + 1), &p.signature, &p.signature_len) < 0)
        return gw_error_set(err, GW_UNAUTHORIZED, "it is no JSON web token");
    p.signed_len = (size_t)(second - token);
    *ret = p;
    p = (struct jwt_parts){0};
    return 0;
}

void jwt_parts_done(struct jwt_parts *p)
{
    yyjson_doc_free(p->head);
    yyjson_doc_free(p->claims);
    free(p->signature);
    *p = (struct jwt_parts){0};
}

bool jwt_signature_to_der(const char *bytes, size_t len, size_t number_len, gnutls_datum_t *ret)
{
    gnutls_datum_t a = {(unsigned char *)bytes, (unsigned)number_len},
                   b = {(unsigned char *)bytes + number_len, (unsigned)number_len};

    return len == 2 * number_len && gnutls_encode_rs_value(ret, &a, &b) >= 0;
}
