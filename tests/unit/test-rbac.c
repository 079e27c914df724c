/* Roles as pure logic: what rules allow, what covers what, who has what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/alloc.h"
#include "rbac/rbac.h"

static yyjson_doc *parse(const char *text)
{
    yyjson_doc *doc = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (json_parse(text, strlen(text), &doc, &err) < 0)
        fail_msg("%s: %s", text, gw_error_message(&err));
    return doc;
}

#define RULE(groups, resources, verbs) \
    "{\"apiGroups\":[" groups "],\"resources\":[" resources "],\"verbs\":[" verbs "]}"
#define NAMED(groups, resources, names, verbs) \
    "{\"apiGroups\":[" groups "],\"resources\":[" resources "],\"resourceNames\":[" names "],\"verbs\":[" verbs "]}"
#define PATHS(urls, verbs) "{\"nonResourceURLs\":[" urls "],\"verbs\":[" verbs "]}"

static void rules_allow_requests(void **state)
{
    static const struct {
        const char *rule;
        struct rbac_request q;
        bool allowed;
    } cases[] = {
        {RULE("\"\"", "\"pods\"", "\"get\""), {"get", "", "pods", "p", NULL}, true},
        {RULE("\"\"", "\"pods\"", "\"get\""), {"list", "", "pods", NULL, NULL}, false},
        {RULE("\"\"", "\"pods\"", "\"get\""), {"get", "apps", "pods", "p", NULL}, false},
        {RULE("\"\"", "\"pods\"", "\"get\""), {"get", "", "secrets", "p", NULL}, false},
        {RULE("\"\"", "\"pods\"", "\"get\""), {"get", "", "pods/log", "p", NULL}, false},
        {RULE("\"\"", "\"pods/log\"", "\"get\""), {"get", "", "pods/log", "p", NULL}, true},
        {RULE("\"\"", "\"pods/log\"", "\"get\""), {"get", "", "pods", "p", NULL}, false},
        {RULE("\"\"", "\"pods/log\"", "\"get\""), {"get", "", "pods/logs", "p", NULL}, false},
        {RULE("\"\"", "\"pods/*\"", "\"get\""), {"get", "", "pods/log", "p", NULL}, false}, /* no such form */
        {RULE("\"\"", "\"*/log\"", "\"get\""), {"get", "", "pods/log", "p", NULL}, true},
        {RULE("\"\"", "\"*/log\"", "\"get\""), {"get", "", "pods", "p", NULL}, false},
        {RULE("\"\"", "\"*/log\"", "\"get\""), {"get", "", "pods/status", "p", NULL}, false},
        {RULE("\"\"", "\"*/cancel\"", "\"get\""), {"get", "", "pods/evacuate/cancel", "p", NULL}, false},
        {RULE("\"\"", "\"*/evacuate/cancel\"", "\"get\""), {"get", "", "pods/evacuate/cancel", "p", NULL}, true},
        {RULE("\"*\"", "\"*\"", "\"*\""), {"delete", "x.io", "things/sub", "t", NULL}, true},
        {RULE("\"*\"", "\"*\"", "\"*\""), {"get", NULL, NULL, NULL, "/version"}, false},
        {RULE("\"*\"", "\"pods\"", "\"get\",\"list\""), {"list", "x.io", "pods", NULL, NULL}, true},
        {RULE("\"\"", "\"pods\"", "\"GET\""), {"get", "", "pods", NULL, NULL}, false},
        {RULE("", "\"pods\"", "\"get\""), {"get", "", "pods", NULL, NULL}, false},
        {RULE("\"\"", "", "\"get\""), {"get", "", "pods", NULL, NULL}, false},
        {RULE("\"\"", "\"pods\"", ""), {"get", "", "pods", NULL, NULL}, false},
        {NAMED("\"\"", "\"pods\"", "\"a\",\"b\"", "\"get\""), {"get", "", "pods", "b", NULL}, true},
        {NAMED("\"\"", "\"pods\"", "\"a\",\"b\"", "\"get\""), {"get", "", "pods", "c", NULL}, false},
        {NAMED("\"\"", "\"pods\"", "\"a\"", "\"create\""), {"create", "", "pods", NULL, NULL}, false},
        {NAMED("\"\"", "\"pods\"", "\"a\"", "\"create\""), {"create", "", "pods", "", NULL}, false},
        {NAMED("\"\"", "\"pods\"", "\"*\"", "\"get\""), {"get", "", "pods", "a", NULL}, false}, /* a name, not a sign */
        {NAMED("\"\"", "\"pods\"", "", "\"get\""), {"get", "", "pods", "a", NULL}, true},
        {PATHS("\"/version\"", "\"get\""), {"get", NULL, NULL, NULL, "/version"}, true},
        {PATHS("\"/version\"", "\"get\""), {"get", NULL, NULL, NULL, "/version/x"}, false},
        {PATHS("\"/version\"", "\"get\""), {"post", NULL, NULL, NULL, "/version"}, false},
        {PATHS("\"/apis/*\"", "\"get\""), {"get", NULL, NULL, NULL, "/apis/x/v1"}, true},
        {PATHS("\"/apis/*\"", "\"get\""), {"get", NULL, NULL, NULL, "/apis"}, false},
        {PATHS("\"/api*\"", "\"get\""), {"get", NULL, NULL, NULL, "/apis"}, true},
        {PATHS("\"*\"", "\"*\""), {"get", NULL, NULL, NULL, "/"}, true},
        {PATHS("\"/a*b\"", "\"get\""), {"get", NULL, NULL, NULL, "/axb"}, false},
        {PATHS("\"*\"", "\"*\""), {"get", "", "pods", NULL, NULL}, false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_doc_ yyjson_doc *doc = parse(cases[i].rule);

        if (rbac_rule_allows(yyjson_doc_get_root(doc), &cases[i].q) != cases[i].allowed)
            fail_msg("%s: %s %s should be %s", cases[i].rule, cases[i].q.verb,
                     cases[i].q.resource ? cases[i].q.resource : cases[i].q.path, cases[i].allowed ? "allowed" : "refused");
    }
}

/* What of `wanted` is not covered by `have`; wanted and have are lists of rules. */
static size_t missing(const char *have, const char *wanted)
{
    _cleanup_doc_ yyjson_doc *a = parse(have), *b = parse(wanted);
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    yyjson_mut_val *list = yyjson_mut_arr(d);

    rbac_rules_missing(yyjson_doc_get_root(a), yyjson_doc_get_root(b), d, list);
    return yyjson_mut_arr_size(list);
}

static void rules_cover_rules(void **state)
{
#define ALL RULE("\"*\"", "\"*\"", "\"*\"")
    static const struct {
        const char *have, *wanted;
        size_t missing;
    } cases[] = {
        {"[]", "[]", 0},
        {"[]", "[" RULE("\"\"", "\"pods\"", "\"get\"") "]", 1},
        {"[" ALL "]", "[" RULE("\"a\",\"b\"", "\"pods\",\"pods/log\"", "\"get\",\"list\"") "]", 0},
        {"[" ALL "]", "[" ALL "]", 0},
        {"[" ALL "]", "[" PATHS("\"/x\"", "\"get\"") "]", 1},
        /* together, not each alone */
        {"[" RULE("\"\"", "\"pods\"", "\"get\"") "," RULE("\"\"", "\"pods\"", "\"list\"") "]",
         "[" RULE("\"\"", "\"pods\"", "\"get\",\"list\"") "]", 0},
        {"[" RULE("\"\"", "\"pods\"", "\"get\"") "," RULE("\"\"", "\"secrets\"", "\"list\"") "]",
         "[" RULE("\"\"", "\"pods\",\"secrets\"", "\"get\",\"list\"") "]", 1},
        /* a wildcard takes a wildcard, however much is listed */
        {"[" RULE("\"\"", "\"pods\"", "\"get\",\"list\",\"watch\",\"create\",\"update\",\"patch\",\"delete\"") "]",
         "[" RULE("\"\"", "\"pods\"", "\"*\"") "]", 1},
        {"[" RULE("\"\"", "\"pods\"", "\"*\"") "]", "[" RULE("\"\"", "\"pods\"", "\"get\"") "]", 0},
        {"[" RULE("\"\"", "\"*\"", "\"get\"") "]", "[" RULE("\"*\"", "\"pods\"", "\"get\"") "]", 1},
        {"[" RULE("\"\"", "\"*/log\"", "\"get\"") "]", "[" RULE("\"\"", "\"pods/log\"", "\"get\"") "]", 0},
        {"[" RULE("\"\"", "\"pods/log\"", "\"get\"") "]", "[" RULE("\"\"", "\"*/log\"", "\"get\"") "]", 1},
        {"[" RULE("\"\"", "\"*/log\"", "\"get\"") "]", "[" RULE("\"\"", "\"*/log\"", "\"get\"") "]", 0},
        /* names */
        {"[" NAMED("\"\"", "\"pods\"", "\"a\"", "\"get\"") "]", "[" RULE("\"\"", "\"pods\"", "\"get\"") "]", 1},
        {"[" RULE("\"\"", "\"pods\"", "\"get\"") "]", "[" NAMED("\"\"", "\"pods\"", "\"a\"", "\"get\"") "]", 0},
        {"[" NAMED("\"\"", "\"pods\"", "\"a\",\"b\"", "\"get\"") "]",
         "[" NAMED("\"\"", "\"pods\"", "\"b\"", "\"get\"") "]", 0},
        {"[" NAMED("\"\"", "\"pods\"", "\"a\"", "\"get\"") "]",
         "[" NAMED("\"\"", "\"pods\"", "\"a\",\"b\"", "\"get\"") "]", 1},
        /* paths */
        {"[" PATHS("\"/api*\"", "\"get\"") "]", "[" PATHS("\"/apis\",\"/apis/*\"", "\"get\"") "]", 0},
        {"[" PATHS("\"/apis/*\"", "\"get\"") "]", "[" PATHS("\"/api*\"", "\"get\"") "]", 1},
        {"[" PATHS("\"/apis\"", "\"get\"") "]", "[" PATHS("\"/apis\"", "\"*\"") "]", 1},
        {"[" PATHS("\"*\"", "\"*\"") "]", "[" PATHS("\"*\"", "\"*\"") "]", 0},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        if (missing(cases[i].have, cases[i].wanted) != cases[i].missing)
            fail_msg("%s of %s: %zu missing instead of %zu", cases[i].wanted, cases[i].have,
                     missing(cases[i].have, cases[i].wanted), cases[i].missing);
}

static void rules_are_shown_as_in_kubernetes(void **state)
{
    _cleanup_doc_ yyjson_doc *a = parse(NAMED("\"apps\"", "\"x\",\"y\"", "\"n\"", "\"get\"")),
                              *b = parse(PATHS("\"/x\"", "\"get\",\"post\""));
    _cleanup_str_ struct str text = {0};

    rbac_rule_text(&text, yyjson_doc_get_root(a));
    rbac_rule_text(&text, yyjson_doc_get_root(b));
    assert_string_equal(str_text(&text),
                        "{APIGroups:[\"apps\"], Resources:[\"x\" \"y\"], ResourceNames:[\"n\"], Verbs:[\"get\"]}"
                        "{NonResourceURLs:[\"/x\"], Verbs:[\"get\" \"post\"]}");
}

/* --- Whose rules --- */

#define READ_PODS "[" RULE("\"\"", "\"pods\"", "\"get\"") "]"

static void put(struct rbac_policy *p, const char *kind, const char *namespace, const char *name, const char *rest)
{
    _cleanup_free_ char *text = xasprintf("{\"kind\":\"%s\",\"metadata\":{\"name\":\"%s\"%s%s%s},%s}", kind, name,
                                          *namespace ? ",\"namespace\":\"" : "", namespace, *namespace ? "\"" : "", rest);
    _cleanup_free_ char *key = xasprintf("%s/%s/%s", kind, namespace, name);

    rbac_policy_put(p, key, parse(text));
}

static void bind(struct rbac_policy *p, const char *kind, const char *namespace, const char *name, const char *role_kind,
                 const char *role, const char *subjects)
{
    _cleanup_free_ char *rest =
        xasprintf("\"roleRef\":{\"kind\":\"%s\",\"name\":\"%s\"},\"subjects\":[%s]", role_kind, role, subjects);

    put(p, kind, namespace, name, rest);
}

static bool may(struct rbac_policy *p, const char *name, const char *group, const char *namespace, const char *verb,
                const char *resource)
{
    const char *const groups[] = {group, "system:authenticated"};
    const struct rbac_user user = {name, groups, 2};

    return rbac_policy_allows(p, &user, namespace,
                              &(struct rbac_request){.verb = verb, .group = "", .resource = resource, .name = "x"}, NULL);
}

#define USER(name) "{\"kind\":\"User\",\"name\":\"" name "\"}"
#define GROUP(name) "{\"kind\":\"Group\",\"name\":\"" name "\"}"
#define ACCOUNT(ns, name) "{\"kind\":\"ServiceAccount\",\"namespace\":\"" ns "\",\"name\":\"" name "\"}"

static void bindings_give_roles(void **state)
{
    _cleanup_(rbac_policy_freep) struct rbac_policy *p = rbac_policy_new();

    put(p, "ClusterRole", "", "reader", "\"rules\":" READ_PODS);
    put(p, "Role", "demo", "reader", "\"rules\":[" RULE("\"\"", "\"secrets\"", "\"get\"") "]");
    bind(p, "RoleBinding", "demo", "a", "ClusterRole", "reader", USER("alice") "," GROUP("dev"));
    bind(p, "RoleBinding", "demo", "b", "Role", "reader", USER("bob") "," ACCOUNT("other", "robot"));
    bind(p, "ClusterRoleBinding", "", "c", "ClusterRole", "reader", USER("carol"));
    bind(p, "ClusterRoleBinding", "", "d", "ClusterRole", "absent", USER("dave"));

    assert_true(may(p, "alice", "x", "demo", "get", "pods"));
    assert_false(may(p, "alice", "x", "other", "get", "pods"));
    assert_false(may(p, "alice", "x", NULL, "get", "pods"));
    assert_false(may(p, "alice", "x", "demo", "get", "secrets"));
    assert_true(may(p, "zoe", "dev", "demo", "get", "pods"));
    assert_false(may(p, "dev", "x", "demo", "get", "pods"));   /* a user named like the group */
    assert_false(may(p, "x", "alice", "demo", "get", "pods")); /* and the other way round */
    assert_true(may(p, "bob", "x", "demo", "get", "secrets"));
    assert_false(may(p, "bob", "x", "demo", "get", "pods"));
    assert_true(may(p, "system:serviceaccount:other:robot", "x", "demo", "get", "secrets"));
    assert_false(may(p, "system:serviceaccount:demo:robot", "x", "demo", "get", "secrets"));
    assert_true(may(p, "carol", "x", "demo", "get", "pods"));
    assert_true(may(p, "carol", "x", NULL, "get", "pods"));
    assert_false(may(p, "dave", "x", NULL, "get", "pods"));
    put(p, "ClusterRole", "", "absent", "\"rules\":" READ_PODS); /* the role comes after its binding */
    assert_true(may(p, "dave", "x", NULL, "get", "pods"));
}

static void changes_count_at_once(void **state)
{
    _cleanup_(rbac_policy_freep) struct rbac_policy *p = rbac_policy_new();

    put(p, "ClusterRole", "", "reader", "\"rules\":" READ_PODS);
    bind(p, "RoleBinding", "demo", "a", "ClusterRole", "reader", USER("alice") "," USER("alice") "," USER("bob"));
    assert_true(may(p, "alice", "x", "demo", "get", "pods"));
    bind(p, "RoleBinding", "demo", "a", "ClusterRole", "reader", USER("bob"));
    assert_false(may(p, "alice", "x", "demo", "get", "pods"));
    assert_true(may(p, "bob", "x", "demo", "get", "pods"));
    put(p, "ClusterRole", "", "reader", "\"rules\":[]");
    assert_false(may(p, "bob", "x", "demo", "get", "pods"));
    put(p, "ClusterRole", "", "reader", "\"rules\":" READ_PODS);
    rbac_policy_remove(p, "RoleBinding/demo/a");
    rbac_policy_remove(p, "RoleBinding/demo/never");
    assert_false(may(p, "bob", "x", "demo", "get", "pods"));
    bind(p, "RoleBinding", "demo", "a", "ClusterRole", "reader", USER("bob"));
    rbac_policy_remove(p, "ClusterRole//reader");
    assert_false(may(p, "bob", "x", "demo", "get", "pods"));
    assert_false(rbac_policy_has_role(p, "", "reader"));
}

static void grants_say_why(void **state)
{
    _cleanup_(rbac_policy_freep) struct rbac_policy *p = rbac_policy_new();
    const struct rbac_user user = {"alice", NULL, 0};
    _cleanup_str_ struct str why = {0};
    struct rbac_grant grant;

    put(p, "ClusterRole", "", "reader", "\"rules\":" READ_PODS);
    bind(p, "RoleBinding", "demo", "a", "ClusterRole", "reader", USER("alice"));
    assert_true(rbac_policy_allows(p, &user, "demo", &(struct rbac_request){"get", "", "pods", NULL, NULL}, &grant));
    rbac_grant_text(&why, &grant);
    assert_string_equal(str_text(&why),
                        "RBAC: allowed by RoleBinding \"a/demo\" of ClusterRole \"reader\" to User \"alice\"");
}

/* --- Roles that collect --- */

static void rules_flow_together(void **state)
{
    _cleanup_doc_ yyjson_doc *doc = parse(
        "[{\"metadata\":{\"name\":\"a\",\"labels\":{\"to-admin\":\"true\"}},\"rules\":" READ_PODS "},"
        "{\"metadata\":{\"name\":\"admin\",\"labels\":{\"to-admin\":\"true\"}},\"rules\":[{\"verbs\":[\"own\"]}],"
        "\"aggregationRule\":{\"clusterRoleSelectors\":[{\"matchLabels\":{\"to-admin\":\"true\"}},"
        "{\"matchLabels\":{\"also\":\"true\"}}]}},"
        "{\"metadata\":{\"name\":\"b\",\"labels\":{\"also\":\"true\"}},\"rules\":[{\"verbs\":[\"x\"]},{\"verbs\":[\"x\"]}]},"
        "{\"metadata\":{\"name\":\"c\",\"labels\":{\"to-admin\":\"false\"}},\"rules\":[{\"verbs\":[\"never\"]}]},"
        "{\"metadata\":{\"name\":\"d\",\"labels\":{\"to-admin\":\"true\"}},\"rules\":" READ_PODS "}]");
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    yyjson_val *roles[5], *item;
    size_t n = 0;

    json_each(yyjson_doc_get_root(doc), item)
        roles[n++] = item;
    assert_null(rbac_aggregate(d, roles[0], roles, n));
    _cleanup_free_ char *text = json_text(rbac_aggregate(d, roles[1], roles, n));
    assert_string_equal(text, "[" RULE("\"\"", "\"pods\"", "\"get\"") ",{\"verbs\":[\"x\"]}]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules_allow_requests),      cmocka_unit_test(rules_cover_rules),
        cmocka_unit_test(rules_are_shown_as_in_kubernetes), cmocka_unit_test(bindings_give_roles),
        cmocka_unit_test(changes_count_at_once),     cmocka_unit_test(grants_say_why),
        cmocka_unit_test(rules_flow_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
