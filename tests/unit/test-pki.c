#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <errno.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/fs.h"
#include "pki/jwks.h"
#include "pki/jwt.h"
#include "pki/pki.h"

#define DAY_S 86400

static struct pki_ca *ca;
static struct pki_trust *trust;

static int make_ca(void **state)
{
    return pki_ca_new("test-ca", 3650 * DAY_S, &ca, NULL) || pki_trust_new(pki_ca_cert_pem(ca), &trust, NULL);
}

static int free_ca(void **state)
{
    ca = pki_ca_free(ca);
    trust = pki_trust_free(trust);
    return 0;
}

static void issued_certificates_say_what_was_asked(void **state)
{
    static const char *const o[] = {"system:nodes", "other", NULL}, *const sans[] = {"node-a", "10.0.0.1", "fd00::1",
                                                                                     NULL};
    const struct pki_subject subject = {"system:node:node-a", o, sans};
    _cleanup_free_ char *cert = NULL;
    _cleanup_key_ char *key = NULL;
    _cleanup_pki_info_ struct pki_info info = {0};
    int64_t now = clock_wall_ms();

    assert_int_equal(pki_issue_with_key(ca, &subject, PKI_CLIENT | PKI_SERVER, DAY_S, &cert, &key, NULL), 0);
    assert_true(pki_cert_matches_key(cert, key));
    assert_int_equal(pki_cert_read(cert, &info, NULL), 0);
    assert_string_equal(info.cn, "system:node:node-a");
    assert_int_equal(info.n_o, 2);
    assert_string_equal(info.o[0], "system:nodes");
    assert_string_equal(info.o[1], "other");
    assert_int_equal(info.n_sans, 3);
    assert_string_equal(info.sans[0], "node-a");
    assert_string_equal(info.sans[1], "10.0.0.1");
    assert_string_equal(info.sans[2], "fd00::1");
    assert_int_equal(info.usages, PKI_CLIENT | PKI_SERVER);
    assert_int_equal(strlen(info.fingerprint), 64);
    assert_in_range(info.not_before_ms, now - 302000, now - 298000);
    assert_in_range(info.not_after_ms, now + DAY_S * 1000LL - 2000, now + DAY_S * 1000LL + 2000);
}

static void requests_are_read_back(void **state)
{
    static const char *const o[] = {"system:nodes", NULL}, *const sans[] = {"node-a", "10.0.0.1", NULL};
    const struct pki_subject subject = {"system:node:node-a", o, sans};
    _cleanup_key_ char *key = NULL;
    _cleanup_free_ char *csr = NULL;
    _cleanup_pki_info_ struct pki_info info = {0};

    assert_int_equal(pki_key_new(&key, NULL), 0);
    assert_int_equal(pki_csr_new(key, &subject, PKI_SERVER, &csr, NULL), 0);
    assert_int_equal(pki_csr_read(csr, &info, NULL), 0);
    assert_string_equal(info.cn, "system:node:node-a");
    assert_int_equal(info.n_o, 1);
    assert_int_equal(info.n_sans, 2);
    assert_int_equal(info.usages, PKI_SERVER);
    assert_int_equal(info.n_other_sans, 0);
}

static void nothing_is_taken_over_from_the_request(void **state)
{
    static const char *const evil[] = {"system:masters", NULL};
    const struct pki_subject asked = {"root", evil, evil}, given = {"nobody", NULL, NULL};
    _cleanup_key_ char *key = NULL;
    _cleanup_free_ char *csr = NULL, *cert = NULL;
    _cleanup_pki_info_ struct pki_info info = {0};

    assert_int_equal(pki_key_new(&key, NULL), 0);
    assert_int_equal(pki_csr_new(key, &asked, PKI_SERVER, &csr, NULL), 0);
    assert_int_equal(pki_issue(ca, csr, &given, PKI_CLIENT, DAY_S, &cert, NULL), 0);
    assert_int_equal(pki_cert_read(cert, &info, NULL), 0);
    assert_string_equal(info.cn, "nobody");
    assert_int_equal(info.n_o, 0);
    assert_int_equal(info.n_sans, 0);
    assert_int_equal(info.usages, PKI_CLIENT);
    assert_true(pki_cert_matches_key(cert, key));
}

static void tampered_requests_are_refused(void **state)
{
    const struct pki_subject subject = {"a", NULL, NULL};
    _cleanup_key_ char *key = NULL;
    _cleanup_free_ char *csr = NULL;
    struct pki_info info;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    char *at;

    assert_int_equal(pki_key_new(&key, NULL), 0);
    assert_int_equal(pki_csr_new(key, &subject, PKI_CLIENT, &csr, NULL), 0);
    at = strstr(csr, "-----END") - 20; /* inside the signature */
    *at = *at == 'A' ? 'B' : 'A';
    assert_true(pki_csr_read(csr, &info, &err) < 0);
    assert_int_equal(err.reason, GW_BAD_REQUEST);
    assert_true(pki_csr_read("hello", &info, &err) < 0);
    assert_int_equal(err.reason, GW_BAD_REQUEST);
}

static char *issue(const struct pki_ca *by, unsigned usages, int64_t lifetime_s)
{
    const struct pki_subject subject = {"someone", NULL, NULL};
    _cleanup_key_ char *key = NULL;
    char *cert = NULL;

    assert_int_equal(pki_issue_with_key(by, &subject, usages, lifetime_s, &cert, &key, NULL), 0);
    return cert;
}

static void refused(const char *cert, unsigned purpose, int64_t at_ms, const char *why)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    assert_true(pki_trust_verify_pem(trust, cert, purpose, at_ms, NULL, &err) < 0);
    assert_int_equal(err.reason, GW_UNAUTHORIZED);
    assert_non_null(strstr(err.message, why));
}

static void verification_checks_authority_time_and_purpose(void **state)
{
    _cleanup_free_ char *good = issue(ca, PKI_CLIENT, DAY_S), *stranger = NULL;
    _cleanup_pki_info_ struct pki_info info = {0};
    struct pki_ca *other = NULL;
    int64_t now = clock_wall_ms();

    assert_int_equal(pki_trust_verify_pem(trust, good, PKI_CLIENT, now, &info, NULL), 0);
    assert_string_equal(info.cn, "someone");
    refused(good, PKI_SERVER, now, "not one for a server");
    refused(good, PKI_CLIENT, now + 2 * DAY_S * 1000LL, "expired");
    refused(good, PKI_CLIENT, now - DAY_S * 1000LL, "not valid yet");
    /* An authority of the same name, but with another key. */
    assert_int_equal(pki_ca_new("test-ca", DAY_S, &other, NULL), 0);
    stranger = issue(other, PKI_CLIENT, DAY_S);
    refused(stranger, PKI_CLIENT, now, "unknown authority");
    refused(pki_ca_cert_pem(other), PKI_CLIENT, now, "unknown authority");
    refused("nothing", PKI_CLIENT, now, "cannot read");
    pki_ca_free(other);
}

static void a_leaf_can_not_issue(void **state)
{
    const struct pki_subject subject = {"leaf", NULL, NULL};
    _cleanup_free_ char *cert = NULL;
    _cleanup_key_ char *key = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct pki_ca *fake = NULL;

    assert_int_equal(pki_issue_with_key(ca, &subject, PKI_CLIENT, DAY_S, &cert, &key, NULL), 0);
    assert_true(pki_ca_from_pem(cert, key, &fake, &err) < 0);
    assert_int_equal(err.reason, GW_INVALID);
    assert_null(fake);
}

static void nothing_outlives_the_authority(void **state)
{
    struct pki_ca *brief = NULL;
    _cleanup_free_ char *cert = NULL;
    _cleanup_pki_info_ struct pki_info info = {0};

    assert_int_equal(pki_ca_new("brief", 3600, &brief, NULL), 0);
    cert = issue(brief, PKI_CLIENT, DAY_S);
    assert_int_equal(pki_cert_read(cert, &info, NULL), 0);
    assert_in_range(info.not_after_ms, clock_wall_ms(), clock_wall_ms() + 3601000);
    pki_ca_free(brief);
}

static void signatures_bind_message_and_key(void **state)
{
    static const char message[] = "grant 3 of vmi x";
    const struct pki_subject subject = {"signer", NULL, NULL};
    _cleanup_free_ char *cert = NULL, *other = issue(ca, PKI_CLIENT, DAY_S), *signature = NULL;
    _cleanup_key_ char *key = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    assert_int_equal(pki_issue_with_key(ca, &subject, PKI_CLIENT, DAY_S, &cert, &key, NULL), 0);
    assert_int_equal(pki_sign(key, message, sizeof(message), &signature, NULL), 0);
    assert_int_equal(pki_check_signature(cert, message, sizeof(message), signature, NULL), 0);
    assert_true(pki_check_signature(cert, message, sizeof(message) - 2, signature, &err) < 0);
    assert_int_equal(err.reason, GW_UNAUTHORIZED);
    assert_true(pki_check_signature(other, message, sizeof(message), signature, &err) < 0);
    assert_true(pki_check_signature(cert, message, sizeof(message), "bm90aGluZw==", &err) < 0);
    assert_true(pki_check_signature(cert, message, sizeof(message), "%%%", &err) < 0);
    assert_true(pki_check_signature(cert, message, sizeof(message), "", &err) < 0);
}

static bool is_believed(const struct jwt_key *key, const char *token)
{
    _cleanup_doc_ yyjson_doc *claims = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    int r = jwt_verify(key, token, &claims, &err);

    if (r < 0)
        assert_int_equal(err.reason, GW_UNAUTHORIZED);
    return r == 0;
}

static struct jwt_key *new_jwt_key(void)
{
    struct jwt_key *key = NULL;
    _cleanup_key_ char *pem = NULL;

    assert_int_equal(pki_key_new(&pem, NULL), 0);
    assert_int_equal(jwt_key_new(pem, &key, NULL), 0);
    return key;
}

static void tokens_are_read_back(void **state)
{
    _cleanup_(jwt_key_freep) struct jwt_key *key = new_jwt_key(), *other = new_jwt_key();

    for (int i = 0; i < 100; i++) { /* often enough for numbers that begin with zeros */
        _cleanup_free_ char *claims = xasprintf("{\"sub\":\"x\",\"n\":%d}", i), *token = NULL;
        _cleanup_doc_ yyjson_doc *doc = NULL;

        assert_int_equal(jwt_sign(key, claims, &token, NULL), 0);
        assert_null(strpbrk(token, "+/="));
        assert_int_equal(jwt_verify(key, token, &doc, NULL), 0);
        assert_int_equal(json_int(yyjson_doc_get_root(doc), "/n", -1), i);
        assert_false(is_believed(other, token));
    }
}

/* What is published checks what is signed, and the token names its key among several. */
static void published_keys_check_tokens(void **state)
{
    _cleanup_key_ char *a = NULL, *b = NULL;
    _cleanup_(jwt_key_freep) struct jwt_key *key = NULL, *other = new_jwt_key();
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    _cleanup_(jwks_freep) struct jwks *set = NULL;
    _cleanup_free_ char *both = NULL, *text = NULL, *good = NULL, *bad = NULL;
    _cleanup_jwt_parts_ struct jwt_parts parts = {0}, foreign = {0};

    assert_int_equal(pki_key_new(&a, NULL), 0);
    assert_int_equal(pki_key_new(&b, NULL), 0);
    both = xasprintf("%s%s", a, b);
    assert_int_equal(jwt_key_new(both, &key, NULL), 0);
    assert_int_equal(jwt_public_keys(key, d, NULL), 0);
    text = json_text(d->root);
    assert_int_equal(jwks_parse(text, strlen(text), &set, NULL), 0);
    assert_int_equal(jwt_sign(key, "{}", &good, NULL), 0);
    assert_int_equal(jwt_sign(other, "{}", &bad, NULL), 0);
    assert_int_equal(jwt_split(good, &parts, NULL), 0);
    assert_int_equal(jwt_split(bad, &foreign, NULL), 0);
    assert_string_equal(json_str_or(yyjson_doc_get_root(parts.head), "/kid", ""), json_mut_str(d, "/keys/0/kid"));
    assert_string_not_equal(json_mut_str(d, "/keys/0/kid"), json_mut_str(d, "/keys/1/kid"));
    assert_int_equal(jwks_verify(set, good, &parts, NULL), 0);
    assert_int_equal(jwks_verify(set, bad, &foreign, NULL), -ENOKEY);
}

static void tampered_tokens_are_refused(void **state)
{
    /* {"alg":"none"} and {"alg":"HS256"} with the claims {} */
    static const char *const forged[] = {"",  ".",  "..", "...", "e30.e30.", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJub25lIn0.e30",
                                         "eyJhbGciOiJIUzI1NiJ9.e30.AAAA", "%%%.%%%.%%%"};
    _cleanup_(jwt_key_freep) struct jwt_key *key = new_jwt_key();
    _cleanup_free_ char *token = NULL;

    assert_int_equal(jwt_sign(key, "{\"sub\":\"x\"}", &token, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(forged); i++)
        assert_false(is_believed(key, forged[i]));
    assert_true(is_believed(key, token)); /* which is remembered */
    for (size_t i = 0; i + 1 < strlen(token); i++) { /* the last digit has bits that mean nothing */
        char was = token[i];

        token[i] = was == 'A' ? 'B' : 'A';
        assert_false(is_believed(key, token));
        token[i] = was;
    }
    assert_true(is_believed(key, token));
}

static void certificates_are_renewed_at_two_thirds(void **state)
{
    static const struct {
        const char *fingerprint;
        int64_t at;
    } rows[] = {{"0000", 660000}, {"ffff", 570000}, {"7fff", 615001}}; /* of a life of 900 s */

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct pki_info info = {.not_before_ms = 60000, .not_after_ms = 960000};

        memcpy(info.fingerprint, rows[i].fingerprint, 4);
        assert_int_equal(pki_renew_at_ms(&info), rows[i].at);
    }
}

/* Certificates count from five minutes ago, short ones from a quarter of their life: so none is due when it is issued. */
static void short_lived_ones_are_due_in_their_own_time(void **state)
{
    int64_t now = clock_wall_ms();

    for (int i = 0; i < 2; i++) {
        _cleanup_free_ char *cert = NULL;
        _cleanup_key_ char *key = NULL;
        _cleanup_pki_info_ struct pki_info info = {0};

        assert_int_equal(pki_issue_with_key(ca, &(struct pki_subject){.cn = "x"}, PKI_CLIENT, i ? DAY_S : 5, &cert, &key,
                                            NULL), 0);
        assert_int_equal(pki_cert_read(cert, &info, NULL), 0);
        if (i == 0) {
            assert_in_range(pki_renew_wait_ms(cert, now), 500, 4000);
            continue;
        }
        int64_t at = pki_renew_at_ms(&info);

        assert_in_range(at, now + DAY_S * 560, now + DAY_S * 670);
        assert_int_equal(pki_renew_wait_ms(cert, now), 3600000);
        assert_int_equal(pki_renew_wait_ms(cert, at - 7), 7);
        assert_int_equal(pki_renew_wait_ms(cert, at), 0);
        assert_int_equal(pki_renew_wait_ms(cert, at + 1), 0);
    }
    assert_int_equal(pki_renew_wait_ms(NULL, now), 0);
    assert_int_equal(pki_renew_wait_ms("no certificate", now), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(issued_certificates_say_what_was_asked),
        cmocka_unit_test(requests_are_read_back),
        cmocka_unit_test(nothing_is_taken_over_from_the_request),
        cmocka_unit_test(tampered_requests_are_refused),
        cmocka_unit_test(verification_checks_authority_time_and_purpose),
        cmocka_unit_test(a_leaf_can_not_issue),
        cmocka_unit_test(nothing_outlives_the_authority),
        cmocka_unit_test(certificates_are_renewed_at_two_thirds),
        cmocka_unit_test(short_lived_ones_are_due_in_their_own_time),
        cmocka_unit_test(signatures_bind_message_and_key),
        cmocka_unit_test(tokens_are_read_back),
        cmocka_unit_test(published_keys_check_tokens),
        cmocka_unit_test(tampered_tokens_are_refused),
    };

    return cmocka_run_group_tests(tests, make_ca, free_ca);
}
