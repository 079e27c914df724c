/* Nobody gives what he lacks: names in rules, roles and bindings, the signers of certificates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "roles-fixture.h"

/* --- Names --- */

static void names_limit_rules(void **state)
{
    struct fixture *f = *state;
    const struct {
        const char *target;
        int status;
    } rows[] = {
        {"/api/v1/namespaces/demo/configmaps/one", 200},
        {"/api/v1/namespaces/demo/configmaps/two", 403},
        {"/api/v1/namespaces/demo/configmaps", 403},
        {"/api/v1/namespaces/demo/configmaps?fieldSelector=metadata.name%3Done", 200},
        {"/api/v1/namespaces/demo/configmaps?fieldSelector=metadata.name%3Dtwo", 403},
    };

    admin(f, "POST", "/api/v1/namespaces/demo/configmaps", "{\"metadata\":{\"name\":\"one\"}}");
    admin(f, "POST", DEMO "roles",
          "{\"metadata\":{\"name\":\"one\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"configmaps\"],"
          "\"resourceNames\":[\"one\"],\"verbs\":[\"get\",\"list\"]}]}");
    admin(f, "POST", DEMO "rolebindings",
          "{\"metadata\":{\"name\":\"one\"},\"roleRef\":{\"kind\":\"Role\",\"name\":\"one\"},\"subjects\":[{\"kind\":"
          "\"User\",\"name\":\"alice\"}]}");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        assert_int_equal(fixture_call(f, "alice", "x", "GET", rows[i].target, NULL, NULL), rows[i].status);
}

/* --- Escalation --- */

#define ROLE(name, resource, verb) \
    "{\"metadata\":{\"name\":\"" name "\"},\"rules\":[{\"apiGroups\":[\"kubevirt.io\"],\"resources\":[\"" resource \
    "\"],\"verbs\":[\"" verb "\"]}]}"
#define BINDING(name, kind, role) \
    "{\"metadata\":{\"name\":\"" name "\"},\"roleRef\":{\"kind\":\"" kind "\",\"name\":\"" role \
    "\"},\"subjects\":[{\"kind\":\"User\",\"name\":\"bob\"}]}"

static void nobody_gives_what_he_lacks(void **state)
{
    static const struct {
        const char *method, *target, *body;
        int status;
        const char *says;
    } rows[] = {
        {"POST", DEMO "roles", ROLE("vms", "virtualmachines", "get"), 201, ""},
        {"POST", DEMO "roles", ROLE("mig", "virtualmachineinstancemigrations", "create"), 403,
         "is attempting to grant RBAC permissions not currently held:\\n{APIGroups:[\\\"kubevirt.io\\\"], "
         "Resources:[\\\"virtualmachineinstancemigrations\\\"], Verbs:[\\\"create\\\"]}"},
        {"POST", DEMO "roles", ROLE("all", "*", "*"), 403, "not currently held"},
        {"PATCH", DEMO "roles/vms", "{\"rules\":[{\"apiGroups\":[\"*\"],\"resources\":[\"*\"],\"verbs\":[\"*\"]}]}", 403,
         "roles.rbac.authorization.k8s.io \\\"vms\\\" is forbidden: user \\\"ann\\\" (groups=[\\\"x\\\" "
         "\\\"system:authenticated\\\"])"},
        {"POST", DEMO "rolebindings", BINDING("b1", "Role", "vms"), 201, ""},
        {"POST", DEMO "rolebindings", BINDING("b2", "ClusterRole", "view"), 201, ""},
        {"POST", DEMO "rolebindings", BINDING("b3", "ClusterRole", "kubevirt.io:migrate"), 403, "not currently held"},
        {"POST", DEMO "rolebindings", BINDING("b4", "ClusterRole", "cluster-admin"), 403, "not currently held"},
        {"POST", DEMO "rolebindings", BINDING("b5", "ClusterRole", "absent"), 404,
         "clusterroles.rbac.authorization.k8s.io \\\"absent\\\" not found"},
        {"PATCH", DEMO "rolebindings/by-root", "{\"subjects\":[{\"kind\":\"User\",\"name\":\"ann\"}]}", 403, "not currently held"},
        {"PATCH", DEMO "rolebindings/a", "{\"metadata\":{\"labels\":{\"x\":\"y\"}}}", 200, ""}, /* she holds what it gives */
        {"DELETE", DEMO "rolebindings/by-root", NULL, 200, ""},
        {"POST", RBAC "clusterrolebindings", BINDING("b6", "ClusterRole", "view"), 403, "cannot create resource"},
        {"POST", RBAC "namespaces/other/rolebindings", BINDING("b7", "ClusterRole", "view"), 403, "cannot create resource"},
    };
    struct fixture *f = *state;

    bind_role(f, "demo", "a", "admin", "User", "ann");
    bind_role(f, "demo", "by-root", "kubevirt.io:migrate", "User", "maria");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *text = NULL;
        int status = fixture_call(f, "ann", "x", rows[i].method, rows[i].target, rows[i].body, &text);

        if (status != rows[i].status || !strstr(text, rows[i].says))
            fail_msg("row %zu: %d instead of %d: %s", i, status, rows[i].status, text);
    }
}

static void some_may_bind_and_escalate(void **state)
{
    struct fixture *f = *state;

    admin(f, "POST", CLUSTER_ROLES,
          "{\"metadata\":{\"name\":\"granter\"},\"rules\":[{\"apiGroups\":[\"rbac.authorization.k8s.io\"],\"resources\":["
          "\"rolebindings\",\"roles\",\"clusterroles\"],\"verbs\":[\"create\"]},{\"apiGroups\":[\"rbac.authorization.k8s.io\"],"
          "\"resources\":[\"clusterroles\"],\"resourceNames\":[\"kubevirt.io:migrate\"],\"verbs\":[\"bind\"]},"
          "{\"apiGroups\":[\"rbac.authorization.k8s.io\"],\"resources\":[\"roles\"],\"verbs\":[\"escalate\"]}]}");
    bind_role(f, NULL, "g", "granter", "User", "gina");
    assert_int_equal(fixture_call(f, "gina", "x", "POST", DEMO "rolebindings",
                                  BINDING("b1", "ClusterRole", "kubevirt.io:migrate"), NULL), 201);
    assert_int_equal(fixture_call(f, "gina", "x", "POST", DEMO "rolebindings",
                                  BINDING("b2", "ClusterRole", "kubevirt.io:admin"), NULL), 403);
    assert_int_equal(fixture_call(f, "gina", "x", "POST", DEMO "roles", ROLE("any", "*", "*"), NULL), 201);
    assert_int_equal(fixture_call(f, "gina", "x", "POST", CLUSTER_ROLES, ROLE("any", "*", "*"), NULL), 403);
}

static void only_masters_make_roles_that_collect(void **state)
{
    static const char role[] = "{\"metadata\":{\"name\":\"c\"},\"aggregationRule\":{\"clusterRoleSelectors\":[{\"matchLabels\":"
                               "{\"rbac.authorization.k8s.io/aggregate-to-admin\":\"true\"}}]}}";
    struct fixture *f = *state;

    admin(f, "POST", CLUSTER_ROLES,
          "{\"metadata\":{\"name\":\"writer\"},\"rules\":[{\"apiGroups\":[\"rbac.authorization.k8s.io\"],\"resources\":["
          "\"clusterroles\"],\"verbs\":[\"create\"]}]}");
    bind_role(f, NULL, "w", "writer", "User", "wanda");
    bind_role(f, NULL, "c", "cluster-admin", "User", "chief");
    assert_int_equal(fixture_call(f, "wanda", "x", "POST", CLUSTER_ROLES, role, NULL), 403);
    assert_int_equal(fixture_call(f, "chief", "x", "POST", CLUSTER_ROLES, role, NULL), 201);
}

/* --- Approving certificates --- */

#define CSRS "/apis/certificates.k8s.io/v1/certificatesigningrequests"
#define CSR(name, signer) \
    "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"request\":\"aGVsbG8=\",\"signerName\":\"" signer \
    "\",\"usages\":[\"client auth\"]}}"

static void approval_needs_the_signer_too(void **state)
{
    static const char approved[] = "{\"status\":{\"conditions\":[{\"type\":\"Approved\",\"status\":\"True\",\"reason\":"
                                   "\"R\",\"message\":\"m\"}]}}";
    static const struct {
        const char *user, *request;
        int status;
    } rows[] = {
        {"one", "person", 200}, {"one", "agent", 403}, {"all", "agent", 200},
        {"all", "foreign", 403}, {"none", "person", 403}, {"root", "foreign", 403},
    };
    struct fixture *f = *state;

    admin(f, "POST", CSRS, CSR("person", "kubernetes.io/kube-apiserver-client"));
    admin(f, "POST", CSRS, CSR("agent", "kubernetes.io/kube-apiserver-client-kubelet"));
    admin(f, "POST", CSRS, CSR("foreign", "example.com/x"));
#define APPROVER(name, signer) \
    "{\"metadata\":{\"name\":\"" name "\"},\"rules\":[{\"apiGroups\":[\"certificates.k8s.io\"],\"resources\":[\"" \
    "certificatesigningrequests/approval\"],\"verbs\":[\"update\",\"patch\"]},{\"apiGroups\":[\"certificates.k8s.io\"]," \
    "\"resources\":[\"signers\"],\"resourceNames\":[\"" signer "\"],\"verbs\":[\"approve\"]}]}"
    admin(f, "POST", CLUSTER_ROLES, APPROVER("one", "kubernetes.io/kube-apiserver-client"));
    admin(f, "POST", CLUSTER_ROLES, APPROVER("all", "kubernetes.io/*"));
    admin(f, "POST", CLUSTER_ROLES, APPROVER("none", "-"));
    bind_role(f, NULL, "one", "one", "User", "one");
    bind_role(f, NULL, "all", "all", "User", "all");
    bind_role(f, NULL, "none", "none", "User", "none");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *target = xasprintf(CSRS "/%s/approval", rows[i].request), *text = NULL;
        int status = fixture_call(f, rows[i].user, "x", "PATCH", target, approved, &text);

        if (status != rows[i].status)
            fail_msg("%s %s: %d: %s", rows[i].user, rows[i].request, status, text);
        if (streq(rows[i].user, "none"))
            assert_non_null(strstr(text, "user not permitted to approve requests with signerName"));
    }
    assert_int_equal(fixture_call(f, "root", "system:masters", "PATCH", CSRS "/foreign/approval", approved, NULL), 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(names_limit_rules),
        TEST(nobody_gives_what_he_lacks),
        TEST(some_may_bind_and_escalate),
        TEST(only_masters_make_roles_that_collect),
        TEST(approval_needs_the_signer_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
