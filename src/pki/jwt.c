#include "pki/jwt.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "pki/authority.h"
#include "pki/jwt_parts.h"
#include "pki/pki_internal.h"

#define HEADER "{\"alg\":\"" JWT_ALGORITHM "\",\"kid\":\"%s\",\"typ\":\"JWT\"}"
#define NUMBER_LEN 32 /* each of the two numbers of a P-256 signature, big endian */

/* Digests of whole tokens whose signature was right: finding that out takes 150 us, and it stays so. What a token
 * claims, and whether that still counts, is not remembered. */
#define SEEN 256 /* a power of two; a newer token takes the place of an older one */
#define DIGEST_LEN 32

struct seen {
    pthread_mutex_t lock;
    unsigned char digests[SEEN][DIGEST_LEN];
};

struct jwt_key {
    gnutls_privkey_t key;
    gnutls_pubkey_t pubkey;
    char *kid;
    struct jwt_key *next;
    struct seen *seen; /* of the first key: by any of them */
};

/* As Kubernetes names keys: by the digest of their public part in the form of X.509. */
static int name_key(struct jwt_key *k)
{
    _cleanup_datum_ gnutls_datum_t der = {0};
    unsigned char digest[DIGEST_LEN];
    int r = gnutls_pubkey_export2(k->pubkey, GNUTLS_X509_FMT_DER, &der);

    if (r >= 0)
        r = gnutls_hash_fast(GNUTLS_DIG_SHA256, der.data, der.size, digest);
    if (r >= 0)
        k->kid = jwt_url_encode(digest, sizeof(digest));
    return r;
}

static int load_one(const char *key_pem, struct jwt_key **ret, struct gw_error *err)
{
    _cleanup_(jwt_key_freep) struct jwt_key *k = xnew(struct jwt_key);
    _cleanup_privkey_ gnutls_x509_privkey_t key = NULL;
    int r = pki_load_key(key_pem, &key, err);

    k->seen = xnew(struct seen);
    pthread_mutex_init(&k->seen->lock, NULL);
    if (r < 0)
        return r;
    r = gnutls_privkey_init(&k->key);
    if (r >= 0)
        r = gnutls_privkey_import_x509(k->key, key, GNUTLS_PRIVKEY_IMPORT_COPY);
    if (r >= 0)
        r = gnutls_pubkey_init(&k->pubkey);
    if (r >= 0)
        r = gnutls_pubkey_import_privkey(k->pubkey, k->key, 0, 0);
    if (r >= 0)
        r = name_key(k);
    if (r < 0)
        return pki_fail(err, GW_INVALID, r, "cannot use the key for tokens");
    *ret = TAKE_PTR(k);
    return 0;
}

int jwt_key_new(const char *key_pem, struct jwt_key **ret, struct gw_error *err)
{
    _cleanup_(jwt_key_freep) struct jwt_key *first = NULL;
    struct jwt_key **last = &first;
    int r = 0;

    for (const char *at = key_pem; r >= 0;) {
        _cleanup_key_ char *pem = pki_next_pem(&at, "PRIVATE KEY");

        if (!pem)
            break;
        r = load_one(pem, last, err);
        last = r < 0 ? last : &(*last)->next;
    }
    if (r >= 0 && !first)
        r = gw_error_set(err, GW_INVALID, "there is no private key");
    if (r < 0)
        return r;
    *ret = TAKE_PTR(first);
    return 0;
}

struct jwt_key *jwt_key_free(struct jwt_key *k)
{
    if (!k)
        return NULL;
    jwt_key_free(k->next);
    if (k->pubkey)
        gnutls_pubkey_deinit(k->pubkey);
    if (k->key)
        gnutls_privkey_deinit(k->key);
    pthread_mutex_destroy(&k->seen->lock);
    free(k->seen);
    free(k->kid);
    free(k);
    return NULL;
}

/* --- Signatures: two numbers of fixed length, where X.509 has a DER structure of two --- */

/* A number without leading zeros, or with one for its sign, to NUMBER_LEN bytes. */
static bool put_number(unsigned char *to, const gnutls_datum_t *n)
{
    const unsigned char *data = n->data;
    size_t len = n->size;

    for (; len && !*data; data++)
        len--;
    if (len > NUMBER_LEN)
        return false;
    memset(to, 0, NUMBER_LEN);
    memcpy(to + NUMBER_LEN - len, data, len);
    return true;
}

int jwt_sign(const struct jwt_key *k, const char *claims, char **ret, struct gw_error *err)
{
    _cleanup_free_ char *plain = xasprintf(HEADER, k->kid), *head = jwt_url_encode(plain, strlen(plain)),
                        *body = jwt_url_encode(claims, strlen(claims)), *signature = NULL;
    _cleanup_free_ char *text = xasprintf("%s.%s", head, body);
    _cleanup_datum_ gnutls_datum_t der = {0}, a = {0}, b = {0};
    gnutls_datum_t in = pki_datum(text);
    unsigned char raw[2 * NUMBER_LEN];
    int r = gnutls_privkey_sign_data(k->key, GNUTLS_DIG_SHA256, 0, &in, &der);

    if (r >= 0)
        r = gnutls_decode_rs_value(&der, &a, &b);
    if (r >= 0 && (!put_number(raw, &a) || !put_number(raw + NUMBER_LEN, &b)))
        r = GNUTLS_E_INTERNAL_ERROR;
    if (r < 0)
        return pki_fail(err, GW_INTERNAL_ERROR, r, "cannot sign a token");
    signature = jwt_url_encode(raw, sizeof(raw));
    *ret = xasprintf("%s.%s", text, signature);
    return 0;
}

static bool is_signed(const struct jwt_key *k, const char *token, const struct jwt_parts *parts)
{
    _cleanup_datum_ gnutls_datum_t der = {0};
    gnutls_datum_t in = {(unsigned char *)token, (unsigned)parts->signed_len};

    if (!jwt_signature_to_der(parts->signature, parts->signature_len, NUMBER_LEN, &der))
        return false;
    for (; k; k = k->next)
        if (gnutls_pubkey_verify_data2(k->pubkey, GNUTLS_SIGN_ECDSA_SHA256, 0, &in, &der) >= 0)
            return true;
    return false;
}

/* is_signed, from memory where it can. */
static bool is_good(const struct jwt_key *k, const char *token, const struct jwt_parts *parts)
{
    unsigned char digest[DIGEST_LEN], *slot;
    bool good;

    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, token, strlen(token), digest) < 0)
        return false;
    slot = k->seen->digests[digest[0] % SEEN];
    pthread_mutex_lock(&k->seen->lock);
    good = memcmp(slot, digest, DIGEST_LEN) == 0;
    pthread_mutex_unlock(&k->seen->lock);
    if (good || !is_signed(k, token, parts))
        return good;
    pthread_mutex_lock(&k->seen->lock);
    memcpy(slot, digest, DIGEST_LEN);
    pthread_mutex_unlock(&k->seen->lock);
    return true;
}

int jwt_verify(const struct jwt_key *k, const char *token, yyjson_doc **ret, struct gw_error *err)
{
    _cleanup_jwt_parts_ struct jwt_parts parts = {0};

    if (jwt_split(token, &parts, NULL) < 0 ||
        !streq(json_str_or(yyjson_doc_get_root(parts.head), "/alg", ""), JWT_ALGORITHM) || !is_good(k, token, &parts))
        return gw_error_set(err, GW_UNAUTHORIZED, "the token is not one of this server");
    *ret = TAKE_PTR(parts.claims);
    return 0;
}

/* --- Public keys (RFC 7517, RFC 7518 section 6.2.1) --- */

static bool add_number(yyjson_mut_doc *d, yyjson_mut_val *to, const char *name, const gnutls_datum_t *n)
{
    unsigned char bytes[NUMBER_LEN];
    _cleanup_free_ char *text = NULL;

    if (!put_number(bytes, n))
        return false;
    text = jwt_url_encode(bytes, sizeof(bytes));
    return yyjson_mut_obj_add_strcpy(d, to, name, text);
}

static int add_public(yyjson_mut_doc *d, yyjson_mut_val *list, const struct jwt_key *k)
{
    _cleanup_datum_ gnutls_datum_t x = {0}, y = {0};
    gnutls_ecc_curve_t curve;
    yyjson_mut_val *to;
    int r = gnutls_pubkey_export_ecc_raw(k->pubkey, &curve, &x, &y);

    if (r < 0)
        return r;
    to = yyjson_mut_arr_add_obj(d, list);
    yyjson_mut_obj_add_str(d, to, "use", "sig");
    yyjson_mut_obj_add_str(d, to, "kty", "EC");
    yyjson_mut_obj_add_strcpy(d, to, "kid", k->kid);
    yyjson_mut_obj_add_str(d, to, "crv", "P-256");
    yyjson_mut_obj_add_str(d, to, "alg", JWT_ALGORITHM);
    return add_number(d, to, "x", &x) && add_number(d, to, "y", &y) ? 0 : GNUTLS_E_INVALID_REQUEST;
}

int jwt_public_keys(const struct jwt_key *k, yyjson_mut_doc *d, struct gw_error *err)
{
    yyjson_mut_val *list = yyjson_mut_obj_add_arr(d, d->root, "keys");
    int r = 0;

    for (; r >= 0 && k; k = k->next)
        r = add_public(d, list, k);
    return r < 0 ? pki_fail(err, GW_INTERNAL_ERROR, r, "cannot publish the key for tokens") : 0;
}
