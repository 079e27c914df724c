#include "pki/jwks.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/vec.h"
#include "pki/pki_internal.h"

#define KEYS_MAX 64
#define RSA_BITS_MIN 2048

struct jwk {
    char *kid, *alg; /* NULL: not said */
    gnutls_pubkey_t key;
    gnutls_pk_algorithm_t type;
    gnutls_ecc_curve_t curve; /* of ECDSA */
};
VEC_DEFINE(jwk_vec, struct jwk);

struct jwks {
    struct jwk_vec keys;
};

/* RFC 7518, section 3.1, without what has a shared secret or no signature at all. */
static const struct alg {
    const char *name;
    gnutls_pk_algorithm_t type;
    gnutls_sign_algorithm_t sign;
    gnutls_ecc_curve_t curve;
    size_t number_len; /* of ECDSA */
} algs[] = {
    {"RS256", GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_SHA256, 0, 0},
    {"RS384", GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_SHA384, 0, 0},
    {"RS512", GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_SHA512, 0, 0},
    {"PS256", GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_PSS_RSAE_SHA256, 0, 0},
    {"PS384", GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_PSS_RSAE_SHA384, 0, 0},
    {"PS512", GNUTLS_PK_RSA, GNUTLS_SIGN_RSA_PSS_RSAE_SHA512, 0, 0},
    {"ES256", GNUTLS_PK_ECDSA, GNUTLS_SIGN_ECDSA_SHA256, GNUTLS_ECC_CURVE_SECP256R1, 32},
    {"ES384", GNUTLS_PK_ECDSA, GNUTLS_SIGN_ECDSA_SHA384, GNUTLS_ECC_CURVE_SECP384R1, 48},
    {"ES512", GNUTLS_PK_ECDSA, GNUTLS_SIGN_ECDSA_SHA512, GNUTLS_ECC_CURVE_SECP521R1, 66},
};

static const struct alg *find_alg(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(algs); i++)
        if (streq(algs[i].name, name))
            return &algs[i];
    return NULL;
}

bool jwks_knows(const char *alg)
{
    return find_alg(alg) != NULL;
}

/* --- Keys --- */

struct number {
    char *bytes;
    size_t len;
};

static void number_done(struct number *n)
{
    free(n->bytes);
}
#define _cleanup_number_ _cleanup_(number_done)

static bool read_number(yyjson_val *key, const char *path, struct number *ret)
{
    const char *text = json_str_or(key, path, "");

    return jwt_url_decode(text, strlen(text), &ret->bytes, &ret->len) == 0 && ret->len > 0;
}

static gnutls_datum_t datum_of(const struct number *n)
{
    return (gnutls_datum_t){(unsigned char *)n->bytes, (unsigned)n->len};
}

/* With the exponent 1 every text would be its own signature. */
static bool is_exponent(const struct number *e)
{
    size_t i = 0;

    while (i < e->len && e->bytes[i] == 0)
        i++;
    return i + 1 < e->len || (i < e->len && (unsigned char)e->bytes[i] >= 3);
}

static bool import_rsa(yyjson_val *key, struct jwk *ret)
{
    _cleanup_number_ struct number n = {0}, e = {0};
    gnutls_datum_t n_datum, e_datum;
    unsigned bits = 0;

    if (!read_number(key, "/n", &n) || !read_number(key, "/e", &e) || !is_exponent(&e))
        return false;
    n_datum = datum_of(&n);
    e_datum = datum_of(&e);
    ret->type = GNUTLS_PK_RSA;
    return gnutls_pubkey_import_rsa_raw(ret->key, &n_datum, &e_datum) >= 0 &&
           gnutls_pubkey_get_pk_algorithm(ret->key, &bits) == GNUTLS_PK_RSA && bits >= RSA_BITS_MIN;
}

/* Coordinates have their full length (RFC 7518, section 6.2.1.2). */
static gnutls_ecc_curve_t find_curve(const char *name, size_t *ret_len)
{
    static const struct {
        const char *name;
        gnutls_ecc_curve_t curve;
        size_t len;
    } curves[] = {{"P-256", GNUTLS_ECC_CURVE_SECP256R1, 32},
                  {"P-384", GNUTLS_ECC_CURVE_SECP384R1, 48},
                  {"P-521", GNUTLS_ECC_CURVE_SECP521R1, 66}};

    for (size_t i = 0; i < ARRAY_SIZE(curves); i++)
        if (streq(curves[i].name, name)) {
            *ret_len = curves[i].len;
            return curves[i].curve;
        }
    return GNUTLS_ECC_CURVE_INVALID;
}

static bool import_ec(yyjson_val *key, struct jwk *ret)
{
    _cleanup_number_ struct number x = {0}, y = {0};
    gnutls_datum_t x_datum, y_datum;
    size_t len = 0;

    ret->type = GNUTLS_PK_ECDSA;
    ret->curve = find_curve(json_str_or(key, "/crv", ""), &len);
    if (ret->curve == GNUTLS_ECC_CURVE_INVALID || !read_number(key, "/x", &x) || !read_number(key, "/y", &y) ||
        x.len != len || y.len != len)
        return false;
    x_datum = datum_of(&x);
    y_datum = datum_of(&y);
    return gnutls_pubkey_import_ecc_raw(ret->key, ret->curve, &x_datum, &y_datum) >= 0;
}

static void jwk_done(struct jwk *k)
{
    if (k->key)
        gnutls_pubkey_deinit(k->key);
    free(k->kid);
    free(k->alg);
}

static bool read_key(yyjson_val *key, struct jwk *ret)
{
    const char *type = json_str_or(key, "/kty", "");

    *ret = (struct jwk){.kid = xstrdup(json_str(key, "/kid")), .alg = xstrdup(json_str(key, "/alg"))};
    if (!streq(json_str_or(key, "/use", "sig"), "sig") || gnutls_pubkey_init(&ret->key) < 0)
        return false;
    return streq(type, "RSA") ? import_rsa(key, ret) : streq(type, "EC") && import_ec(key, ret);
}

int jwks_parse(const char *text, size_t len, struct jwks **ret, struct gw_error *err)
{
    _cleanup_(jwks_freep) struct jwks *k = xnew(struct jwks);
    _cleanup_doc_ yyjson_doc *doc = NULL;
    yyjson_val *item;
    int r = json_parse(text, len, &doc, err);

    if (r < 0)
        return r;
    json_each(json_at(yyjson_doc_get_root(doc), "/keys"), item) {
        struct jwk key;

        if (k->keys.len < KEYS_MAX && read_key(item, &key))
            jwk_vec_push(&k->keys, key);
        else if (k->keys.len < KEYS_MAX)
            jwk_done(&key);
    }
    if (k->keys.len == 0)
        return gw_error_set(err, GW_INVALID, "there is no key in \"keys\" by which signatures could be checked");
    *ret = TAKE_PTR(k);
    return 0;
}

struct jwks *jwks_free(struct jwks *k)
{
    if (!k)
        return NULL;
    VEC_EACH(&k->keys, key)
        jwk_done(key);
    jwk_vec_done(&k->keys);
    free(k);
    return NULL;
}

/* --- Signatures --- */

static bool fits(const struct jwk *key, const struct alg *alg, const char *kid)
{
    return key->type == alg->type && key->curve == alg->curve && (!key->alg || streq(key->alg, alg->name)) &&
           (!kid || !key->kid || streq(key->kid, kid));
}

static bool is_signed(const struct jwk *key, const struct alg *alg, const char *token, const struct jwt_parts *parts)
{
    gnutls_datum_t in = {(unsigned char *)token, (unsigned)parts->signed_len},
                   raw = {(unsigned char *)parts->signature, (unsigned)parts->signature_len};
    _cleanup_datum_ gnutls_datum_t der = {0};

    if (alg->number_len && !jwt_signature_to_der(parts->signature, parts->signature_len, alg->number_len, &der))
        return false;
    return gnutls_pubkey_verify_data2(key->key, alg->sign, 0, &in, alg->number_len ? &der : &raw) >= 0;
}

int jwks_verify(const struct jwks *k, const char *token, const struct jwt_parts *parts, struct gw_error *err)
{
    yyjson_val *head = yyjson_doc_get_root(parts->head);
    const struct alg *alg = find_alg(json_str_or(head, "/alg", ""));
    const char *kid = json_str(head, "/kid");
    size_t tried = 0;

    if (!alg)
        return gw_error_set(err, GW_UNAUTHORIZED, "signatures of this algorithm are not believed");
    VEC_EACH(&((struct jwks *)k)->keys, key) {
        if (!fits(key, alg, kid))
            continue;
        tried++;
        if (is_signed(key, alg, token, parts))
            return 0;
    }
    if (tried)
        return gw_error_set(err, GW_UNAUTHORIZED, "the signature is wrong");
    (void)gw_error_set(err, GW_UNAUTHORIZED, "the issuer has no key for %s of the name that it says", alg->name);
    return -ENOKEY;
}
