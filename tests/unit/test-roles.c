/* Access by roles, from the outside of the REST core: the roles of the first start and what they give, how they flow
 * together, escalation, impersonation, reviews and tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/account_token.h"
#include "apiserver/authn.h"
#include "apiserver/impersonation.h"
#include "apiserver/reviews.h"
#include "apiserver/roles.h"
#include "base/fs.h"
#include "pki/jwt.h"
#include "pki/pki.h"
#include "server-fixture.h"
#include "server/approval.h"
#include "server/default_roles.h"
#include "server/objects.h"

#define RBAC "/apis/rbac.authorization.k8s.io/v1/"
#define CLUSTER_ROLES RBAC "clusterroles"
#define DEMO RBAC "namespaces/demo/"
#define MIGRATIONS "/apis/kubevirt.io/v1/namespaces/demo/virtualmachineinstancemigrations"
#define AUTHENTICATED "system:authenticated"

static const struct rest_extra *const extras[] = {account_token_extras, approval_extras, review_extras, NULL};
static struct jwt_key *token_key;
static int64_t ahead_ms; /* of the wall clock */

static int64_t test_now(void *data)
{
    return clock_wall_ms() + ahead_ms;
}

static int admin(struct fixture *f, const char *method, const char *target, const char *body)
{
    _cleanup_free_ char *text = NULL;
    int status = fixture_call(f, "root", "system:masters", method, target, body, &text);

    if (status >= 300)
        fail_msg("%s %s: %d: %s", method, target, status, text);
    return status;
}

static void aggregate(struct fixture *f)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (roles_aggregate(&f->rest, &err) < 0)
        fail_msg("%s", gw_error_message(&err));
}

static int set_up(void **state)
{
    struct fixture *f = fixture_new();
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_key_ char *pem = NULL;

    ahead_ms = 0;
    f->rest.now = test_now;
    f->rest.extras = extras;
    if (pki_key_new(&pem, &err) < 0 || jwt_key_new(pem, &token_key, &err) < 0 ||
        roles_new(f->rest.store, f->rest.kinds, &f->rest.roles, &err) < 0 || objects_make_initial(&f->rest, &err) < 0) {
        print_error("%s\n", gw_error_message(&err));
        return -1;
    }
    f->rest.token_key = token_key;
    aggregate(f);
    admin(f, "POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"demo\"}}");
    admin(f, "POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"other\"}}");
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    roles_free(f->rest.roles);
    jwt_key_free(token_key);
    fixture_free(f);
    return 0;
}

static void bind_role(struct fixture *f, const char *namespace, const char *name, const char *role, const char *kind,
                 const char *subject)
{
    _cleanup_free_ char *target = namespace ? xasprintf(RBAC "namespaces/%s/rolebindings", namespace)
                                            : xstrdup(RBAC "clusterrolebindings");
    _cleanup_free_ char *body = xasprintf(
        "{\"metadata\":{\"name\":\"%s\"},\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":\"%s\"},"
        "\"subjects\":[{\"kind\":\"%s\",\"name\":\"%s\"}]}",
        name, role, kind, subject);

    admin(f, "POST", target, body);
}

/* Whether the user (in system:authenticated) may, as the authorizer says before anything is read. */
static bool may(struct fixture *f, const char *user, const char *namespace, const char *verb, const char *group,
                const char *path)
{
    static const char *const groups[] = {AUTHENTICATED};
    const struct api_user who = {.name = user, .groups = groups, .n_groups = 1};
    const char *slash = strchr(path, '/');
    _cleanup_free_ char *resource = xstrndup(path, strcspn(path, "/"));
    const struct rest_target t = {.verb = verb,
                                  .group = group,
                                  .resource = resource,
                                  .subresource = slash ? slash + 1 : NULL,
                                  .namespace = namespace,
                                  .name = "x"};

    return authz_check(&f->rest, &who, &t, NULL, NULL, NULL) == 0;
}

/* --- The roles of KubeVirt --- */

#define SUB "subresources.kubevirt.io"
#define KV "kubevirt.io"

static const struct {
    char letter;
    const char *verb;
} verbs[] = {{'g', "get"},    {'l', "list"},  {'w', "watch"},  {'c', "create"},
             {'u', "update"}, {'p', "patch"}, {'d', "delete"}, {'D', "deletecollection"}};

/* One row of data/kubevirt-rights.txt: the verbs that each role gives, in letters. */
enum { ADMIN, EDIT, VIEW, MIGRATE, EVERYBODY, N_ROLES };

struct right {
    char group[64], resource[64], letters[N_ROLES][16];
};
VEC_DEFINE(right_vec, struct right);

static struct right_vec read_rights(void)
{
    struct right_vec rights = {0};
    _cleanup_free_ char *text = NULL;

    assert_int_equal(fs_read(SOURCE_DIR "/tests/unit/data/kubevirt-rights.txt", 0, &text, NULL, NULL), 0);
    for (char *rest = text, *line; (line = strsep(&rest, "\n"));) {
        struct right r;

        if (!*line || *line == '#')
            continue;
        assert_int_equal(sscanf(line, "%63s %63s %15s %15s %15s %15s %15s", r.group, r.resource, r.letters[ADMIN],
                                r.letters[EDIT], r.letters[VIEW], r.letters[MIGRATE], r.letters[EVERYBODY]), 7);
        if (streq(r.group, "core"))
            *r.group = '\0';
        right_vec_push(&rights, r);
    }
    return rights;
}

static void expect_verbs(struct fixture *f, const char *user, const struct right *right, const char *letters)
{
    for (size_t v = 0; v < ARRAY_SIZE(verbs); v++) {
        bool wanted = strchr(letters, verbs[v].letter) != NULL;

        if (may(f, user, "demo", verbs[v].verb, right->group, right->resource) != wanted)
            fail_msg("%s should %sbe allowed to %s %s.%s", user, wanted ? "" : "not ", verbs[v].verb, right->resource,
                     right->group);
    }
}

static void kubevirt_roles_give_what_they_should(void **state)
{
    struct fixture *f = *state;
    struct right_vec rights = read_rights();

    bind_role(f, "demo", "a", "kubevirt.io:admin", "User", "kv-admin");
    bind_role(f, "demo", "e", "kubevirt.io:edit", "User", "kv-edit");
    bind_role(f, "demo", "v", "kubevirt.io:view", "User", "kv-view");
    bind_role(f, "demo", "m", "kubevirt.io:migrate", "User", "kv-migrate");
    bind_role(f, "demo", "na", "admin", "User", "ns-admin");
    bind_role(f, "demo", "ne", "edit", "User", "ns-edit");
    bind_role(f, "demo", "nv", "view", "User", "ns-view");
    bind_role(f, NULL, "root", "cluster-admin", "User", "chief");
    VEC_EACH (&rights, r) {
        expect_verbs(f, "kv-admin", r, r->letters[ADMIN]);
        expect_verbs(f, "kv-edit", r, r->letters[EDIT]);
        expect_verbs(f, "kv-view", r, r->letters[VIEW]);
        expect_verbs(f, "kv-migrate", r, r->letters[MIGRATE]);
        expect_verbs(f, "nobody-special", r, r->letters[EVERYBODY]);
        expect_verbs(f, "chief", r, "glwcupdD");
        expect_verbs(f, "ns-admin", r, r->letters[ADMIN]); /* they collect these */
        expect_verbs(f, "ns-edit", r, r->letters[EDIT]);
        expect_verbs(f, "ns-view", r, r->letters[VIEW]);
    }
    assert_true(rights.len > 50);
    right_vec_done(&rights);
    assert_false(may(f, "ns-admin", "other", "get", KV, "virtualmachines"));
    assert_false(may(f, "ns-admin", NULL, "list", KV, "virtualmachines"));
}

static void namespace_roles_cover_the_core_kinds(void **state)
{
    static const struct {
        const char *verb, *group, *resource;
        bool admin, edit, view;
    } rows[] = {
        {"create", "", "pods", true, true, false},
        {"create", "", "pods/eviction", true, true, false},
        {"get", "", "pods/log", true, true, true},
        {"update", "", "pods/status", false, false, false},
        {"get", "", "secrets", true, true, false},
        {"update", "", "secrets", true, true, false},
        {"get", "", "configmaps", true, true, true},
        {"delete", "", "persistentvolumeclaims", true, true, false},
        {"create", "", "serviceaccounts/token", true, true, false},
        {"impersonate", "", "serviceaccounts", true, true, false},
        {"create", "rbac.authorization.k8s.io", "rolebindings", true, false, false},
        {"get", "rbac.authorization.k8s.io", "roles", true, false, false},
        {"get", "rbac.authorization.k8s.io", "clusterroles", false, false, false},
        {"create", "authorization.k8s.io", "localsubjectaccessreviews", true, false, false},
        {"get", "k8s.cni.cncf.io", "network-attachment-definitions", true, true, true},
        {"list", "hco.kubevirt.io", "hyperconvergeds", true, true, true},
        {"update", "hco.kubevirt.io", "hyperconvergeds", false, false, false},
        {"impersonate", "", "users", false, false, false},
    };
    struct fixture *f = *state;

    bind_role(f, "demo", "a", "admin", "User", "ann");
    bind_role(f, "demo", "e", "edit", "User", "ed");
    bind_role(f, "demo", "v", "view", "User", "vic");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (may(f, "ann", "demo", rows[i].verb, rows[i].group, rows[i].resource) != rows[i].admin ||
            may(f, "ed", "demo", rows[i].verb, rows[i].group, rows[i].resource) != rows[i].edit ||
            may(f, "vic", "demo", rows[i].verb, rows[i].group, rows[i].resource) != rows[i].view)
            fail_msg("%s %s: not as wanted", rows[i].verb, rows[i].resource);
    assert_int_equal(fixture_call(f, "vic", "x", "GET", "/api/v1/namespaces/demo", NULL, NULL), 200);
    assert_int_equal(fixture_call(f, "vic", "x", "GET", "/api/v1/namespaces/other", NULL, NULL), 403);
    assert_int_equal(fixture_call(f, "vic", "x", "GET", "/api/v1/namespaces", NULL, NULL), 403);
}

/* --- Who may migrate --- */

static bool may_migrate(struct fixture *f, const char *user)
{
    return may(f, user, "demo", "create", KV, "virtualmachineinstancemigrations") &&
           may(f, user, "demo", "update", SUB, "virtualmachines/migrate");
}

static void label(struct fixture *f, const char *role, const char *value)
{
    _cleanup_free_ char *target = xasprintf(CLUSTER_ROLES "/%s", role);
    _cleanup_free_ char *body =
        xasprintf("{\"metadata\":{\"labels\":{\"rbac.authorization.k8s.io/aggregate-to-admin\":%s}}}", value);

    admin(f, "PATCH", target, body);
    aggregate(f);
}

static void a_label_lets_namespace_admins_migrate(void **state)
{
    struct fixture *f = *state;

    bind_role(f, "demo", "a", "admin", "User", "ann");
    bind_role(f, "demo", "e", "edit", "User", "ed");
    assert_false(may_migrate(f, "ann"));
    label(f, "kubevirt.io:migrate", "\"true\"");
    assert_true(may_migrate(f, "ann"));
    assert_false(may_migrate(f, "ed"));
    assert_false(may(f, "ann", "other", "create", KV, "virtualmachineinstancemigrations"));
    assert_int_equal(objects_make_initial(&f->rest, NULL), 0); /* a restart keeps the administrator's label */
    aggregate(f);
    assert_true(may_migrate(f, "ann"));
    label(f, "kubevirt.io:migrate", "null");
    assert_false(may_migrate(f, "ann"));
}

static void a_temporary_role_keeps_the_old_behaviour(void **state)
{
    static const char role[] =
        "{\"metadata\":{\"name\":\"kubevirt.io:upgrademigrate\",\"labels\":{\"rbac.authorization.k8s.io/"
        "aggregate-to-admin\":\"true\"}},\"rules\":["
        "{\"apiGroups\":[\"subresources.kubevirt.io\"],\"resources\":[\"virtualmachines/migrate\"],\"verbs\":[\"update\"]},"
        "{\"apiGroups\":[\"kubevirt.io\"],\"resources\":[\"virtualmachineinstancemigrations\"],\"verbs\":[\"get\","
        "\"delete\",\"create\",\"update\",\"patch\",\"list\",\"watch\",\"deletecollection\"]}]}";
    struct fixture *f = *state;

    bind_role(f, "demo", "a", "admin", "User", "ann");
    admin(f, "POST", CLUSTER_ROLES, role);
    aggregate(f);
    assert_true(may_migrate(f, "ann"));
    admin(f, "DELETE", CLUSTER_ROLES "/kubevirt.io:upgrademigrate", NULL);
    aggregate(f);
    assert_false(may_migrate(f, "ann"));
}

static void bindings_let_users_and_groups_migrate(void **state)
{
    struct fixture *f = *state;

    assert_false(may_migrate(f, "maria"));
    bind_role(f, "demo", "kvmigrate", "kubevirt.io:migrate", "User", "maria");
    assert_true(may_migrate(f, "maria"));
    assert_false(may_migrate(f, "mario"));
    admin(f, "DELETE", DEMO "rolebindings/kvmigrate", NULL);
    assert_false(may_migrate(f, "maria"));
    bind_role(f, NULL, "kvmigrate", "kubevirt.io:migrate", "Group", AUTHENTICATED);
    assert_true(may_migrate(f, "mario"));
    assert_true(may(f, "mario", "other", "create", KV, "virtualmachineinstancemigrations"));
}

/* Who may change a VMI must not thereby move it, nor take another one's address. */
static void editors_do_not_write_what_the_cluster_writes(void **state)
{
    static const char vmi[] = "{\"metadata\":{\"name\":\"vm1\"},\"spec\":{\"domain\":{\"resources\":{\"requests\":{"
                              "\"memory\":\"128Mi\"}},\"devices\":{}}}}";
    static const struct {
        const char *user, *group, *patch;
        int status;
        const char *node; /* status.evacuationNodeName behind it */
    } rows[] = {
        {"ed", "x", "{\"status\":{\"evacuationNodeName\":\"n1\"}}", 200, ""},
        {"system:godwit:controllers", GROUP_CONTROLLERS, "{\"status\":{\"evacuationNodeName\":\"n2\"}}", 200, "n2"},
        {"ed", "x", "{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"status\":null}", 200, "n2"},
        {"ed", "x", "{\"metadata\":{\"labels\":{\"kubevirt.io/nodeName\":\"n1\"}}}", 422, "n2"},
        {"ed", "x", "{\"metadata\":{\"annotations\":{\"godwit.io/pod-address\":\"10.244.0.9\"}}}", 422, "n2"},
        {"root", "system:masters", "{\"status\":{\"evacuationNodeName\":\"n3\"}}", 200, "n3"},
    };
    const char *instances = "/apis/kubevirt.io/v1/namespaces/demo/virtualmachineinstances",
               *instance = "/apis/kubevirt.io/v1/namespaces/demo/virtualmachineinstances/vm1";
    struct fixture *f = *state;

    bind_role(f, "demo", "e", "edit", "User", "ed");
    assert_int_equal(fixture_call(f, "ed", "x", "POST", instances, vmi, NULL), 201);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *text = NULL, *now = NULL;
        _cleanup_doc_ yyjson_doc *doc = NULL;

        if (fixture_call(f, rows[i].user, rows[i].group, "PATCH", instance, rows[i].patch, &text) != rows[i].status)
            fail_msg("row %zu: %s", i, text);
        assert_int_equal(fixture_call(f, "ed", "x", "GET", instance, NULL, &now), 200);
        assert_int_equal(json_parse(now, strlen(now), &doc, NULL), 0);
        assert_string_equal(json_str_or(yyjson_doc_get_root(doc), "/status/evacuationNodeName", ""), rows[i].node);
    }
}

/* --- Paths --- */

static void paths_are_open_as_roles_say(void **state)
{
    static const struct {
        const char *group, *path;
        bool allowed;
    } rows[] = {
        {"system:unauthenticated", "/version", true},  {"system:unauthenticated", "/livez", true},
        {"system:unauthenticated", "/apis", false},    {"system:unauthenticated", "/openapi/v3", false},
        {AUTHENTICATED, "/apis/kubevirt.io/v1", true}, {AUTHENTICATED, "/openapi/v3", true},
        {AUTHENTICATED, "/version", true},             {AUTHENTICATED, "/metrics", false},
        {"system:masters", "/metrics", true},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct api_user who = {.name = "x", .groups = &rows[i].group, .n_groups = 1};
        const struct rest_target t = {.verb = "get", .group = "", .path = rows[i].path};

        if ((authz_check(&f->rest, &who, &t, NULL, NULL, NULL) == 0) != rows[i].allowed)
            fail_msg("%s %s", rows[i].group, rows[i].path);
    }
}

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

/* --- Defaults that are completed --- */

static void restarts_complete_the_default_roles(void **state)
{
    static const char *const damaged[] = {"kubevirt.io:migrate", "kubevirt.io:view"};
    struct fixture *f = *state;

    bind_role(f, "demo", "m", "kubevirt.io:migrate", "User", "maria");
    bind_role(f, "demo", "v", "kubevirt.io:view", "User", "vic");
    for (size_t i = 0; i < ARRAY_SIZE(damaged); i++) {
        _cleanup_free_ char *target = xasprintf(CLUSTER_ROLES "/%s", damaged[i]);

        admin(f, "PATCH", target,
              "{\"rules\":[{\"apiGroups\":[\"x.io\"],\"resources\":[\"extras\"],\"verbs\":[\"get\"]}]}");
    }
    admin(f, "PATCH", CLUSTER_ROLES "/kubevirt.io:view",
          "{\"metadata\":{\"annotations\":{\"rbac.authorization.kubernetes.io/autoupdate\":\"false\"}}}");
    assert_false(may_migrate(f, "maria"));
    assert_int_equal(objects_make_initial(&f->rest, NULL), 0);
    assert_true(may_migrate(f, "maria"));
    assert_true(may(f, "maria", "demo", "get", "x.io", "extras")); /* what was added stays */
    assert_false(may(f, "vic", "demo", "get", KV, "virtualmachines"));
}

/* --- Impersonation --- */

static int impersonate(struct fixture *f, const char *user, const char *group, const char *const *headers,
                       struct identity **ret)
{
    const char *const groups[] = {group, AUTHENTICATED};
    const struct api_user who = {.name = user, .groups = groups, .n_groups = 2};
    struct api_headers list = {0};
    struct api_subject about = {0};
    int r;

    for (; *headers; headers += 2)
        api_headers_push(&list, (struct api_header){(char *)headers[0], (char *)headers[1]});
    r = impersonation_apply(&f->rest, &who, &list, ret, &about, NULL);
    assert_true(r == 0 || !about.resource || about.name);
    api_headers_done(&list);
    return r;
}

#define AS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void masters_impersonate_anybody(void **state)
{
    struct fixture *f = *state;
    struct identity *who = NULL;

    assert_int_equal(impersonate(f, "root", "system:masters", (const char *const[]){NULL}, &who), 0);
    assert_null(who);
    assert_int_equal(impersonate(f, "root", "system:masters",
                                 AS("impersonate-user", "alice", "Impersonate-Group", "dev", "Impersonate-Group", "ops",
                                    "Impersonate-Uid", "u1", "Impersonate-Extra-Scopes", "a",
                                    "Impersonate-Extra-example.com%2Fx", "b"), &who), 0);
    assert_string_equal(who->name, "alice");
    assert_string_equal(who->uid, "u1");
    assert_int_equal(who->n_groups, 3);
    assert_string_equal(who->groups[0], "dev");
    assert_string_equal(who->groups[1], "ops");
    assert_string_equal(who->groups[2], AUTHENTICATED);
    assert_int_equal(who->extra.len, 2);
    assert_string_equal(who->extra.items[0].key, "scopes");
    assert_string_equal(who->extra.items[1].key, "example.com/x");
    who = identity_free(who);
    assert_int_equal(impersonate(f, "root", "system:masters", AS("Impersonate-User", "system:serviceaccount:demo:robot"),
                                 &who), 0);
    assert_string_equal(who->groups[0], "system:serviceaccounts");
    assert_string_equal(who->groups[1], "system:serviceaccounts:demo");
    who = identity_free(who);
    assert_int_equal(impersonate(f, "root", "system:masters", AS("Impersonate-User", "system:anonymous"), &who), 0);
    assert_string_equal(who->groups[0], "system:unauthenticated");
    who = identity_free(who);
    assert_true(impersonate(f, "root", "system:masters", AS("Impersonate-Group", "dev"), &who) < 0);
}

static void others_impersonate_as_roles_say(void **state)
{
    struct fixture *f = *state;
    struct identity *who = NULL;

    admin(f, "POST", CLUSTER_ROLES,
          "{\"metadata\":{\"name\":\"help\"},\"rules\":[{\"apiGroups\":[\"\"],\"resources\":[\"users\"],\"resourceNames\":["
          "\"alice\"],\"verbs\":[\"impersonate\"]},{\"apiGroups\":[\"\"],\"resources\":[\"groups\"],\"resourceNames\":["
          "\"dev\"],\"verbs\":[\"impersonate\"]}]}");
    bind_role(f, NULL, "h", "help", "User", "hugo");
    bind_role(f, "demo", "e", "edit", "User", "ed");
    assert_true(impersonate(f, "nobody", "x", AS("Impersonate-User", "alice"), &who) < 0);
    assert_int_equal(impersonate(f, "hugo", "x", AS("Impersonate-User", "alice", "Impersonate-Group", "dev"), &who), 0);
    who = identity_free(who);
    assert_true(impersonate(f, "hugo", "x", AS("Impersonate-User", "bob"), &who) < 0);
    assert_true(impersonate(f, "hugo", "x", AS("Impersonate-User", "alice", "Impersonate-Group", "system:masters"), &who) < 0);
    assert_true(impersonate(f, "hugo", "x", AS("Impersonate-User", "alice", "Impersonate-Uid", "1"), &who) < 0);
    assert_true(impersonate(f, "hugo", "x", AS("Impersonate-User", "alice", "Impersonate-Extra-a", "1"), &who) < 0);
    assert_null(who);
    assert_int_equal(impersonate(f, "ed", "x", AS("Impersonate-User", "system:serviceaccount:demo:robot"), &who), 0);
    who = identity_free(who);
    assert_true(impersonate(f, "ed", "x", AS("Impersonate-User", "system:serviceaccount:other:robot"), &who) < 0);
}

/* --- Reviews --- */

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

/* --- Tokens of service accounts --- */

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

/* --- Time --- */

static void decisions_take_microseconds(void **state)
{
    enum { ROUNDS = 20000, BINDINGS = 300 };
    struct fixture *f = *state;

    for (int i = 0; i < BINDINGS; i++) {
        _cleanup_free_ char *name = xasprintf("b%d", i), *user = xasprintf("user%d", i);

        bind_role(f, "demo", name, "admin", "User", user);
    }
    assert_true(may(f, "user7", "demo", "create", KV, "virtualmachines"));
    int64_t start = clock_wall_us();
    for (int i = 0; i < ROUNDS; i++)
        (void)may(f, "user7", "demo", "create", KV, "virtualmachineinstancemigrations"); /* refused: all rules are read */
    double us = (double)(clock_wall_us() - start) / ROUNDS;
    print_message("%.1f us for one refusal by all rules of admin, among %d bindings\n", us, BINDINGS);
    assert_true(us < 200); /* that of one read of the store and one parse, and far from what is usual here */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(kubevirt_roles_give_what_they_should),
        TEST(namespace_roles_cover_the_core_kinds),
        TEST(a_label_lets_namespace_admins_migrate),
        TEST(a_temporary_role_keeps_the_old_behaviour),
        TEST(bindings_let_users_and_groups_migrate),
        TEST(editors_do_not_write_what_the_cluster_writes),
        TEST(paths_are_open_as_roles_say),
        TEST(names_limit_rules),
        TEST(nobody_gives_what_he_lacks),
        TEST(some_may_bind_and_escalate),
        TEST(only_masters_make_roles_that_collect),
        TEST(approval_needs_the_signer_too),
        TEST(restarts_complete_the_default_roles),
        TEST(masters_impersonate_anybody),
        TEST(others_impersonate_as_roles_say),
        TEST(reviews_answer),
        TEST(reviews_come_as_protobuf),
        TEST(service_accounts_have_tokens),
        TEST(token_requests_are_checked),
        TEST(namespaces_have_a_default_account),
        TEST(decisions_take_microseconds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
