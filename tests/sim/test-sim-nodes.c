/* Nodes that fall silent, are fenced, and get their ranges of addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/str.h"
#include "cluster.h"

static bool has_taint(struct cluster *c, const char *node, const char *key)
{
    _cleanup_doc_ yyjson_doc *doc = sim_get(c->s, node);
    yyjson_val *taint;

    json_each(json_at(yyjson_doc_get_root(doc), "/spec/taints"), taint)
        if (streq(json_str_or(taint, "/key", ""), key))
            return true;
    return false;
}

static const char *ready(struct cluster *c, const char *node)
{
    return cluster_str(c, node, "/status/conditions/0/status");
}

static void test_silent_node(void **state)
{
    struct cluster *c = cluster_new(&cluster_calm, 3);
    static const char node[] = NODES "/n001";

    cluster_pod(c, "p", "\"nodeSelector\":{\"kubernetes.io/hostname\":\"n001\"}", "");
    sim_run(c->s, 2000);
    sim_partition(sim_agent_env(c->agents[1]), true);
    sim_run(c->s, 28000);
    assert_string_equal(ready(c, node), "True");
    sim_run(c->s, 25000);
    assert_string_equal(ready(c, node), "Unknown");
    assert_true(has_taint(c, node, "node.kubernetes.io/unreachable"));
    assert_string_equal(ready(c, NODES "/n000"), "True");
    sim_run(c->s, 3600000);
    assert_string_equal(cluster_str(c, PODS "/p", "/status/phase"), "Running"); /* whatever happens there: it is not ended */
    assert_int_equal(sim_count(c->s, "/api/v1/namespaces/default/events", "/reason", "NodeNotReady"), 1);
    sim_partition(sim_agent_env(c->agents[1]), false);
    sim_run(c->s, 60000);
    assert_string_equal(ready(c, node), "True");
    assert_false(has_taint(c, node, "node.kubernetes.io/unreachable"));
    cluster_free(c);
}

static void test_fenced_node(void **state)
{
    struct cluster *c = cluster_new(&cluster_calm, 2);
    static const char node[] = NODES "/n001";
    static const char fence[] = "{\"spec\":{\"taints\":[{\"key\":\"node.kubernetes.io/out-of-service\",\"value\":"
                                "\"nodeshutdown\",\"effect\":\"NoExecute\"}]}}";

    cluster_pod(c, "p", "\"nodeSelector\":{\"kubernetes.io/hostname\":\"n001\"}", "");
    cluster_pod(c, "q", "\"nodeSelector\":{\"kubernetes.io/hostname\":\"n001\"}", "");
    cluster_pod(c, "other", "\"nodeSelector\":{\"kubernetes.io/hostname\":\"n000\"}", "");
    sim_run(c->s, 2000);
    c->agents[1] = sim_agent_kill(c->agents[1]);
    sim_delete(c->s, PODS "/q"); /* nobody is there to end it */
    sim_run(c->s, 120000);
    assert_string_equal(cluster_str(c, PODS "/p", "/status/phase"), "Running");
    assert_string_equal(cluster_str(c, PODS "/q", "/status/phase"), "Running");
    sim_patch(c->s, node, fence);
    sim_run(c->s, 5000);
    assert_string_equal(cluster_str(c, PODS "/p", "/status/phase"), "Failed");
    assert_string_equal(cluster_str(c, PODS "/p", "/status/reason"), "NodeLost");
    assert_string_equal(cluster_str(c, PODS "/q", "/metadata/name"), "");
    assert_string_equal(cluster_str(c, PODS "/other", "/status/phase"), "Running");
    cluster_free(c);
}

/* A new leader knows nothing of the past: it must not take nodes for dead. */
static void test_restarts_leave_nodes_alone(void **state)
{
    struct cluster *c = cluster_new(&cluster_calm, 5);

    for (int i = 0; i < 20; i++) {
        cluster_kill_controllers(c);
        cluster_start_controllers(c);
        sim_run(c->s, 13000);
        assert_int_equal(sim_count(c->s, NODES, "/status/conditions/0/status", "True"), 5);
    }
    cluster_free(c);
}

static void test_each_node_has_its_own_range(void **state)
{
    struct cluster *c = cluster_new(&cluster_calm, 120);
    _cleanup_doc_ yyjson_doc *list = sim_get(c->s, NODES);
    _cleanup_(map_freep) struct map *seen = map_new(NULL);
    yyjson_val *node;

    json_each(json_at(yyjson_doc_get_root(list), "/items"), node)
    {
        const char *range = json_str_or(node, "/spec/podCIDR", "");
        assert_true(str_starts(range, "10.244.") && str_ends(range, ".0/24"));
        assert_false(map_has(seen, range));
        map_put(seen, range, c);
        assert_string_equal(json_str_or(node, "/spec/podCIDRs/0", ""), range);
    }
    assert_int_equal(map_len(seen), 120);
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_silent_node),
        cmocka_unit_test(test_fenced_node),
        cmocka_unit_test(test_restarts_leave_nodes_alone),
        cmocka_unit_test(test_each_node_has_its_own_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
