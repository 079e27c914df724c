/* The scheduler over the real API: many pods, full nodes; with restarts and a bad network. */
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

static void test_every_node_gets_its_share(void **state)
{
    struct cluster *c = cluster_new(&cluster_calm, 300);
    char name[16];

    assert_int_equal(sim_count(c->s, NODES, "/status/conditions/0/status", "True"), 300);
    for (int i = 0; i < 1500; i++) {
        sprintf(name, "p%04d", i);
        cluster_pod(c, name, "", "\"memory\":\"8Gi\",\"cpu\":\"500m\"");
    }
    sim_run(c->s, 60000);
    assert_int_equal(sim_count(c->s, PODS, "/status/phase", "Running"), 1500);
    for (int i = 0; i < 300; i++) {
        cluster_node_name(i, name);
        _cleanup_free_ char *list = xasprintf(PODS "?fieldSelector=spec.nodeName%%3D%s", name);
        assert_int_equal(sim_count(c->s, list, NULL, NULL), 5);
        assert_int_equal(sim_agent_started_pods(c->agents[i]), 5);
    }
    cluster_free(c);
}

static void test_no_room_until_there_is(void **state)
{
    struct cluster *c = cluster_new(&cluster_calm, 3);
    static const char pod[] = PODS "/p";

    sim_patch(c->s, NODES "/n000", "{\"spec\":{\"unschedulable\":true}}");
    sim_patch(c->s, NODES "/n001", "{\"spec\":{\"taints\":[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoSchedule\"}]}}");
    sim_run(c->s, 1000);
    cluster_pod(c, "p", "", "\"memory\":\"100Gi\"");
    sim_run(c->s, 5000);
    assert_string_equal(cluster_str(c, pod, "/status/conditions/0/type"), "PodScheduled");
    assert_string_equal(cluster_str(c, pod, "/status/conditions/0/status"), "False");
    assert_string_equal(cluster_str(c, pod, "/status/conditions/0/reason"), "Unschedulable");
    assert_string_equal(cluster_str(c, pod, "/status/conditions/0/message"),
                        "0/3 nodes are available: 1 Insufficient memory, 1 node(s) had untolerated taint {k: v}, 1 node(s) "
                        "were unschedulable.");
    assert_int_equal(sim_count(c->s, "/api/v1/namespaces/default/events", "/reason", "FailedScheduling"), 1);
    sim_patch(c->s, NODES "/n000", "{\"spec\":{\"unschedulable\":null}}");
    sim_patch(c->s, NODES "/n000/status", "{\"status\":{\"allocatable\":{\"memory\":\"200Gi\"}}}");
    sim_run(c->s, 5000);
    assert_string_equal(cluster_str(c, pod, "/spec/nodeName"), "n000");
    assert_string_equal(cluster_str(c, pod, "/status/phase"), "Running");
    assert_int_equal(sim_count(c->s, "/api/v1/namespaces/default/events", "/reason", "Scheduled"), 1);
    cluster_free(c);
}

/* Room that a finished pod leaves is used at once; and a big pod that fits nowhere is in nobody's way. */
static void test_room_is_reused(void **state)
{
    struct cluster *c = cluster_new(&cluster_calm, 2);

    cluster_pod(c, "huge", "", "\"memory\":\"1000Gi\"");
    cluster_pod(c, "a", "", "\"memory\":\"60Gi\"");
    cluster_pod(c, "b", "", "\"memory\":\"60Gi\"");
    cluster_pod(c, "c", "", "\"memory\":\"60Gi\"");
    sim_run(c->s, 5000);
    assert_int_equal(sim_count(c->s, PODS, "/status/phase", "Running"), 2);
    sim_delete(c->s, PODS "/a");
    sim_run(c->s, 5000);
    assert_int_equal(sim_count(c->s, PODS, "/status/phase", "Running"), 2);
    assert_string_equal(cluster_str(c, PODS "/c", "/status/phase"), "Running");
    cluster_free(c);
}

/* Pods that want each other far, near, or near nobody: the scheduler finds whom they mean among all that are there. */
static void test_neighbours_are_heeded(void **state)
{
    struct cluster *c = cluster_new(&cluster_calm, 3);
    static const char far[] = "\"affinity\":{\"podAntiAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[{%s"
                              "\"topologyKey\":\"kubernetes.io/hostname\"}]}}";
    _cleanup_free_ char *from_launchers = xasprintf(far, "\"labelSelector\":{\"matchLabels\":{\"kubevirt.io\":\"virt-launcher\"}},");
    _cleanup_free_ char *by_expression =
        xasprintf(far, "\"labelSelector\":{\"matchExpressions\":[{\"key\":\"kubevirt.io\",\"operator\":\"Exists\"}]},");
    char near[512];

    cluster_pod(c, "hermit", from_launchers, "");
    sim_run(c->s, 3000);
    for (int i = 0; i < 2; i++) { /* it keeps others away, and finds the other two nodes */
        cluster_pod(c, i ? "b" : "a", i ? by_expression : "", "");
        sim_run(c->s, 3000);
    }
    assert_int_equal(sim_count(c->s, PODS, "/status/phase", "Running"), 3);
    assert_string_not_equal(cluster_str(c, PODS "/a", "/spec/nodeName"), cluster_str(c, PODS "/hermit", "/spec/nodeName"));
    assert_string_not_equal(cluster_str(c, PODS "/b", "/spec/nodeName"), cluster_str(c, PODS "/hermit", "/spec/nodeName"));
    assert_string_not_equal(cluster_str(c, PODS "/b", "/spec/nodeName"), cluster_str(c, PODS "/a", "/spec/nodeName"));
    cluster_pod(c, "late", "", "");
    sim_run(c->s, 3000);
    assert_string_equal(cluster_str(c, PODS "/late", "/spec/nodeName"), cluster_str(c, PODS "/a", "/spec/nodeName")); /* nobody minds there */
    sim_delete(c->s, PODS "/late");
    sim_delete(c->s, PODS "/b");
    sim_run(c->s, 3000);
    snprintf(near, sizeof(near), "\"affinity\":{\"podAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":["
             "{\"labelSelector\":{\"matchLabels\":{\"kubevirt.io\":\"virt-launcher\"}},\"topologyKey\":\"kubernetes.io/hostname\"}]}}");
    cluster_pod(c, "near", near, "");
    sim_run(c->s, 3000);
    assert_string_equal(cluster_str(c, PODS "/near", "/spec/nodeName"), cluster_str(c, PODS "/a", "/spec/nodeName"));
    cluster_free(c);
}

/* Restarts, lost and repeated messages: each pod is placed once, no node is overfilled. */
static void place_in_rough_weather(uint64_t seed)
{
    struct sim_config cfg = cluster_rough;
    cfg.seed = seed;
    struct cluster *c = cluster_new(&cfg, 20);
    char name[16];

    for (int i = 0; i < 150; i++) {
        sprintf(name, "p%03d", i);
        cluster_pod(c, name, "", "\"memory\":\"8Gi\"");
        sim_run(c->s, 200);
        if (virtual_random(sim_time(c->s)) % 15 == 0) {
            cluster_kill_controllers(c);
            cluster_start_controllers(c);
        }
        if (virtual_random(sim_time(c->s)) % 50 == 0)
            sim_restart_server(c->s, 1000);
    }
    sim_configure(c->s, &cluster_calm);
    sim_run(c->s, 180000);
    assert_int_equal(sim_count(c->s, PODS, "/status/phase", "Running"), 150);
    for (int i = 0; i < 20; i++) {
        cluster_node_name(i, name);
        _cleanup_free_ char *list = xasprintf(PODS "?fieldSelector=spec.nodeName%%3D%s", name);
        assert_in_range(sim_count(c->s, list, NULL, NULL), 0, 8);
    }
    cluster_free(c);
}

static void test_placing_in_rough_weather(void **state)
{
    for (uint64_t seed = 1; seed <= 4; seed++)
        place_in_rough_weather(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_node_gets_its_share),
        cmocka_unit_test(test_no_room_until_there_is),
        cmocka_unit_test(test_room_is_reused),
        cmocka_unit_test(test_neighbours_are_heeded),
        cmocka_unit_test(test_placing_in_rough_weather),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
