/* Service accounts: their tokens for a time, and the default one of each namespace. Tokens that are bound to something:
 * test-tokens.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/authn.h"
#include "roles-fixture.h"

#define ACCOUNTS "/api/v1/namespaces/demo/serviceaccounts"

static struct authn *authn_of(struct fixture *f)
{
    struct authn *a = NULL;

    assert_int_equal(authn_new(&(struct authn_config){.rest = &f->rest}, &a, NULL), 0);
    return a;
}

static char *request_token(struct fixture *f, const char *spec)
{
    _cleanup_free_ char *body = xasprintf("{\"spec\":%s}", spec), *text = NULL;
    _cleanup_doc_ yyjson_doc *doc = NULL;

    assert_int_equal(fixture_call(f, "root", "system:masters", "POST", ACCOUNTS "/robot/token", body, &text), 201);
    assert_int_equal(json_parse(text, strlen(text), &doc, NULL), 0);
    assert_non_null(json_str(yyjson_doc_get_root(doc), "/status/expirationTimestamp"));
    return xstrdup(json_str(yyjson_doc_get_root(doc), "/status/token"));
}

static bool is_good(struct authn *a, const char *token)
{
    _cleanup_identity_ struct identity *who = NULL;

    return authn_token(a, token, NULL, &who, NULL) == 0;
}

static void service_accounts_have_tokens(void **state)
{
    struct fixture *f = *state;
    struct authn *a = authn_of(f);
    _cleanup_identity_ struct identity *who = NULL;

    admin(f, "POST", ACCOUNTS, "{\"metadata\":{\"name\":\"robot\"}}");
    _cleanup_free_ char *token = request_token(f, "{}"), *brief = request_token(f, "{\"expirationSeconds\":600}"),
                        *foreign = request_token(f, "{\"audiences\":[\"somebody-else\"]}");

    assert_int_equal(authn_token(a, token, NULL, &who, NULL), 0);
    assert_string_equal(who->name, "system:serviceaccount:demo:robot");
    assert_string_equal(who->groups[0], "system:serviceaccounts");
    assert_string_equal(who->groups[1], "system:serviceaccounts:demo");
    assert_string_equal(who->groups[2], AUTHENTICATED);
    assert_true(is_good(a, brief));
    assert_false(is_good(a, foreign));
    ahead_ms = 700 * 1000;
    assert_false(is_good(a, brief));
    assert_true(is_good(a, token));
    ahead_ms = 0;
    token[strlen(token) / 2] ^= 1;
    assert_false(is_good(a, token));
    token[strlen(token) / 2] ^= 1;
    admin(f, "DELETE", ACCOUNTS "/robot", NULL);
    assert_false(is_good(a, token));
    admin(f, "POST", ACCOUNTS, "{\"metadata\":{\"name\":\"robot\"}}"); /* another one of that name */
    assert_false(is_good(a, token));
    authn_free(a);
}

static void token_requests_are_checked(void **state)
{
    struct fixture *f = *state;

    admin(f, "POST", ACCOUNTS, "{\"metadata\":{\"name\":\"robot\"}}");
    assert_int_equal(fixture_call(f, "root", "system:masters", "POST", ACCOUNTS "/robot/token",
                                  "{\"spec\":{\"expirationSeconds\":5}}", NULL), 422);
    assert_int_equal(fixture_call(f, "root", "system:masters", "POST", ACCOUNTS "/robot/token",
                                  "{\"spec\":{\"boundObjectRef\":{\"kind\":\"Pod\",\"name\":\"p\"}}}", NULL), 404);
    assert_int_equal(fixture_call(f, "root", "system:masters", "POST", ACCOUNTS "/robot/token",
                                  "{\"spec\":{\"boundObjectRef\":{\"kind\":\"ConfigMap\",\"name\":\"p\"}}}", NULL), 400);
    assert_int_equal(fixture_call(f, "root", "system:masters", "POST", ACCOUNTS "/absent/token", "{\"spec\":{}}", NULL), 404);
    assert_int_equal(fixture_call(f, "root", "system:masters", "GET", ACCOUNTS "/robot/token", NULL, NULL), 405);
    assert_int_equal(fixture_call(f, "stranger", "x", "POST", ACCOUNTS "/robot/token", "{\"spec\":{}}", NULL), 403);
}

static void namespaces_have_a_default_account(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(default_account_ensure(&f->rest, "demo", NULL), 0);
    assert_int_equal(default_account_ensure(&f->rest, "demo", NULL), 0);
    assert_int_equal(default_account_ensure(&f->rest, "absent", NULL), 0);
    admin(f, "GET", ACCOUNTS "/default", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(service_accounts_have_tokens),
        TEST(token_requests_are_checked),
        TEST(namespaces_have_a_default_account),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
