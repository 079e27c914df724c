/* Questions about rights, and about who one is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "roles-fixture.h"

#define AUTHORIZATION "/apis/authorization.k8s.io/v1/"
#define AUTHENTICATION "/apis/authentication.k8s.io/v1/"
#define MIGRATE_IN_DEMO \
    "\"resourceAttributes\":{\"namespace\":\"demo\",\"verb\":\"create\",\"group\":\"kubevirt.io\",\"resource\":" \
    "\"virtualmachineinstancemigrations\"}"

static void expect_answer(struct fixture *f, const char *user, const char *target, const char *body, int status,
                          const char *part)
{
    _cleanup_free_ char *text = NULL;
    int got = fixture_call(f, user, "x", "POST", target, body, &text);

    if (got != status || !strstr(text, part))
        fail_msg("%s %s: %d instead of %d, without %s: %s", user, target, got, status, part, text);
}

static void reviews_answer(void **state)
{
    struct fixture *f = *state;
    const char *ask = "{\"spec\":{" MIGRATE_IN_DEMO "}}", *about = "{\"spec\":{\"user\":\"maria\"," MIGRATE_IN_DEMO "}}";

    bind_role(f, "demo", "kvmigrate", "kubevirt.io:migrate", "User", "maria");
    bind_role(f, "demo", "a", "admin", "User", "ann");
    bind_role(f, NULL, "d", "system:auth-delegator", "User", "delegate");
    expect_answer(f, "maria", AUTHORIZATION "selfsubjectaccessreviews", ask, 201,
                  "\"status\":{\"allowed\":true,\"reason\":\"RBAC: allowed by RoleBinding \\\"kvmigrate/demo\\\" of "
                  "ClusterRole \\\"kubevirt.io:migrate\\\" to User \\\"maria\\\"\"}");
    expect_answer(f, "mario", AUTHORIZATION "selfsubjectaccessreviews", ask, 201, "\"status\":{\"allowed\":false}");
    expect_answer(f, "maria", AUTHORIZATION "selfsubjectaccessreviews",
                  "{\"spec\":{\"nonResourceAttributes\":{\"path\":\"/apis\",\"verb\":\"get\"}}}", 201, "\"allowed\":true");
    expect_answer(f, "maria", AUTHORIZATION "selfsubjectaccessreviews", "{\"spec\":{}}", 422, "exactly one of");
    expect_answer(f, "maria", AUTHORIZATION "subjectaccessreviews", about, 403, "cannot create resource");
    expect_answer(f, "delegate", AUTHORIZATION "subjectaccessreviews", about, 201, "\"allowed\":true");
    expect_answer(f, "delegate", AUTHORIZATION "subjectaccessreviews", ask, 422, "at least one of user or group");
    expect_answer(f, "ann", AUTHORIZATION "namespaces/demo/localsubjectaccessreviews", about, 201, "\"allowed\":true");
    expect_answer(f, "ann", AUTHORIZATION "namespaces/other/localsubjectaccessreviews", about, 403, "cannot create");
    expect_answer(f, "maria", AUTHORIZATION "selfsubjectrulesreviews", "{\"spec\":{\"namespace\":\"demo\"}}", 201,
                  "\"virtualmachines/migrate\"");
    expect_answer(f, "mario", AUTHORIZATION "selfsubjectrulesreviews", "{\"spec\":{\"namespace\":\"demo\"}}", 201,
                  "\"incomplete\":false");
    expect_answer(f, "maria", AUTHENTICATION "selfsubjectreviews", "{}", 201,
                  "{\"username\":\"maria\",\"groups\":[\"x\",\"system:authenticated\"]}");
    assert_int_equal(fixture_call(f, "system:node:n1", "system:nodes", "POST", AUTHENTICATION "selfsubjectreviews", "{}", NULL), 201);
    assert_int_equal(fixture_call(f, "system:node:n1", "system:nodes", "POST", AUTHORIZATION "selfsubjectaccessreviews", ask, NULL),
                     201);
    assert_int_equal(fixture_call(f, "system:node:n1", "system:nodes", "POST", AUTHORIZATION "subjectaccessreviews", about, NULL),
                     403);
    assert_int_equal(fixture_call(f, "root", "system:masters", "GET", AUTHORIZATION "subjectaccessreviews", NULL, NULL), 405);
    assert_int_equal(fixture_call(f, "root", "system:masters", "POST", AUTHENTICATION "namespaces/demo/tokenrequests",
                                  "{}", NULL), 404);
}

/* As kubectl sends it: can-i create virtualmachineinstancemigrations.kubevirt.io in demo. */
static void reviews_come_as_protobuf(void **state)
{
    static const char spec[] = "\x0a\x3c" "\x0a\x04" "demo" "\x12\x06" "create" "\x1a\x0b" "kubevirt.io"
                               "\x2a\x20" "virtualmachineinstancemigrations" "x";
    static const char *const groups[] = {AUTHENTICATED};
    struct fixture *f = *state;
    _cleanup_str_ struct str body = {0};
    _cleanup_response_ struct api_response response = {0};
    struct api_request q = {.method = "POST", .target = AUTHORIZATION "selfsubjectaccessreviews",
                            .content_type = "application/vnd.kubernetes.protobuf",
                            .user = {.name = "maria", .groups = groups, .n_groups = 1}};
    size_t len = sizeof(spec) - 2; /* without the x */

    bind_role(f, "demo", "kvmigrate", "kubevirt.io:migrate", "User", "maria");
    str_add(&body, "k8s\0\x0a\x31\x0a\x17" "authorization.k8s.io/v1" "\x12\x17" "SelfSubjectAccessReview", 4 + 2 + 2 + 23 + 2 + 23);
    body.data[5] = 2 + 23 + 2 + 23;
    str_putc(&body, '\x12');
    str_putc(&body, (char)(len + 2));
    str_putc(&body, '\x12');
    str_putc(&body, (char)len);
    str_add(&body, spec, len);
    body.data[body.len - len + 1] = (char)(len - 2);
    q.body = body.data;
    q.body_len = body.len;
    rest_handle(&f->rest, &q, &response);
    _cleanup_blob_ struct blob *text = api_parts_join(&response.body);
    if (response.status != 201 || !strstr(text->data, "\"allowed\":true"))
        fail_msg("%d %s", response.status, text->data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reviews_answer),
        TEST(reviews_come_as_protobuf),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
