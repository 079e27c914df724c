/* Tokens of an OpenID Connect issuer: keys, signatures, claims. The issuer as a server is in tests/e2e/test_oidc.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <gnutls/abstract.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/oidc.h"
#include "base/alloc.h"
#include "base/str.h"

#define URL "https://issuer.test/realm"
#define NOW_S 1800000000LL

/* --- The issuer --- */

enum { RSA, RSA_OTHER, RSA_SMALL, EC, EC384, N_KEYS };

static const struct {
    gnutls_pk_algorithm_t type;
    unsigned bits;
    const char *curve;
    size_t number_len;
} kinds[N_KEYS] = {
    [RSA] = {GNUTLS_PK_RSA, 2048, NULL, 0},
    [RSA_OTHER] = {GNUTLS_PK_RSA, 2048, NULL, 0},
    [RSA_SMALL] = {GNUTLS_PK_RSA, 1024, NULL, 0},
    [EC] = {GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), "P-256", 32},
    [EC384] = {GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1), "P-384", 48},
};
static gnutls_privkey_t keys[N_KEYS];

static int make_keys(void **state)
{
    for (size_t i = 0; i < N_KEYS; i++)
        if (gnutls_privkey_init(&keys[i]) < 0 || gnutls_privkey_generate(keys[i], kinds[i].type, kinds[i].bits, 0) < 0)
            return -1;
    return 0;
}

static int free_keys(void **state)
{
    for (size_t i = 0; i < N_KEYS; i++)
        gnutls_privkey_deinit(keys[i]);
    return 0;
}

static char *url_of(gnutls_datum_t *d)
{
    char *text = jwt_url_encode(d->data, d->size);

    gnutls_free(d->data);
    d->data = NULL;
    return text;
}

static char *jwk(int key, const char *kid, const char *more)
{
    gnutls_datum_t a, b;

    if (kinds[key].type == GNUTLS_PK_RSA) {
        assert_int_equal(gnutls_privkey_export_rsa_raw2(keys[key], &a, &b, NULL, NULL, NULL, NULL, NULL, NULL, GNUTLS_EXPORT_FLAG_NO_LZ), 0);
        _cleanup_free_ char *n = url_of(&a), *e = url_of(&b);
        return xasprintf("{\"kty\":\"RSA\",\"kid\":\"%s\",\"n\":\"%s\",\"e\":\"%s\"%s}", kid, n, e, more);
    }
    assert_int_equal(gnutls_privkey_export_ecc_raw2(keys[key], NULL, &a, &b, NULL, GNUTLS_EXPORT_FLAG_NO_LZ), 0);
    _cleanup_free_ char *x = url_of(&a), *y = url_of(&b);
    return xasprintf("{\"kty\":\"EC\",\"kid\":\"%s\",\"crv\":\"%s\",\"x\":\"%s\",\"y\":\"%s\"%s}", kid, kinds[key].curve, x, y, more);
}

static const struct {
    const char *alg;
    gnutls_sign_algorithm_t sign;
} algs[] = {
    {"RS256", GNUTLS_SIGN_RSA_SHA256},   {"RS384", GNUTLS_SIGN_RSA_SHA384},          {"RS512", GNUTLS_SIGN_RSA_SHA512},
    {"ES256", GNUTLS_SIGN_ECDSA_SHA256}, {"ES384", GNUTLS_SIGN_ECDSA_SHA384},        {"PS256", GNUTLS_SIGN_RSA_PSS_RSAE_SHA256},
};

static void put(unsigned char *to, size_t len, const gnutls_datum_t *n)
{
    const unsigned char *from = n->data;
    size_t size = n->size;

    for (; size > len; size--)
        from++;
    memset(to, 0, len);
    memcpy(to + len - size, from, size);
}

static char *sign(int key, const char *alg, const char *kid, const char *claims)
{
    _cleanup_free_ char *head = xasprintf("{\"alg\":\"%s\",\"kid\":\"%s\"}", alg, kid);
    _cleanup_free_ char *head64 = jwt_url_encode(head, strlen(head)), *body64 = jwt_url_encode(claims, strlen(claims));
    _cleanup_free_ char *text = xasprintf("%s.%s", head64, body64), *signature = NULL;
    gnutls_datum_t in = {(unsigned char *)text, (unsigned)strlen(text)}, out = {0}, r, s;
    gnutls_sign_algorithm_t how = GNUTLS_SIGN_RSA_SHA256;

    for (size_t i = 0; i < ARRAY_SIZE(algs); i++)
        if (streq(algs[i].alg, alg))
            how = algs[i].sign;
    assert_int_equal(gnutls_privkey_sign_data2(keys[key], how, 0, &in, &out), 0);
    if (kinds[key].number_len) {
        unsigned char raw[2 * 66];
        size_t n = kinds[key].number_len;

        assert_int_equal(gnutls_decode_rs_value(&out, &r, &s), 0);
        put(raw, n, &r);
        put(raw + n, n, &s);
        gnutls_free(r.data);
        gnutls_free(s.data);
        signature = jwt_url_encode(raw, 2 * n);
    } else {
        signature = jwt_url_encode(out.data, out.size);
    }
    gnutls_free(out.data);
    return xasprintf("%s.%s", text, signature);
}

static struct jwks *key_set(const char *first, ...)
{
    _cleanup_str_ struct str text = {0};
    struct jwks *set = NULL;
    va_list ap;
    bool comma = false;

    str_puts(&text, "{\"keys\":[");
    va_start(ap, first);
    for (const char *key = first; key; key = va_arg(ap, const char *)) {
        str_printf(&text, "%s%s", comma ? "," : "", key);
        comma = true;
    }
    va_end(ap);
    str_puts(&text, "]}");
    (void)jwks_parse(text.data, text.len, &set, NULL);
    return set;
}

/* --- Keys and signatures --- */

static int verify(const struct jwks *set, const char *token)
{
    _cleanup_jwt_parts_ struct jwt_parts parts = {0};

    return jwt_split(token, &parts, NULL) < 0 ? -EINVAL : jwks_verify(set, token, &parts, NULL);
}

static void signatures_are_checked(void **state)
{
    static const struct {
        const char *alg;
        int key;
    } rows[] = {{"RS256", RSA}, {"RS384", RSA}, {"RS512", RSA}, {"PS256", RSA}, {"ES256", EC}, {"ES384", EC384}};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *own = jwk(rows[i].key, "k", ""), *rsa = jwk(RSA_OTHER, "other", ""), *token = sign(rows[i].key, rows[i].alg, "k", "{}"),
                            *unknown = sign(rows[i].key, rows[i].alg, "nobody", "{}");
        struct jwks *set = key_set(rsa, own, NULL), *others = key_set(rsa, NULL);

        assert_int_equal(verify(set, token), 0);
        assert_int_equal(verify(set, unknown), -ENOKEY);
        assert_int_equal(verify(others, token), -ENOKEY);
        token[strlen(token) - 10] ^= 1;
        assert_true(verify(set, token) < 0 && verify(set, token) != -ENOKEY);
        jwks_free(set);
        jwks_free(others);
    }
}

static void a_key_serves_its_own_algorithm_only(void **state)
{
    _cleanup_free_ char *key = jwk(RSA, "k", ",\"alg\":\"RS256\",\"use\":\"sig\""), *good = sign(RSA, "RS256", "k", "{}"),
                        *other = sign(RSA, "RS512", "k", "{}"), *forged = sign(RSA_OTHER, "RS256", "k", "{}"),
                        *none = xasprintf("%s", "eyJhbGciOiJub25lIn0.e30."), *mac = xasprintf("%s", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA");
    struct jwks *set = key_set(key, NULL);

    assert_int_equal(verify(set, good), 0);
    assert_int_equal(verify(set, other), -ENOKEY);
    assert_true(verify(set, forged) < 0);
    assert_true(verify(set, none) < 0);
    assert_true(verify(set, mac) < 0);
    jwks_free(set);
}

static void useless_keys_are_left_out(void **state)
{
    _cleanup_free_ char *small = jwk(RSA_SMALL, "s", ""), *enc = jwk(RSA, "e", ",\"use\":\"enc\""), *good = jwk(RSA, "g", ""),
                        *one = jwk(RSA, "o", "");
    static const char *const bad[] = {"{}", "3", "{\"kty\":\"RSA\",\"n\":\"AQ\",\"e\":\"AQAB\"}", "{\"kty\":\"RSA\",\"n\":\"!\",\"e\":\"\"}",
                                      "{\"kty\":\"oct\",\"k\":\"AAAA\"}", "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQ\",\"y\":\"AQ\"}",
                                      "{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"AQ\",\"y\":\"AQ\"}"};
    struct jwks *set = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_null(key_set(bad[i], NULL));
    assert_null(key_set(small, enc, NULL));
    memcpy(strstr(one, "AQAB"), "AAAB", 4); /* exponent 1 */
    assert_null(key_set(one, NULL));
    assert_int_not_equal(jwks_parse("{}", 2, &set, NULL), 0);
    assert_int_not_equal(jwks_parse("x", 1, &set, NULL), 0);
    set = key_set(bad[3], small, good, NULL);
    assert_non_null(set);
    jwks_free(set);
}

/* --- Claims --- */

#define BASE "\"iss\":\"" URL "\",\"aud\":\"godwit\",\"exp\":1800000600,\"sub\":\"u-1\""

static struct oidc *issuer(const struct oidc_config *more)
{
    struct oidc_config c = *more;
    _cleanup_free_ char *key = jwk(RSA, "k", "");
    struct oidc *o = NULL;

    c.issuer_url = URL;
    c.client_id = "godwit";
    assert_int_equal(oidc_new(&c, &o, NULL), 0);
    oidc_set_keys(o, key_set(key, NULL));
    return o;
}

static const char *const verified_claim[] = {"hd=example.org", NULL};

static void claims_become_users(void **state)
{
    static const struct {
        struct oidc_config config;
        const char *claims, *user, *groups; /* user NULL: refused, groups is in the reason */
    } rows[] = {
        {{0}, "{" BASE "}", URL "#u-1", "system:authenticated"},
        {{.username_prefix = "-"}, "{" BASE "}", "u-1", "system:authenticated"},
        {{.username_prefix = "oidc:"}, "{" BASE "}", "oidc:u-1", "system:authenticated"},
        {{.username_claim = "email"}, "{" BASE ",\"email\":\"a@b\"}", "a@b", "system:authenticated"},
        {{.username_claim = "email"}, "{" BASE ",\"email\":\"a@b\",\"email_verified\":true}", "a@b", "system:authenticated"},
        {{.username_claim = "email"}, "{" BASE ",\"email\":\"a@b\",\"email_verified\":false}", NULL, "not verified"},
        {{.username_claim = "name"}, "{" BASE "}", NULL, "claim name is no name"},
        {{.username_claim = "name"}, "{" BASE ",\"name\":\"\"}", NULL, "claim name is no name"},
        {{.username_claim = "name"}, "{" BASE ",\"name\":\"a\\u0000b\"}", NULL, "claim name is no name"},
        {{.username_claim = "name"}, "{" BASE ",\"name\":7}", NULL, "claim name is no name"},
        {{.username_claim = "name", .username_prefix = "-"}, "{" BASE ",\"name\":\"system:admin\"}", NULL, "no issuer may name"},
        {{.groups_claim = "groups"}, "{" BASE ",\"groups\":[\"dev\",\"ops\",\"dev\",3]}", URL "#u-1", "dev ops system:authenticated"},
        {{.groups_claim = "groups", .groups_prefix = "o:"}, "{" BASE ",\"groups\":\"dev\"}", URL "#u-1", "o:dev system:authenticated"},
        {{.groups_claim = "groups"}, "{" BASE ",\"groups\":[\"system:masters\",\"dev\"]}", URL "#u-1", "dev system:authenticated"},
        {{.groups_claim = "groups", .groups_prefix = "system:"}, "{" BASE ",\"groups\":[\"masters\"]}", URL "#u-1", "system:authenticated"},
        {{.required_claims = verified_claim}, "{" BASE ",\"hd\":\"example.org\"}", URL "#u-1", "system:authenticated"},
        {{.required_claims = verified_claim}, "{" BASE ",\"hd\":\"elsewhere\"}", NULL, "lacks the claim hd=example.org"},
        {{.required_claims = verified_claim}, "{" BASE "}", NULL, "lacks the claim hd=example.org"},
        {{0}, "{\"iss\":\"https://evil.test\",\"aud\":\"godwit\",\"exp\":1800000600,\"sub\":\"u\"}", NULL, "another issuer"},
        {{0}, "{\"iss\":\"" URL "\",\"aud\":[\"a\",\"b\"],\"exp\":1800000600,\"sub\":\"u\"}", NULL, "audience"},
        {{0}, "{\"iss\":\"" URL "\",\"exp\":1800000600,\"sub\":\"u\"}", NULL, "audience"},
        {{0}, "{\"iss\":\"" URL "\",\"aud\":[\"a\",\"godwit\"],\"exp\":1800000600,\"sub\":\"u\"}", URL "#u", "system:authenticated"},
        {{0}, "{\"iss\":\"" URL "\",\"aud\":\"godwit\",\"exp\":1800000000,\"sub\":\"u\"}", NULL, "expired"},
        {{0}, "{\"iss\":\"" URL "\",\"aud\":\"godwit\",\"sub\":\"u\"}", NULL, "expired"},
        {{0}, "{\"iss\":\"" URL "\",\"aud\":\"godwit\",\"exp\":\"never\",\"sub\":\"u\"}", NULL, "expired"},
        {{0}, "{\"iss\":\"" URL "\",\"aud\":\"godwit\",\"exp\":1e300,\"sub\":\"u\"}", NULL, "expired"},
        {{0}, "{" BASE ",\"nbf\":1800000299}", URL "#u-1", "system:authenticated"},
        {{0}, "{" BASE ",\"nbf\":1800000301}", NULL, "not good yet"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct oidc *o = issuer(&rows[i].config);
        _cleanup_free_ char *token = sign(RSA, "RS256", "k", rows[i].claims);
        _cleanup_identity_ struct identity *who = NULL;
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
        _cleanup_str_ struct str groups = {0};
        int r = oidc_check(o, token, NOW_S * 1000, &who, &err);

        oidc_free(o);
        if (!rows[i].user) {
            if (r == 0 || !strstr(err.message, rows[i].groups))
                fail_msg("row %zu: %s", i, r == 0 ? who->name : err.message);
            continue;
        }
        if (r < 0)
            fail_msg("row %zu: %s", i, err.message);
        assert_string_equal(who->name, rows[i].user);
        for (size_t k = 0; k < who->n_groups; k++)
            str_printf(&groups, "%s%s", k ? " " : "", who->groups[k]);
        assert_string_equal(groups.data, rows[i].groups);
    }
}

static void wanted(void *userdata)
{
    ++*(int *)userdata;
}

static void keys_come_later_and_change(void **state)
{
    const struct oidc_config config = {.issuer_url = URL, .client_id = "godwit"};
    _cleanup_free_ char *token = sign(RSA, "RS256", "k", "{" BASE "}"), *newer = sign(RSA_OTHER, "RS256", "k2", "{" BASE "}"),
                        *es = sign(EC, "ES256", "k", "{" BASE "}"), *first = jwk(RSA, "k", ""), *second = jwk(RSA_OTHER, "k2", "");
    struct identity *who = NULL;
    struct oidc *o = NULL;
    int n = 0;

    assert_int_equal(oidc_new(&config, &o, NULL), 0);
    oidc_on_missing_key(o, wanted, &n);
    assert_true(oidc_check(o, token, NOW_S * 1000, &who, NULL) < 0);
    assert_int_equal(n, 1);
    oidc_set_keys(o, key_set(first, NULL));
    assert_int_equal(oidc_check(o, token, NOW_S * 1000, &who, NULL), 0);
    who = identity_free(who);
    assert_true(oidc_check(o, newer, NOW_S * 1000, &who, NULL) < 0);
    assert_int_equal(n, 2);
    assert_true(oidc_check(o, es, NOW_S * 1000, &who, NULL) < 0); /* not among the algorithms: no reason to look for keys */
    assert_int_equal(n, 2);
    oidc_set_keys(o, key_set(second, NULL));
    assert_int_equal(oidc_check(o, newer, NOW_S * 1000, &who, NULL), 0);
    who = identity_free(who);
    assert_true(oidc_check(o, token, NOW_S * 1000, &who, NULL) < 0);
    assert_true(oidc_is_issuer(o, token));
    assert_false(oidc_is_issuer(o, "a.b.c"));
    oidc_free(o);
}

static void options_are_checked(void **state)
{
    static const char *const no_value[] = {"x", NULL}, *const no_alg[] = {"RS256", "HS256", NULL};
    static const struct {
        struct oidc_config config;
        const char *option;
    } rows[] = {
        {{.issuer_url = "http://issuer.test", .client_id = "x"}, "--oidc-issuer-url"},
        {{.issuer_url = URL}, "--oidc-client-id"},
        {{.issuer_url = URL, .client_id = "x", .required_claims = no_value}, "--oidc-required-claim"},
        {{.issuer_url = URL, .client_id = "x", .signing_algs = no_alg}, "--oidc-signing-algs: \"HS256\""},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
        struct oidc *o = NULL;

        assert_true(oidc_new(&rows[i].config, &o, &err) < 0);
        assert_non_null(strstr(err.message, rows[i].option));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures_are_checked),     cmocka_unit_test(a_key_serves_its_own_algorithm_only),
        cmocka_unit_test(useless_keys_are_left_out),  cmocka_unit_test(claims_become_users),
        cmocka_unit_test(keys_come_later_and_change), cmocka_unit_test(options_are_checked),
    };

    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
