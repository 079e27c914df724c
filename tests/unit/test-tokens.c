/* Tokens: bound to objects, in Secrets, for audiences; and bootstrap tokens in Secrets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/meta.h"
#include "apiserver/account_token.h"
#include "apiserver/authn.h"
#include "apiserver/bootstrap_token.h"
#include "apiserver/reviews.h"
#include "base/base64.h"
#include "pki/jwt.h"
#include "pki/pki.h"
#include "server-fixture.h"
#include "server/account_secrets.h"

#define ACCOUNTS "/api/v1/namespaces/default/serviceaccounts"
#define PODS "/api/v1/namespaces/default/pods"
#define SECRETS "/api/v1/namespaces/default/secrets"

#define POD_OF(account) \
    "{\"metadata\":{\"name\":\"p\",\"labels\":{\"kubevirt.io\":\"virt-launcher\"},\"ownerReferences\":[{\"apiVersion\":\"kubevirt.io/v1\"," \
    "\"kind\":\"VirtualMachineInstance\",\"name\":\"vm1\",\"uid\":\"u\",\"controller\":true}]}," \
    "\"spec\":{\"serviceAccountName\":\"" account "\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"

static const struct rest_extra *const extras[] = {account_token_extras, review_extras, NULL};
static int64_t ahead_ms;

static int64_t now(void *data)
{
    return clock_wall_ms() + ahead_ms;
}

struct bench {
    struct fixture *f;
    struct authn *authn;
    struct jwt_key *key;
    char *key_pem;
};

static int setup(void **state)
{
    struct bench *b = xnew(struct bench);

    ahead_ms = 0;
    b->f = fixture_new();
    b->f->rest.extras = extras;
    b->f->rest.now = now;
    assert_int_equal(pki_key_new(&b->key_pem, NULL), 0);
    assert_int_equal(jwt_key_new(b->key_pem, &b->key, NULL), 0);
    b->f->rest.token_key = b->key;
    assert_int_equal(authn_new(&(struct authn_config){.rest = &b->f->rest}, &b->authn, NULL), 0);
    b->f->rest.authn = b->authn;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(fixture_admin(b->f, "POST", "/api/v1/namespaces", i ? "{\"metadata\":{\"name\":\"kube-system\"}}"
                                                                               : "{\"metadata\":{\"name\":\"default\"}}"), 201);
    assert_int_equal(fixture_admin(b->f, "POST", ACCOUNTS, "{\"metadata\":{\"name\":\"robot\"}}"), 201);
    assert_int_equal(fixture_admin(b->f, "POST", ACCOUNTS, "{\"metadata\":{\"name\":\"other\"}}"), 201);
    assert_int_equal(fixture_admin(b->f, "POST", PODS, POD_OF("robot")), 201);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;

    authn_free(b->authn);
    jwt_key_free(b->key);
    pki_free_key(b->key_pem);
    fixture_free(b->f);
    free(b);
    return 0;
}

static yyjson_doc *call(struct bench *b, const char *method, const char *target, const char *body, int want)
{
    _cleanup_free_ char *text = NULL;
    yyjson_doc *doc = NULL;
    int status = fixture_call(b->f, "root", "system:masters", method, target, body, &text);

    if (status != want)
        fail_msg("%s %s: %d: %s", method, target, status, text);
    assert_int_equal(json_parse(text, strlen(text), &doc, NULL), 0);
    return doc;
}

static char *request(struct bench *b, const char *account, const char *spec)
{
    _cleanup_free_ char *target = xasprintf(ACCOUNTS "/%s/token", account), *body = xasprintf("{\"spec\":%s}", spec);
    _cleanup_doc_ yyjson_doc *doc = call(b, "POST", target, body, 201);

    return xstrdup(json_str(yyjson_doc_get_root(doc), "/status/token"));
}

static void refused(struct bench *b, const char *account, const char *spec, int code, const char *message)
{
    _cleanup_free_ char *target = xasprintf(ACCOUNTS "/%s/token", account), *body = xasprintf("{\"spec\":%s}", spec);
    _cleanup_doc_ yyjson_doc *doc = call(b, "POST", target, body, code);

    if (!strstr(json_str_or(yyjson_doc_get_root(doc), "/message", ""), message))
        fail_msg("%s", json_str_or(yyjson_doc_get_root(doc), "/message", ""));
}

/* NULL if it is good, else why it is not. */
static const char *fault(struct bench *b, const char *token)
{
    static char why[256];
    _cleanup_identity_ struct identity *who = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (authn_token(b->authn, token, NULL, &who, &err) == 0)
        return NULL;
    snprintf(why, sizeof(why), "%s", gw_error_message(&err));
    return why;
}

static void must_fail(struct bench *b, const char *token, const char *why)
{
    const char *got = fault(b, token);

    if (!got || !strstr(got, why))
        fail_msg("%s", got ? got : "it is good");
}

static const char *extra_of(const struct identity *who, const char *key)
{
    for (size_t i = 0; i < who->extra.len; i++)
        if (streq(who->extra.items[i].key, key))
            return who->extra.items[i].value;
    return NULL;
}

#define POD(rest) "{\"boundObjectRef\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"name\":\"p\"" rest "}}"

static void a_token_dies_with_its_pod(void **state)
{
    struct bench *b = *state;
    _cleanup_free_ char *token = request(b, "robot", POD(""));
    _cleanup_identity_ struct identity *who = NULL;

    assert_int_equal(authn_token(b->authn, token, NULL, &who, NULL), 0);
    assert_string_equal(who->name, "system:serviceaccount:default:robot");
    assert_string_equal(extra_of(who, "authentication.kubernetes.io/pod-name"), "p");
    assert_non_null(extra_of(who, "authentication.kubernetes.io/pod-uid"));
    refused(b, "other", POD(""), 400, "pod running with different serviceaccount name");
    refused(b, "robot", POD(",\"uid\":\"not-his\""), 409, "does not match the UID in record");
    refused(b, "robot", "{\"boundObjectRef\":{\"kind\":\"Pod\",\"name\":\"absent\"}}", 404, "not found");
    refused(b, "robot", "{\"boundObjectRef\":{\"kind\":\"ConfigMap\",\"name\":\"x\"}}", 400, "want a Pod, Secret or Node");
    refused(b, "robot", "{\"boundObjectRef\":{\"kind\":\"Pod\",\"apiVersion\":\"apps/v1\",\"name\":\"p\"}}", 400, "apps/v1");
    fixture_admin(b->f, "DELETE", PODS "/p?gracePeriodSeconds=0", NULL);
    must_fail(b, token, "the Pod of the token is gone");
    assert_int_equal(fixture_admin(b->f, "POST", PODS, POD_OF("robot")), 201);
    must_fail(b, token, "the Pod of the token is gone"); /* another one of that name */
}

static void a_token_can_be_bound_to_a_secret_and_a_node(void **state)
{
    struct bench *b = *state;

    assert_int_equal(fixture_admin(b->f, "POST", SECRETS, "{\"metadata\":{\"name\":\"s\"}}"), 201);
    assert_int_equal(fixture_admin(b->f, "POST", "/api/v1/nodes", "{\"metadata\":{\"name\":\"n\"}}"), 201);
    _cleanup_free_ char *of_secret = request(b, "robot", "{\"boundObjectRef\":{\"kind\":\"Secret\",\"name\":\"s\"}}"),
                        *of_node = request(b, "robot", "{\"boundObjectRef\":{\"kind\":\"Node\",\"name\":\"n\"}}");
    assert_null(fault(b, of_secret));
    assert_null(fault(b, of_node));
    fixture_admin(b->f, "DELETE", SECRETS "/s", NULL);
    fixture_admin(b->f, "DELETE", "/api/v1/nodes/n", NULL);
    must_fail(b, of_secret, "the Secret of the token is gone");
    must_fail(b, of_node, "the Node of the token is gone");
}

/* --- Secrets with tokens --- */

#define TOKEN_SECRET(name, account) \
    "{\"metadata\":{\"name\":\"" name "\",\"annotations\":{\"kubernetes.io/service-account.name\":\"" account "\"}}," \
    "\"type\":\"kubernetes.io/service-account-token\"}"
#define CA "the authority"

static char *token_in(struct bench *b, const char *name)
{
    _cleanup_free_ char *target = xasprintf(SECRETS "/%s", name);
    _cleanup_doc_ yyjson_doc *doc = call(b, "GET", target, NULL, 200);
    const char *text = json_str_or(yyjson_doc_get_root(doc), "/data/token", "");
    char *token = NULL;

    assert_int_equal(base64_decode(text, strlen(text), &token, NULL), 0);
    return token;
}

static void secrets_are_filled(void **state)
{
    struct bench *b = *state;
    char ca[64];

    assert_int_equal(fixture_admin(b->f, "POST", SECRETS, TOKEN_SECRET("t", "robot")), 201);
    assert_int_equal(fixture_admin(b->f, "POST", SECRETS, TOKEN_SECRET("early", "later")), 201);
    assert_int_equal(fixture_admin(b->f, "POST", SECRETS, "{\"metadata\":{\"name\":\"plain\"}}"), 201);
    assert_int_equal(account_secrets_ensure(&b->f->rest, CA, "default", NULL), 0);
    _cleanup_free_ char *token = token_in(b, "t"), *again = NULL, *early = NULL, *encoded = base64_encode(CA, strlen(CA));
    assert_null(fault(b, token));
    _cleanup_doc_ yyjson_doc *doc = call(b, "GET", SECRETS "/t", NULL, 200);
    yyjson_val *secret = yyjson_doc_get_root(doc);
    assert_string_equal(json_key_str(secret, "/data", "ca.crt"), encoded);
    assert_string_equal(json_str(secret, "/data/namespace"), "ZGVmYXVsdA==");
    assert_non_null(meta_annotation(secret, "kubernetes.io/service-account.uid"));
    ahead_ms = 3650LL * 86400 * 1000;
    assert_null(fault(b, token)); /* it has no end of its own */
    ahead_ms = 0;
    /* Another authority comes, the token stays. */
    assert_int_equal(account_secrets_ensure(&b->f->rest, "two of them", "default", NULL), 0);
    again = token_in(b, "t");
    assert_string_equal(again, token);
    snprintf(ca, sizeof(ca), "%s", "dHdvIG9mIHRoZW0=");
    _cleanup_doc_ yyjson_doc *newer = call(b, "GET", SECRETS "/t", NULL, 200);
    assert_string_equal(json_key_str(yyjson_doc_get_root(newer), "/data", "ca.crt"), ca);
    /* One that names an account which comes later. */
    assert_int_equal(fixture_admin(b->f, "POST", ACCOUNTS, "{\"metadata\":{\"name\":\"later\"}}"), 201);
    assert_int_equal(account_secrets_ensure(&b->f->rest, CA, "default", NULL), 0);
    early = token_in(b, "early");
    assert_null(fault(b, early));
    yyjson_doc_free(call(b, "GET", SECRETS "/plain", NULL, 200));
}

static void a_token_without_end_ends_with_its_secret(void **state)
{
    struct bench *b = *state;

    assert_int_equal(fixture_admin(b->f, "POST", SECRETS, TOKEN_SECRET("t", "robot")), 201);
    assert_int_equal(fixture_admin(b->f, "POST", SECRETS, TOKEN_SECRET("u", "robot")), 201);
    assert_int_equal(account_secrets_ensure(&b->f->rest, CA, "default", NULL), 0);
    _cleanup_free_ char *t = token_in(b, "t"), *u = token_in(b, "u"), *other = NULL;
    assert_int_equal(fixture_admin(b->f, "PATCH", SECRETS "/t", "{\"data\":{\"token\":null}}"), 200);
    must_fail(b, t, "not in its Secret any more");
    assert_int_equal(account_secrets_ensure(&b->f->rest, CA, "default", NULL), 0);
    other = token_in(b, "t"); /* so it is renewed */
    assert_string_not_equal(other, t);
    must_fail(b, t, "not in its Secret any more");
    assert_null(fault(b, other));
    /* The account goes: its Secrets too, at the latest with the next look. */
    fixture_admin(b->f, "DELETE", ACCOUNTS "/robot", NULL);
    must_fail(b, u, "the ServiceAccount of the token is gone");
    fixture_admin(b->f, "POST", ACCOUNTS, "{\"metadata\":{\"name\":\"robot\"}}");
    assert_int_equal(account_secrets_ensure(&b->f->rest, CA, "default", NULL), 0);
    yyjson_doc_free(call(b, "GET", SECRETS "/u", NULL, 404));
}

/* Only what lies in a Secret may lack an end. */
static void other_tokens_must_end(void **state)
{
    struct bench *b = *state;
    _cleanup_doc_ yyjson_doc *account = call(b, "GET", ACCOUNTS "/robot", NULL, 200);
    _cleanup_free_ char *claims = xasprintf(
        "{\"aud\":[\"" TOKEN_AUDIENCE "\"],\"nbf\":1,\"iss\":\"" TOKEN_AUDIENCE "\",\"kubernetes.io\":{\"namespace\":\"default\","
        "\"serviceaccount\":{\"name\":\"robot\",\"uid\":\"%s\"}}}", meta_uid(yyjson_doc_get_root(account)));
    _cleanup_free_ char *token = NULL;

    assert_int_equal(jwt_sign(b->key, claims, &token, NULL), 0);
    must_fail(b, token, "the token has expired");
}

static void an_old_key_still_checks(void **state)
{
    struct bench *b = *state;
    _cleanup_free_ char *token = request(b, "robot", "{}"), *newer = NULL, *two = NULL;
    _cleanup_key_ char *next = NULL;

    assert_int_equal(pki_key_new(&next, NULL), 0);
    two = xasprintf("%s%s", next, b->key_pem);
    b->key = jwt_key_free(b->key);
    assert_int_equal(jwt_key_new(two, &b->key, NULL), 0);
    b->f->rest.token_key = b->key;
    newer = request(b, "robot", "{}");
    assert_null(fault(b, token));
    assert_null(fault(b, newer));
    b->key = jwt_key_free(b->key);
    assert_int_equal(jwt_key_new(next, &b->key, NULL), 0);
    b->f->rest.token_key = b->key;
    must_fail(b, token, "not one of this server");
    assert_null(fault(b, newer));
}

/* --- Audiences --- */

static void review(struct bench *b, const char *token, const char *audiences, bool good, const char *for_whom)
{
    _cleanup_free_ char *body = xasprintf("{\"spec\":{\"token\":\"%s\",\"audiences\":%s}}", token, audiences);
    _cleanup_doc_ yyjson_doc *doc = call(b, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", body, 201);
    yyjson_val *status = json_at(yyjson_doc_get_root(doc), "/status");
    _cleanup_blob_ struct blob *text = json_encode_val(json_at(status, "/audiences"));

    assert_int_equal(json_bool(status, "/authenticated", false), good);
    if (good)
        assert_string_equal(text->data, for_whom);
}

static void reviews_ask_for_audiences(void **state)
{
    struct bench *b = *state;
    _cleanup_free_ char *ours = request(b, "robot", "{}"), *vault = request(b, "robot", "{\"audiences\":[\"vault\",\"mail\"]}");

    review(b, ours, "[]", true, "[\"" TOKEN_AUDIENCE "\"]");
    review(b, ours, "[\"vault\"]", false, NULL);
    review(b, vault, "[]", false, NULL);
    review(b, vault, "[\"vault\",\"" TOKEN_AUDIENCE "\"]", true, "[\"vault\"]");
    review(b, vault, "[\"mail\",\"vault\"]", true, "[\"mail\",\"vault\"]");
    must_fail(b, vault, "for somebody else");
}

/* --- Bootstrap tokens --- */

#define BOOTSTRAP "/api/v1/namespaces/kube-system/secrets"
#define BOOTSTRAP_SECRET(id, more) \
    "{\"metadata\":{\"name\":\"bootstrap-token-" id "\"},\"type\":\"bootstrap.kubernetes.io/token\",\"stringData\":{" \
    "\"token-id\":\"" id "\",\"token-secret\":\"0123456789abcdef\"" more "}}"
#define USABLE ",\"usage-bootstrap-authentication\":\"true\""

static void bootstrap_tokens_lie_in_secrets(void **state)
{
    static const struct {
        const char *body, *token, *why;
    } wrong[] = {
        {BOOTSTRAP_SECRET("bbbbbb", ""), "bbbbbb.0123456789abcdef", "usage-bootstrap-authentication"},
        {BOOTSTRAP_SECRET("cccccc", USABLE ",\"expiration\":\"2020-01-01T00:00:00Z\""), "cccccc.0123456789abcdef", "expired"},
        {BOOTSTRAP_SECRET("dddddd", USABLE ",\"expiration\":\"soon\""), "dddddd.0123456789abcdef", "expired"},
        {BOOTSTRAP_SECRET("eeeeee", USABLE), "eeeeee.0123456789abcdee", "not known"},
        {"{\"metadata\":{\"name\":\"bootstrap-token-ffffff\"},\"stringData\":{\"token-id\":\"ffffff\",\"token-secret\":"
         "\"0123456789abcdef\"" USABLE "}}", "ffffff.0123456789abcdef", "not known"},
    };
    struct bench *b = *state;
    _cleanup_identity_ struct identity *who = NULL;

    assert_int_equal(fixture_admin(b->f, "POST", BOOTSTRAP,
                                   BOOTSTRAP_SECRET("aaaaaa", USABLE ",\"expiration\":\"2090-01-01T00:00:00Z\","
                                                             "\"auth-extra-groups\":\"system:bootstrappers:rack-7,system:masters\"")), 201);
    assert_int_equal(authn_token(b->authn, "aaaaaa.0123456789abcdef", NULL, &who, NULL), 0);
    assert_string_equal(who->name, "system:bootstrap:aaaaaa");
    assert_int_equal(who->n_groups, 3);
    assert_string_equal(who->groups[0], "system:bootstrappers");
    assert_string_equal(who->groups[2], "system:bootstrappers:rack-7");
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        assert_int_equal(fixture_admin(b->f, "POST", BOOTSTRAP, wrong[i].body), 201);
        must_fail(b, wrong[i].token, wrong[i].why);
    }
    fixture_admin(b->f, "DELETE", BOOTSTRAP "/bootstrap-token-aaaaaa", NULL);
    must_fail(b, "aaaaaa.0123456789abcdef", "not known");
    _cleanup_doc_ yyjson_doc *ended = call(b, "GET", BOOTSTRAP "/bootstrap-token-cccccc", NULL, 200);
    _cleanup_doc_ yyjson_doc *good = call(b, "GET", BOOTSTRAP "/bootstrap-token-eeeeee", NULL, 200);
    assert_true(bootstrap_secret_is_stale(yyjson_doc_get_root(ended), clock_wall_ms()));
    assert_false(bootstrap_secret_is_stale(yyjson_doc_get_root(good), clock_wall_ms()));
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_token_dies_with_its_pod),
        TEST(a_token_can_be_bound_to_a_secret_and_a_node),
        TEST(secrets_are_filled),
        TEST(a_token_without_end_ends_with_its_secret),
        TEST(other_tokens_must_end),
        TEST(an_old_key_still_checks),
        TEST(reviews_ask_for_audiences),
        TEST(bootstrap_tokens_lie_in_secrets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
