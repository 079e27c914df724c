/* What goes with its owner, and with its namespace; with restarts and a bad network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "api/meta.h"
#include "base/alloc.h"
#include "base/map.h"
#include "base/str.h"
#include "cluster.h"

/* --- garbage --- */

/* A ConfigMap owned by another (owner NULL: by nobody). */
static void make_owned(struct cluster *c, const char *name, const char *owner, bool blocks)
{
    _cleanup_free_ char *target = xasprintf(CONFIGMAPS "/%s", owner ? owner : "none");
    _cleanup_free_ char *body =
        owner ? xasprintf("{\"metadata\":{\"name\":\"%s\",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\","
                          "\"name\":\"%s\",\"uid\":\"%s\",\"blockOwnerDeletion\":%s}]}}",
                          name, owner, cluster_str(c, target, "/metadata/uid"), blocks ? "true" : "false")
              : xasprintf("{\"metadata\":{\"name\":\"%s\"}}", name);
    sim_post(c->s, CONFIGMAPS, body);
}

static void delete_with(struct cluster *c, const char *name, const char *policy)
{
    _cleanup_free_ char *target = xasprintf(CONFIGMAPS "/%s", name);
    _cleanup_free_ char *body = xasprintf("{\"propagationPolicy\":\"%s\"}", policy);

    yyjson_doc_free(sim_do(c->s, 200, "DELETE", target, body));
}

static bool there(struct cluster *c, const char *name)
{
    _cleanup_free_ char *target = xasprintf(CONFIGMAPS "/%s", name);
    _cleanup_doc_ yyjson_doc *doc = sim_get(c->s, target);

    return doc != NULL;
}

static void make_family(struct cluster *c)
{
    make_owned(c, "grandparent", NULL, false);
    make_owned(c, "parent", "grandparent", true);
    make_owned(c, "child", "parent", true);
    make_owned(c, "cousin", "grandparent", false);
    make_owned(c, "stranger", NULL, false);
    sim_run(c->s, 1000);
}

static void test_background_deletion(void **state)
{
    struct cluster *c = cluster_new(&cluster_calm, 0);

    make_family(c);
    delete_with(c, "grandparent", "Background");
    assert_false(there(c, "grandparent"));
    sim_run(c->s, 5000);
    assert_false(there(c, "parent") || there(c, "child") || there(c, "cousin"));
    assert_true(there(c, "stranger"));
    cluster_free(c);
}

static void test_foreground_deletion(void **state)
{
    struct cluster *c = cluster_new(&cluster_calm, 0);

    make_family(c);
    sim_patch(c->s, CONFIGMAPS "/child", "{\"metadata\":{\"finalizers\":[\"test/hold\"]}}");
    delete_with(c, "grandparent", "Foreground");
    sim_run(c->s, 60000);
    assert_true(there(c, "grandparent") && there(c, "parent") && there(c, "child"));
    assert_false(there(c, "cousin"));
    sim_patch(c->s, CONFIGMAPS "/child", "{\"metadata\":{\"finalizers\":[]}}");
    sim_run(c->s, 5000);
    assert_false(there(c, "grandparent") || there(c, "parent") || there(c, "child"));
    assert_true(there(c, "stranger"));
    cluster_free(c);
}

static void test_orphaning(void **state)
{
    struct cluster *c = cluster_new(&cluster_calm, 0);

    make_family(c);
    delete_with(c, "grandparent", "Orphan");
    sim_run(c->s, 5000);
    assert_false(there(c, "grandparent"));
    assert_true(there(c, "parent") && there(c, "child") && there(c, "cousin"));
    assert_string_equal(cluster_str(c, CONFIGMAPS "/parent", "/metadata/ownerReferences/0/uid"), "");
    assert_string_equal(cluster_str(c, CONFIGMAPS "/child", "/metadata/ownerReferences/0/name"), "parent");
    cluster_free(c);
}

static void test_second_owner_keeps_it(void **state)
{
    struct cluster *c = cluster_new(&cluster_calm, 0);

    make_owned(c, "a", NULL, false);
    make_owned(c, "b", NULL, false);
    make_owned(c, "child", "a", false);
    _cleanup_free_ char *both =
        xasprintf("{\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"a\",\"uid\":"
                  "\"%s\"},{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"b\",\"uid\":\"%s\"}]}}",
                  cluster_str(c, CONFIGMAPS "/a", "/metadata/uid"), cluster_str(c, CONFIGMAPS "/b", "/metadata/uid"));
    sim_patch(c->s, CONFIGMAPS "/child", both);
    sim_run(c->s, 1000);
    sim_delete(c->s, CONFIGMAPS "/a");
    sim_run(c->s, 5000);
    assert_true(there(c, "child"));
    assert_string_equal(cluster_str(c, CONFIGMAPS "/child", "/metadata/ownerReferences/0/name"), "b");
    assert_string_equal(cluster_str(c, CONFIGMAPS "/child", "/metadata/ownerReferences/1/name"), "");
    sim_delete(c->s, CONFIGMAPS "/b");
    sim_run(c->s, 5000);
    assert_false(there(c, "child"));
    cluster_free(c);
}

/* An owner of the same name that came later is not the owner. */
static void test_namesake_is_no_owner(void **state)
{
    struct cluster *c = cluster_new(&cluster_calm, 0);

    make_owned(c, "a", NULL, false);
    make_owned(c, "child", "a", false);
    sim_delete(c->s, CONFIGMAPS "/a");
    make_owned(c, "a", NULL, false);
    sim_run(c->s, 5000);
    assert_true(there(c, "a"));
    assert_false(there(c, "child"));
    cluster_free(c);
}

/* Many trees, deleted while controllers are killed and messages lost: exactly the right ones remain, always. */
static void test_garbage_in_rough_weather(void **state)
{
    struct cluster *c = cluster_new(&cluster_rough, 0);
    char root[16], leaf[32], parent[16];

    for (int i = 0; i < 60; i++) {
        sprintf(root, "r%d", i);
        sprintf(parent, "r%d-p", i);
        make_owned(c, root, NULL, false);
        make_owned(c, parent, root, i % 2);
        for (int j = 0; j < 3; j++) {
            sprintf(leaf, "r%d-p-%d", i, j);
            make_owned(c, leaf, parent, j % 2);
        }
        if (i % 3 == 0)
            delete_with(c, root, i % 2 ? "Foreground" : "Background");
        sim_run(c->s, 100);
        if (i % 10 == 5) {
            cluster_kill_controllers(c);
            cluster_start_controllers(c);
        }
    }
    sim_run(c->s, 300000);
    assert_int_equal(sim_count(c->s, CONFIGMAPS, NULL, NULL), 40 * 5);
    cluster_free(c);
}

/* --- namespaces --- */

static void test_namespace_goes_with_all_in_it(void **state)
{
    struct cluster *c = cluster_new(&cluster_calm, 0);
    static const char ns[] = "/api/v1/namespaces/lab";

    sim_post(c->s, "/api/v1/namespaces", "{\"metadata\":{\"name\":\"lab\"}}");
    sim_post(c->s, "/api/v1/namespaces/lab/configmaps", "{\"metadata\":{\"name\":\"a\"}}");
    sim_post(c->s, "/api/v1/namespaces/lab/configmaps", "{\"metadata\":{\"name\":\"b\",\"finalizers\":[\"test/hold\"]}}");
    sim_post(c->s, "/api/v1/namespaces/lab/secrets", "{\"metadata\":{\"name\":\"s\"}}");
    sim_post(c->s, "/apis/rbac.authorization.k8s.io/v1/namespaces/lab/roles", "{\"metadata\":{\"name\":\"r\"},\"rules\":[]}");
    sim_post(c->s, "/api/v1/namespaces/lab/events",
             "{\"metadata\":{\"name\":\"e\"},\"involvedObject\":{\"namespace\":\"lab\"},\"message\":\"m\"}");
    sim_delete(c->s, ns);
    sim_run(c->s, 10000);
    assert_string_equal(cluster_str(c, ns, "/status/phase"), "Terminating");
    assert_string_equal(cluster_str(c, ns, "/status/conditions/0/message"),
                        "Some resources are remaining: configmaps has 1 resource instances, "
                        "roles.rbac.authorization.k8s.io has 1 resource instances");
    assert_int_equal(sim_count(c->s, "/api/v1/namespaces/lab/secrets", NULL, NULL), 0);
    assert_int_equal(sim_count(c->s, "/apis/rbac.authorization.k8s.io/v1/namespaces/lab/roles", NULL, NULL), 1);
    sim_patch(c->s, "/api/v1/namespaces/lab/configmaps/b", "{\"metadata\":{\"finalizers\":[]}}");
    sim_run(c->s, 10000);
    assert_string_equal(cluster_str(c, ns, "/status/phase"), "");
    assert_int_equal(sim_count(c->s, "/api/v1/events", "/metadata/namespace", "lab"), 0);
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_background_deletion),
        cmocka_unit_test(test_foreground_deletion),
        cmocka_unit_test(test_orphaning),
        cmocka_unit_test(test_second_owner_keeps_it),
        cmocka_unit_test(test_namesake_is_no_owner),
        cmocka_unit_test(test_garbage_in_rough_weather),
        cmocka_unit_test(test_namespace_goes_with_all_in_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
