/* Projects and users/~ over the real API, with roles as the first start makes them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/roles.h"
#include "server/openshift.h"
#include "server-fixture.h"

#define PROJECTS "/apis/project.openshift.io/v1/projects"
#define REQUESTS "/apis/project.openshift.io/v1/projectrequests"
#define RBAC "/apis/rbac.authorization.k8s.io/v1"
#define ROLE(name, rules) "{\"metadata\":{\"name\":\"" name "\"},\"rules\":[" rules "]}"
#define RULE(group, resource, verb) \
    "{\"apiGroups\":[\"" group "\"],\"resources\":[\"" resource "\"],\"verbs\":[\"" verb "\"]}"
#define BINDING(role, kind, who) \
    "{\"metadata\":{\"name\":\"" role "\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\"," \
    "\"name\":\"" role "\"},\"subjects\":[{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"" kind "\",\"name\":\"" who "\"}]}"

static const struct rest_extra *const extras[] = {access_review_extras, project_extras, user_extras, NULL};

static int setup(void **state)
{
    static const char *const rows[][2] = {
        {RBAC "/clusterroles", ROLE("view", RULE("project.openshift.io", "projects", "get"))},
        {RBAC "/clusterroles", ROLE("admin", RULE("project.openshift.io", "projects", "get\",\"delete"))},
        {RBAC "/clusterroles", ROLE("basic", RULE("project.openshift.io", "projects", "list\",\"watch") ","
                                    RULE("authorization.openshift.io", "*", "create") ","
                                    "{\"apiGroups\":[\"user.openshift.io\"],\"resources\":[\"users\"],\"resourceNames\":[\"~\"],"
                                    "\"verbs\":[\"get\"]}")},
        {RBAC "/clusterroles", ROLE("self-provisioner", RULE("project.openshift.io", "projectrequests", "create\",\"list"))},
        {RBAC "/clusterrolebindings", BINDING("basic", "Group", "system:authenticated")},
        {RBAC "/clusterrolebindings", BINDING("self-provisioner", "User", "maker")},
        {RBAC "/namespaces/default/rolebindings", BINDING("view", "User", "viewer")},
    };
    struct fixture *f = fixture_new();

    fixture_populate(f);
    f->rest.extras = extras;
    assert_int_equal(roles_new(f->rest.store, f->rest.kinds, &f->rest.roles, NULL), 0);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        assert_int_equal(fixture_admin(f, "POST", rows[i][0], rows[i][1]), 201);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    roles_free(f->rest.roles);
    fixture_free(f);
    return 0;
}

/* What user gets for it has part in it, and has not lack (may be NULL). */
static void expect(struct fixture *f, const char *user, const char *method, const char *target, const char *body,
                   int status, const char *part, const char *lack)
{
    _cleanup_free_ char *text = NULL;
    int got = fixture_call(f, user, "people", method, target, body, &text);

    if (got != status || !strstr(text, part) || (lack && strstr(text, lack)))
        fail_msg("%s %s %s: %d %s", user, method, target, got, text);
}

static void projects_are_namespaces_one_may_get(void **state)
{
    struct fixture *f = *state;

    expect(f, "viewer", "GET", PROJECTS, NULL, 200, "\"name\":\"default\"", "kube-node-lease");
    expect(f, "viewer", "GET", PROJECTS, NULL, 200, "\"kind\":\"ProjectList\"", "\"kind\":\"Namespace\"");
    expect(f, "nobody", "GET", PROJECTS, NULL, 200, "\"items\":[]", NULL);
    expect(f, "viewer", "GET", PROJECTS "?fieldSelector=metadata.name%3Dother", NULL, 200, "\"items\":[]", NULL);
    expect(f, "viewer", "GET", PROJECTS "/default", NULL, 200, "\"kind\":\"Project\"", NULL);
    expect(f, "viewer", "GET", PROJECTS "/kube-node-lease", NULL, 403, "Forbidden", NULL);
    expect(f, "viewer", "DELETE", PROJECTS "/default", NULL, 403, "Forbidden", NULL);
    expect(f, "viewer", "POST", PROJECTS, "{}", 403, "Forbidden", NULL);
}

static void requests_make_administrators(void **state)
{
    static const char request[] = "{\"metadata\":{\"name\":\"mine\"},\"displayName\":\"My own\"}",
                      reserved[] = "{\"metadata\":{\"name\":\"kube-mine\"}}";
    struct fixture *f = *state;

    expect(f, "viewer", "POST", REQUESTS, request, 403, "Forbidden", NULL);
    expect(f, "maker", "GET", REQUESTS, NULL, 200, "Success", NULL);
    expect(f, "maker", "POST", REQUESTS, reserved, 403, "the system's", NULL);
    expect(f, "maker", "POST", REQUESTS "?dryRun=All", request, 400, "dry run", NULL);
    expect(f, "maker", "POST", REQUESTS, "{}", 400, "metadata.name", NULL);
    expect(f, "maker", "POST", REQUESTS, request, 201, "\"openshift.io/requester\":\"maker\"", NULL);
    expect(f, "maker", "POST", REQUESTS, request, 409, "project.project.openshift.io \\\"mine\\\" already exists", NULL);
    expect(f, "maker", "GET", PROJECTS, NULL, 200, "\"openshift.io/display-name\":\"My own\"", "kube-node-lease");
    expect(f, "viewer", "DELETE", PROJECTS "/mine", NULL, 403, "Forbidden", NULL);
    expect(f, "maker", "PATCH", PROJECTS "/mine", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", 403, "Forbidden", NULL);
    expect(f, "maker", "DELETE", PROJECTS "/mine", NULL, 200, "Success", NULL);
}

/* The role that shows a project may go before the project does. */
static void a_watch_tells_of_what_one_saw(struct fixture *f, const char *user, const char *expected)
{
    const char *const groups[] = {"system:authenticated"};
    const struct api_request q = {.method = "GET",
                                  .target = PROJECTS "?watch=1",
                                  .user = {.name = user, .groups = groups, .n_groups = 1}};
    _cleanup_response_ struct api_response response = {0};
    struct api_parts parts = {0};
    _cleanup_str_ struct str seen = {0};
    _cleanup_blob_ struct blob *text = NULL;

    rest_handle(&f->rest, &q, &response);
    assert_non_null(response.watch);
    while (watcher_next(response.watch, &parts) > 0)
        ;
    assert_int_equal(fixture_admin(f, "PATCH", "/api/v1/namespaces/default", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}"), 200);
    assert_int_equal(fixture_admin(f, "DELETE", RBAC "/namespaces/default/rolebindings/view", NULL), 200);
    assert_int_equal(fixture_admin(f, "PATCH", "/api/v1/namespaces/default", "{\"metadata\":{\"labels\":{\"a\":\"c\"}}}"), 200);
    (void)watch_hub_dispatch(f->rest.hub, fixture_now(NULL));
    while (watcher_next(response.watch, &parts) > 0)
        ;
    text = api_parts_join(&parts);
    api_parts_clear(&parts);
    for (const char *p = text->data; (p = strstr(p, "{\"type\":\"")) && p < text->data + text->len; p += 9)
        str_add(&seen, p + 9, 1);
    assert_string_equal(str_text(&seen), expected);
    assert_int_equal(fixture_admin(f, "POST", RBAC "/namespaces/default/rolebindings", BINDING("view", "User", "viewer")), 201);
}

static void watches_show_what_one_may_get(void **state)
{
    a_watch_tells_of_what_one_saw(*state, "viewer", "AD"); /* the change in between came before the hub looked */
    a_watch_tells_of_what_one_saw(*state, "nobody", "");
}

static void oc_asks_who_may(void **state)
{
#define REVIEW(fields) "{\"verb\":\"get\",\"resourceAPIGroup\":\"project.openshift.io\",\"resource\":\"projects\"" fields "}"
    static const char in_default[] = "/apis/authorization.openshift.io/v1/namespaces/default/localsubjectaccessreviews",
                      who[] = "/apis/authorization.openshift.io/v1/namespaces/default/localresourceaccessreviews",
                      anywhere[] = "/apis/authorization.openshift.io/v1/subjectaccessreviews";
    struct fixture *f = *state;

    expect(f, "viewer", "POST", in_default, REVIEW(",\"groups\":null"), 201, "\"allowed\":true", NULL);
    expect(f, "viewer", "POST", anywhere, REVIEW(""), 201, "\"allowed\":false", NULL);
    expect(f, "nobody", "POST", in_default, REVIEW(""), 201, "\"allowed\":false", NULL);
    expect(f, "nobody", "POST", in_default, REVIEW(",\"user\":\"viewer\""), 403, "Forbidden", NULL);
    expect(f, "system:godwit:server", "POST", in_default, REVIEW(",\"user\":\"viewer\""), 403, "Forbidden", NULL);
    expect(f, "nobody", "POST", who, REVIEW(""), 201, "\"users\":[\"viewer\"],\"groups\":[\"system:masters\"]", NULL);
}

static void everybody_learns_who_he_is(void **state)
{
    struct fixture *f = *state;

    expect(f, "viewer", "GET", "/apis/user.openshift.io/v1/users/~", NULL, 200, "{\"name\":\"viewer\"}", NULL);
    expect(f, "viewer", "GET", "/apis/user.openshift.io/v1/users/~", NULL, 200, "\"system:authenticated\"", NULL);
    expect(f, "viewer", "GET", "/apis/user.openshift.io/v1/users/maker", NULL, 403, "Forbidden", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(projects_are_namespaces_one_may_get, setup, teardown),
        cmocka_unit_test_setup_teardown(requests_make_administrators, setup, teardown),
        cmocka_unit_test_setup_teardown(watches_show_what_one_may_get, setup, teardown),
        cmocka_unit_test_setup_teardown(oc_asks_who_may, setup, teardown),
        cmocka_unit_test_setup_teardown(everybody_learns_who_he_is, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
