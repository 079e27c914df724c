#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "apiserver/authn.h"
#include "apiserver/bootstrap_token.h"
#include "base/alloc.h"
#include "base/clock.h"

#define DAY_S 86400

static struct pki_authority *authority;
static const struct pki_ca *ca;

static int make_ca(void **state)
{
    assert_int_equal(pki_authority_open(NULL, "ca", "ca", 10 * DAY_S, &authority, NULL), 0);
    ca = pki_authority_now(authority)->issuer;
    return 0;
}

static int free_ca(void **state)
{
    authority = pki_authority_free(authority);
    return 0;
}

static struct authn *make(const char *tokens, const char *bootstrap)
{
    struct authn *a = NULL;

    assert_int_equal(authn_new(&(struct authn_config){.clients = authority, .static_tokens = tokens, .bootstrap_tokens = bootstrap}, &a, NULL), 0);
    return a;
}

static void assert_groups(const struct identity *who, const char *text)
{
    _cleanup_free_ char *all = xstrdup("");

    for (size_t i = 0; i < who->n_groups; i++) {
        char *more = xasprintf("%s%s%s", all, *all ? " " : "", who->groups[i]);

        free(all);
        all = more;
    }
    assert_string_equal(all, text);
}

static void static_tokens_name_user_and_groups(void **state)
{
    struct authn *a = make("# comment\ns3cret,alice,1,\"dev,ops\"\r\n\nother,bob,2\n\"quoted\",carol,3,dev\n", NULL);
    _cleanup_identity_ struct identity *alice = NULL, *bob = NULL, *carol = NULL;

    assert_int_equal(authn_token(a, "s3cret", NULL, &alice, NULL), 0);
    assert_string_equal(alice->name, "alice");
    assert_groups(alice, "dev ops system:authenticated");
    assert_int_equal(authn_token(a, "other", NULL, &bob, NULL), 0);
    assert_groups(bob, "system:authenticated");
    assert_int_equal(authn_token(a, "quoted", NULL, &carol, NULL), 0);
    assert_groups(carol, "dev system:authenticated");
    authn_free(a);
}

static void bootstrap_tokens_name_a_joining_node(void **state)
{
    _cleanup_free_ char *token = bootstrap_token_new(), *name = xasprintf("system:bootstrap:%.6s", token);
    struct authn *a = make(NULL, token);
    _cleanup_identity_ struct identity *who = NULL;

    assert_int_equal(authn_token(a, token, NULL, &who, NULL), 0);
    assert_string_equal(who->name, name);
    assert_groups(who, "system:bootstrappers system:authenticated");
    authn_free(a);
}

static void wrong_tokens_are_refused(void **state)
{
    static const char *const wrong[] = {"", "s3cre", "s3crets", "S3cret", "abcdef", "abcdef.0123456789abcdeg", ","};
    struct authn *a = make("s3cret,alice,1\n", "abcdef.0123456789abcdef\n");

    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        struct identity *who = NULL;
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

        assert_true(authn_token(a, wrong[i], NULL, &who, &err) < 0);
        assert_int_equal(err.reason, GW_UNAUTHORIZED);
        assert_null(who);
    }
    authn_free(a);
}

static void malformed_files_are_refused_without_showing_them(void **state)
{
    static const struct {
        const char *tokens, *bootstrap, *where;
    } cases[] = {
        {"a,alice,1\nhidden,bob\n", NULL, "line 2 of the token file"},
        {",alice,1\n", NULL, "line 1 of the token file"},
        {NULL, "hidden", "line 1 of the bootstrap tokens"},
        {NULL, "abcdef.0123456789abcdef0", "line 1 of the bootstrap tokens"},
        {NULL, "abcdef.0123456789abcde", "line 1 of the bootstrap tokens"},
        {NULL, "ABCDEF.0123456789abcdef", "line 1 of the bootstrap tokens"},
        {NULL, "abc", "line 1 of the bootstrap tokens"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct authn *a = NULL;
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

        assert_true(
            authn_new(&(struct authn_config){.clients = authority, .static_tokens = cases[i].tokens,
                                             .bootstrap_tokens = cases[i].bootstrap}, &a, &err) < 0);
        assert_non_null(strstr(err.message, cases[i].where));
        assert_null(strstr(err.message, "hidden"));
        assert_null(a);
    }
}

/* The DER of a PEM certificate, by way of nothing but base64. */
static struct pki_der to_der(const char *pem, unsigned char *buf)
{
    struct pki_der der = {buf, 0};
    uint32_t bits = 0;
    int n = 0;

    for (const char *p = strchr(pem, '\n'); *p != '-'; p++) {
        static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const char *at = *p == '=' || *p == '\n' ? NULL : strchr(alphabet, *p);

        if (!at)
            continue;
        bits = bits << 6 | (uint32_t)(at - alphabet);
        n += 6;
        if (n >= 8)
            buf[der.len++] = (unsigned char)(bits >> (n -= 8));
    }
    return der;
}

static int identify(struct authn *a, const struct pki_ca *by, const char *cn, unsigned usages, int64_t at_ms,
                    struct identity **ret)
{
    static const char *const groups[] = {"system:masters", "dev", NULL};
    const struct pki_subject subject = {cn, groups, NULL};
    _cleanup_free_ char *cert = NULL;
    _cleanup_key_ char *key = NULL;
    unsigned char buf[4096];
    struct pki_der der;

    assert_int_equal(pki_issue_with_key(by, &subject, usages, DAY_S, &cert, &key, NULL), 0);
    der = to_der(cert, buf);
    return authn_chain(a, &der, 1, at_ms, ret, NULL);
}

static void certificates_name_user_and_groups(void **state)
{
    struct authn *a = make(NULL, NULL);
    _cleanup_identity_ struct identity *who = NULL;
    int64_t now = clock_wall_ms();

    assert_int_equal(identify(a, ca, "root", PKI_CLIENT, now, &who), 0);
    assert_string_equal(who->name, "root");
    assert_groups(who, "system:masters dev system:authenticated");
    assert_in_range(who->expires_ms, now + DAY_S * 1000LL - 5000, now + DAY_S * 1000LL + 5000);
    authn_free(a);
}

static void wrong_certificates_are_refused(void **state)
{
    struct authn *a = make(NULL, NULL);
    struct identity *who = NULL;
    struct pki_ca *other = NULL;
    int64_t now = clock_wall_ms();

    assert_int_equal(pki_ca_new("ca", DAY_S, &other, NULL), 0);
    assert_true(identify(a, other, "root", PKI_CLIENT, now, &who) < 0);
    assert_true(identify(a, ca, "root", PKI_SERVER, now, &who) < 0);
    assert_true(identify(a, ca, "root", PKI_CLIENT, now + 2 * DAY_S * 1000LL, &who) < 0);
    assert_true(authn_chain(a, NULL, 0, now, &who, NULL) < 0);
    assert_true(authn_chain(a, &(struct pki_der){"junk", 4}, 1, now, &who, NULL) < 0);
    assert_null(who);
    pki_ca_free(other);
    authn_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(static_tokens_name_user_and_groups),
        cmocka_unit_test(bootstrap_tokens_name_a_joining_node),
        cmocka_unit_test(wrong_tokens_are_refused),
        cmocka_unit_test(malformed_files_are_refused_without_showing_them),
        cmocka_unit_test(certificates_name_user_and_groups),
        cmocka_unit_test(wrong_certificates_are_refused),
    };

    return cmocka_run_group_tests(tests, make_ca, free_ca);
}
