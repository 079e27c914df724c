/* What the roles of the first start give, who may migrate by them, and how they are completed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "roles-fixture.h"

/* --- The roles of KubeVirt --- */

#define SUB "subresources.kubevirt.io"

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
        TEST(restarts_complete_the_default_roles),
        TEST(decisions_take_microseconds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
