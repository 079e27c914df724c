/* The controllers as they are, over the real API: scheduling of many pods, silent and fenced nodes, garbage collection,
 * namespaces, volumes; with restarts and a bad network. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "agents.h"
#include "api/meta.h"
#include "base/alloc.h"
#include "base/map.h"
#include "base/str.h"
#include "controllers/kubernetes.h"

#define MAX_AGENTS 300
#define CONFIGMAPS "/api/v1/namespaces/default/configmaps"
#define PODS "/api/v1/namespaces/default/pods"
#define CLAIMS "/api/v1/namespaces/default/persistentvolumeclaims"
#define VOLUMES "/api/v1/persistentvolumes"
#define NODES "/api/v1/nodes"

static const struct controller *const controllers[] = {
    &scheduler_controller, &node_controller, &gc_controller, &namespace_controller, &volume_controller, NULL,
};

static const struct sim_config calm = {.seed = 1, .delay_ms = {1, 5}};
static const struct sim_config rough = {.seed = 1, .delay_ms = {1, 100}, .lose_request = 20, .lose_answer = 20,
                                        .cut_watch = 20, .repeat_event = 100, .late_event_ms = 500};

/* A cluster: all controllers in one process, and agents. */
struct cluster {
    struct sim *s;
    struct env *env;
    struct controllers *cs;
    struct sim_agent *agents[MAX_AGENTS];
    int n_agents;
};

static void start_controllers(struct cluster *c)
{
    c->env = sim_process(c->s, "controllers", "system:godwit:controllers");
    c->cs = controllers_start(c->env, controllers);
}

/* killed: in the middle of whatever they do */
static void kill_controllers(struct cluster *c)
{
    c->cs = controllers_stop(c->cs);
    c->env = sim_process_end(c->env);
}

static void node_name(int i, char *buf)
{
    sprintf(buf, "n%03d", i);
}

static struct cluster *cluster_new(const struct sim_config *cfg, int agents)
{
    struct cluster *c = xnew(struct cluster);
    char name[16];

    c->s = sim_new(cfg);
    start_controllers(c);
    for (c->n_agents = 0; c->n_agents < agents; c->n_agents++) {
        node_name(c->n_agents, name);
        c->agents[c->n_agents] = sim_agent_start(c->s, name, NULL);
    }
    sim_run(c->s, 5000);
    return c;
}

static void cluster_free(struct cluster *c)
{
    kill_controllers(c);
    for (int i = 0; i < c->n_agents; i++)
        sim_agent_kill(c->agents[i]);
    sim_free(c->s);
    free(c);
}

static const char *str(struct cluster *c, const char *target, const char *path)
{
    static char buf[4][512];
    static int at;

    at = (at + 1) % 4;
    return sim_str(c->s, target, path, buf[at], sizeof(buf[at]));
}

/* A launcher pod as controllers make them; the VMI behind it is only a ConfigMap, which stays. */
static void make_pod(struct cluster *c, const char *name, const char *spec, const char *requests)
{
    _cleanup_doc_ yyjson_doc *owner = sim_get(c->s, CONFIGMAPS "/owner");
    if (!owner)
        owner = sim_do(c->s, 201, "POST", CONFIGMAPS, "{\"metadata\":{\"name\":\"owner\"}}");
    _cleanup_free_ char *body =
        xasprintf("{\"metadata\":{\"name\":\"%s\",\"labels\":{\"kubevirt.io\":\"virt-launcher\"},\"ownerReferences\":"
                  "[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"owner\",\"uid\":\"%s\",\"controller\":true}]},"
                  "\"spec\":{%s%s\"containers\":[{\"name\":\"compute\",\"resources\":{\"requests\":{%s}}}]}}",
                  name, meta_uid(yyjson_doc_get_root(owner)), spec, *spec ? "," : "", requests);
    sim_post(c->s, PODS, body);
}

/* --- scheduling --- */

static void test_every_node_gets_its_share(void **state)
{
    struct cluster *c = cluster_new(&calm, 300);
    char name[16];

    assert_int_equal(sim_count(c->s, NODES, "/status/conditions/0/status", "True"), 300);
    for (int i = 0; i < 1500; i++) {
        sprintf(name, "p%04d", i);
        make_pod(c, name, "", "\"memory\":\"8Gi\",\"cpu\":\"500m\"");
    }
    sim_run(c->s, 60000);
    assert_int_equal(sim_count(c->s, PODS, "/status/phase", "Running"), 1500);
    for (int i = 0; i < 300; i++) {
        node_name(i, name);
        _cleanup_free_ char *list = xasprintf(PODS "?fieldSelector=spec.nodeName%%3D%s", name);
        assert_int_equal(sim_count(c->s, list, NULL, NULL), 5);
        assert_int_equal(sim_agent_started_pods(c->agents[i]), 5);
    }
    cluster_free(c);
}

static void test_no_room_until_there_is(void **state)
{
    struct cluster *c = cluster_new(&calm, 3);
    static const char pod[] = PODS "/p";

    sim_patch(c->s, NODES "/n000", "{\"spec\":{\"unschedulable\":true}}");
    sim_patch(c->s, NODES "/n001", "{\"spec\":{\"taints\":[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoSchedule\"}]}}");
    sim_run(c->s, 1000);
    make_pod(c, "p", "", "\"memory\":\"100Gi\"");
    sim_run(c->s, 5000);
    assert_string_equal(str(c, pod, "/status/conditions/0/type"), "PodScheduled");
    assert_string_equal(str(c, pod, "/status/conditions/0/status"), "False");
    assert_string_equal(str(c, pod, "/status/conditions/0/reason"), "Unschedulable");
    assert_string_equal(str(c, pod, "/status/conditions/0/message"),
                        "0/3 nodes are available: 1 Insufficient memory, 1 node(s) had untolerated taint {k: v}, 1 node(s) "
                        "were unschedulable.");
    assert_int_equal(sim_count(c->s, "/api/v1/namespaces/default/events", "/reason", "FailedScheduling"), 1);
    sim_patch(c->s, NODES "/n000", "{\"spec\":{\"unschedulable\":null}}");
    sim_patch(c->s, NODES "/n000/status", "{\"status\":{\"allocatable\":{\"memory\":\"200Gi\"}}}");
    sim_run(c->s, 5000);
    assert_string_equal(str(c, pod, "/spec/nodeName"), "n000");
    assert_string_equal(str(c, pod, "/status/phase"), "Running");
    assert_int_equal(sim_count(c->s, "/api/v1/namespaces/default/events", "/reason", "Scheduled"), 1);
    cluster_free(c);
}

/* Room that a finished pod leaves is used at once; and a big pod that fits nowhere is in nobody's way. */
static void test_room_is_reused(void **state)
{
    struct cluster *c = cluster_new(&calm, 2);

    make_pod(c, "huge", "", "\"memory\":\"1000Gi\"");
    make_pod(c, "a", "", "\"memory\":\"60Gi\"");
    make_pod(c, "b", "", "\"memory\":\"60Gi\"");
    make_pod(c, "c", "", "\"memory\":\"60Gi\"");
    sim_run(c->s, 5000);
    assert_int_equal(sim_count(c->s, PODS, "/status/phase", "Running"), 2);
    sim_delete(c->s, PODS "/a");
    sim_run(c->s, 5000);
    assert_int_equal(sim_count(c->s, PODS, "/status/phase", "Running"), 2);
    assert_string_equal(str(c, PODS "/c", "/status/phase"), "Running");
    cluster_free(c);
}

/* Restarts, lost and repeated messages: each pod is placed once, no node is overfilled. */
static void place_in_rough_weather(uint64_t seed)
{
    struct sim_config cfg = rough;
    cfg.seed = seed;
    struct cluster *c = cluster_new(&cfg, 20);
    char name[16];

    for (int i = 0; i < 150; i++) {
        sprintf(name, "p%03d", i);
        make_pod(c, name, "", "\"memory\":\"8Gi\"");
        sim_run(c->s, 200);
        if (virtual_random(sim_time(c->s)) % 15 == 0) {
            kill_controllers(c);
            start_controllers(c);
        }
        if (virtual_random(sim_time(c->s)) % 50 == 0)
            sim_restart_server(c->s, 1000);
    }
    sim_configure(c->s, &calm);
    sim_run(c->s, 180000);
    assert_int_equal(sim_count(c->s, PODS, "/status/phase", "Running"), 150);
    for (int i = 0; i < 20; i++) {
        node_name(i, name);
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

/* --- nodes --- */

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
    return str(c, node, "/status/conditions/0/status");
}

static void test_silent_node(void **state)
{
    struct cluster *c = cluster_new(&calm, 3);
    static const char node[] = NODES "/n001";

    make_pod(c, "p", "\"nodeSelector\":{\"kubernetes.io/hostname\":\"n001\"}", "");
    sim_run(c->s, 2000);
    sim_partition(sim_agent_env(c->agents[1]), true);
    sim_run(c->s, 28000);
    assert_string_equal(ready(c, node), "True");
    sim_run(c->s, 25000);
    assert_string_equal(ready(c, node), "Unknown");
    assert_true(has_taint(c, node, "node.kubernetes.io/unreachable"));
    assert_string_equal(ready(c, NODES "/n000"), "True");
    sim_run(c->s, 3600000);
    assert_string_equal(str(c, PODS "/p", "/status/phase"), "Running"); /* whatever happens there: it is not ended */
    assert_int_equal(sim_count(c->s, "/api/v1/namespaces/default/events", "/reason", "NodeNotReady"), 1);
    sim_partition(sim_agent_env(c->agents[1]), false);
    sim_run(c->s, 60000);
    assert_string_equal(ready(c, node), "True");
    assert_false(has_taint(c, node, "node.kubernetes.io/unreachable"));
    cluster_free(c);
}

static void test_fenced_node(void **state)
{
    struct cluster *c = cluster_new(&calm, 2);
    static const char node[] = NODES "/n001";
    static const char fence[] = "{\"spec\":{\"taints\":[{\"key\":\"node.kubernetes.io/out-of-service\",\"value\":"
                                "\"nodeshutdown\",\"effect\":\"NoExecute\"}]}}";

    make_pod(c, "p", "\"nodeSelector\":{\"kubernetes.io/hostname\":\"n001\"}", "");
    make_pod(c, "q", "\"nodeSelector\":{\"kubernetes.io/hostname\":\"n001\"}", "");
    make_pod(c, "other", "\"nodeSelector\":{\"kubernetes.io/hostname\":\"n000\"}", "");
    sim_run(c->s, 2000);
    c->agents[1] = sim_agent_kill(c->agents[1]);
    sim_delete(c->s, PODS "/q"); /* nobody is there to end it */
    sim_run(c->s, 120000);
    assert_string_equal(str(c, PODS "/p", "/status/phase"), "Running");
    assert_string_equal(str(c, PODS "/q", "/status/phase"), "Running");
    sim_patch(c->s, node, fence);
    sim_run(c->s, 5000);
    assert_string_equal(str(c, PODS "/p", "/status/phase"), "Failed");
    assert_string_equal(str(c, PODS "/p", "/status/reason"), "NodeLost");
    assert_string_equal(str(c, PODS "/q", "/metadata/name"), "");
    assert_string_equal(str(c, PODS "/other", "/status/phase"), "Running");
    cluster_free(c);
}

/* A new leader knows nothing of the past: it must not take nodes for dead. */
static void test_restarts_leave_nodes_alone(void **state)
{
    struct cluster *c = cluster_new(&calm, 5);

    for (int i = 0; i < 20; i++) {
        kill_controllers(c);
        start_controllers(c);
        sim_run(c->s, 13000);
        assert_int_equal(sim_count(c->s, NODES, "/status/conditions/0/status", "True"), 5);
    }
    cluster_free(c);
}

static void test_each_node_has_its_own_range(void **state)
{
    struct cluster *c = cluster_new(&calm, 120);
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

/* --- garbage --- */

/* A ConfigMap owned by another (owner NULL: by nobody). */
static void make_owned(struct cluster *c, const char *name, const char *owner, bool blocks)
{
    _cleanup_free_ char *target = xasprintf(CONFIGMAPS "/%s", owner ? owner : "none");
    _cleanup_free_ char *body =
        owner ? xasprintf("{\"metadata\":{\"name\":\"%s\",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\","
                          "\"name\":\"%s\",\"uid\":\"%s\",\"blockOwnerDeletion\":%s}]}}",
                          name, owner, str(c, target, "/metadata/uid"), blocks ? "true" : "false")
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
    struct cluster *c = cluster_new(&calm, 0);

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
    struct cluster *c = cluster_new(&calm, 0);

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
    struct cluster *c = cluster_new(&calm, 0);

    make_family(c);
    delete_with(c, "grandparent", "Orphan");
    sim_run(c->s, 5000);
    assert_false(there(c, "grandparent"));
    assert_true(there(c, "parent") && there(c, "child") && there(c, "cousin"));
    assert_string_equal(str(c, CONFIGMAPS "/parent", "/metadata/ownerReferences/0/uid"), "");
    assert_string_equal(str(c, CONFIGMAPS "/child", "/metadata/ownerReferences/0/name"), "parent");
    cluster_free(c);
}

static void test_second_owner_keeps_it(void **state)
{
    struct cluster *c = cluster_new(&calm, 0);

    make_owned(c, "a", NULL, false);
    make_owned(c, "b", NULL, false);
    make_owned(c, "child", "a", false);
    _cleanup_free_ char *both =
        xasprintf("{\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"a\",\"uid\":"
                  "\"%s\"},{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"b\",\"uid\":\"%s\"}]}}",
                  str(c, CONFIGMAPS "/a", "/metadata/uid"), str(c, CONFIGMAPS "/b", "/metadata/uid"));
    sim_patch(c->s, CONFIGMAPS "/child", both);
    sim_run(c->s, 1000);
    sim_delete(c->s, CONFIGMAPS "/a");
    sim_run(c->s, 5000);
    assert_true(there(c, "child"));
    assert_string_equal(str(c, CONFIGMAPS "/child", "/metadata/ownerReferences/0/name"), "b");
    assert_string_equal(str(c, CONFIGMAPS "/child", "/metadata/ownerReferences/1/name"), "");
    sim_delete(c->s, CONFIGMAPS "/b");
    sim_run(c->s, 5000);
    assert_false(there(c, "child"));
    cluster_free(c);
}

/* An owner of the same name that came later is not the owner. */
static void test_namesake_is_no_owner(void **state)
{
    struct cluster *c = cluster_new(&calm, 0);

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
    struct cluster *c = cluster_new(&rough, 0);
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
            kill_controllers(c);
            start_controllers(c);
        }
    }
    sim_run(c->s, 300000);
    assert_int_equal(sim_count(c->s, CONFIGMAPS, NULL, NULL), 40 * 5);
    cluster_free(c);
}

/* --- namespaces --- */

static void test_namespace_goes_with_all_in_it(void **state)
{
    struct cluster *c = cluster_new(&calm, 0);
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
    assert_string_equal(str(c, ns, "/status/phase"), "Terminating");
    assert_string_equal(str(c, ns, "/status/conditions/0/message"),
                        "Some resources are remaining: configmaps has 1 resource instances, "
                        "roles.rbac.authorization.k8s.io has 1 resource instances");
    assert_int_equal(sim_count(c->s, "/api/v1/namespaces/lab/secrets", NULL, NULL), 0);
    assert_int_equal(sim_count(c->s, "/apis/rbac.authorization.k8s.io/v1/namespaces/lab/roles", NULL, NULL), 1);
    sim_patch(c->s, "/api/v1/namespaces/lab/configmaps/b", "{\"metadata\":{\"finalizers\":[]}}");
    sim_run(c->s, 10000);
    assert_string_equal(str(c, ns, "/status/phase"), "");
    assert_int_equal(sim_count(c->s, "/api/v1/events", "/metadata/namespace", "lab"), 0);
    cluster_free(c);
}

/* --- volumes --- */

static void make_claim(struct cluster *c, const char *name, const char *class, const char *mode, const char *size)
{
    _cleanup_free_ char *body =
        xasprintf("{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"storageClassName\":\"%s\",\"accessModes\":[\"%s\"],"
                  "\"resources\":{\"requests\":{\"storage\":\"%s\"}}}}", name, class, mode, size);
    sim_post(c->s, CLAIMS, body);
}

static void test_shared_volume_is_made(void **state)
{
    struct cluster *c = cluster_new(&calm, 1);

    sim_patch(c->s, NODES "/n000", "{\"metadata\":{\"annotations\":{\"godwit.io/shared-directory\":\"/srv/shared\"}}}");
    sim_run(c->s, 1000);
    make_claim(c, "data", "shared", "ReadWriteMany", "1Gi");
    sim_run(c->s, 2000);
    assert_string_equal(str(c, CLAIMS "/data", "/status/phase"), "Bound");
    assert_string_equal(str(c, CLAIMS "/data", "/status/capacity/storage"), "1Gi");
    _cleanup_free_ char *volume = xasprintf(VOLUMES "/%s", str(c, CLAIMS "/data", "/spec/volumeName"));
    assert_string_equal(str(c, volume, "/status/phase"), "Bound");
    assert_string_equal(str(c, volume, "/spec/claimRef/name"), "data");
    assert_true(str_starts(str(c, volume, "/spec/hostPath/path"), "/srv/shared/pvc-"));
    sim_delete(c->s, CLAIMS "/data");
    sim_run(c->s, 2000);
    assert_int_equal(sim_count(c->s, CLAIMS, NULL, NULL), 0);
    assert_int_equal(sim_count(c->s, VOLUMES, NULL, NULL), 0);
    cluster_free(c);
}

#define USES(claim) "\"volumes\":[{\"name\":\"v\",\"persistentVolumeClaim\":{\"claimName\":\"" claim "\"}}]"

static void test_local_volume_follows_its_consumer(void **state)
{
    struct cluster *c = cluster_new(&calm, 3);

    make_claim(c, "disk", "local", "ReadWriteOnce", "1Gi");
    sim_run(c->s, 2000);
    assert_string_equal(str(c, CLAIMS "/disk", "/status/phase"), "Pending");
    assert_int_equal(sim_count(c->s, "/api/v1/namespaces/default/events", "/reason", "WaitForFirstConsumer"), 1);
    make_pod(c, "p", USES("disk") ",\"nodeSelector\":{\"kubernetes.io/hostname\":\"n002\"}", "");
    sim_run(c->s, 5000);
    assert_string_equal(str(c, PODS "/p", "/status/phase"), "Running");
    _cleanup_free_ char *volume = xasprintf(VOLUMES "/%s", str(c, CLAIMS "/disk", "/spec/volumeName"));
    assert_string_equal(str(c, volume, "/spec/nodeAffinity/required/nodeSelectorTerms/0/matchExpressions/0/values/0"), "n002");
    sim_delete(c->s, PODS "/p");
    sim_run(c->s, 2000);
    make_pod(c, "q", USES("disk"), "");
    make_pod(c, "r", USES("disk") ",\"nodeSelector\":{\"kubernetes.io/hostname\":\"n001\"}", "");
    sim_run(c->s, 5000);
    assert_string_equal(str(c, PODS "/q", "/spec/nodeName"), "n002");
    assert_string_equal(str(c, PODS "/r", "/status/conditions/0/message"),
                        "0/3 nodes are available: 1 node(s) had volume node affinity conflict, 2 node(s) didn't match Pod's "
                        "node affinity/selector.");
    cluster_free(c);
}

static void test_claim_in_use_stays(void **state)
{
    struct cluster *c = cluster_new(&calm, 1);

    make_claim(c, "data", "shared", "ReadWriteMany", "1Gi");
    make_pod(c, "p", USES("data"), "");
    sim_run(c->s, 5000);
    sim_delete(c->s, CLAIMS "/data");
    sim_run(c->s, 60000);
    assert_string_equal(str(c, CLAIMS "/data", "/status/phase"), "Bound");
    sim_delete(c->s, PODS "/p");
    sim_run(c->s, 5000);
    assert_string_equal(str(c, CLAIMS "/data", "/status/phase"), "");
    assert_int_equal(sim_count(c->s, VOLUMES, NULL, NULL), 0);
    cluster_free(c);
}

#define VMIS "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances"

/* A VM that runs is the consumer of a claim that is to be plugged into it, and has it until it says that it is out. */
static void test_claim_of_a_hot_volume(void **state)
{
    struct cluster *c = cluster_new(&calm, 3);

    make_claim(c, "disk", "local", "ReadWriteOnce", "1Gi");
    sim_post(c->s, VMIS,
             "{\"metadata\":{\"name\":\"vm1\"},\"spec\":{\"domain\":{\"memory\":{\"guest\":\"64Mi\"},\"devices\":{\"disks\":[{"
             "\"name\":\"hot\",\"disk\":{\"bus\":\"scsi\"}}]}},\"volumes\":[{\"name\":\"hot\",\"persistentVolumeClaim\":{"
             "\"claimName\":\"disk\",\"hotpluggable\":true}}]}}");
    sim_run(c->s, 2000);
    assert_string_equal(str(c, CLAIMS "/disk", "/status/phase"), "Pending");
    sim_patch(c->s, VMIS "/vm1",
              "{\"status\":{\"phase\":\"Running\",\"nodeName\":\"n001\",\"volumeStatus\":[{\"name\":\"hot\",\"target\":\"sda\","
              "\"phase\":\"Ready\",\"hotplugVolume\":{},\"persistentVolumeClaimInfo\":{\"claimName\":\"disk\"}}]}}");
    sim_run(c->s, 2000);
    assert_string_equal(str(c, CLAIMS "/disk", "/status/phase"), "Bound");
    _cleanup_free_ char *volume = xasprintf(VOLUMES "/%s", str(c, CLAIMS "/disk", "/spec/volumeName"));
    assert_string_equal(str(c, volume, "/spec/nodeAffinity/required/nodeSelectorTerms/0/matchExpressions/0/values/0"), "n001");
    sim_delete(c->s, CLAIMS "/disk");
    sim_patch(c->s, VMIS "/vm1", "{\"spec\":{\"domain\":{\"devices\":{\"disks\":[]}},\"volumes\":[]}}");
    sim_run(c->s, 60000);
    assert_string_equal(str(c, CLAIMS "/disk", "/status/phase"), "Bound"); /* the guest has it still */
    sim_patch(c->s, VMIS "/vm1", "{\"status\":{\"volumeStatus\":[]}}");
    sim_run(c->s, 5000);
    assert_string_equal(str(c, CLAIMS "/disk", "/status/phase"), "");
    cluster_free(c);
}

static void make_volume(struct cluster *c, const char *name, const char *size)
{
    _cleanup_free_ char *body =
        xasprintf("{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"storageClassName\":\"mine\",\"capacity\":{\"storage\":\"%s\"},"
                  "\"accessModes\":[\"ReadWriteMany\",\"ReadWriteOnce\"],\"hostPath\":{\"path\":\"/x\"}}}", name, size);
    sim_post(c->s, VOLUMES, body);
}

static void test_best_of_the_given_volumes(void **state)
{
    struct cluster *c = cluster_new(&calm, 0);

    make_volume(c, "small", "1Gi");
    make_volume(c, "large", "100Gi");
    make_volume(c, "medium", "10Gi");
    sim_run(c->s, 1000);
    assert_string_equal(str(c, VOLUMES "/small", "/status/phase"), "Available");
    make_claim(c, "a", "mine", "ReadWriteOnce", "5Gi");
    make_claim(c, "b", "mine", "ReadWriteOnce", "5Gi");
    make_claim(c, "none", "mine", "ReadWriteOnce", "500Gi");
    sim_run(c->s, 5000);
    assert_string_equal(str(c, CLAIMS "/none", "/status/phase"), "Pending");
    assert_string_equal(str(c, VOLUMES "/small", "/status/phase"), "Available");
    assert_int_equal(sim_count(c->s, VOLUMES, "/status/phase", "Bound"), 2);
    assert_int_equal(sim_count(c->s, CLAIMS, "/status/phase", "Bound"), 2);
    _cleanup_free_ char *bound = xstrdup(str(c, CLAIMS "/a", "/spec/volumeName"));
    sim_delete(c->s, CLAIMS "/a");
    sim_run(c->s, 5000);
    _cleanup_free_ char *target = xasprintf(VOLUMES "/%s", bound);
    assert_string_equal(str(c, target, "/status/phase"), "Released"); /* Retain: its data are kept */
    cluster_free(c);
}

static void test_what_cannot_be_made(void **state)
{
    struct cluster *c = cluster_new(&calm, 1);
    static const struct {
        const char *name, *class, *mode, *reason;
    } rows[] = {
        {"a", "nosuch", "ReadWriteOnce", "ProvisioningFailed"},
        {"b", "", "ReadWriteOnce", "FailedBinding"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        make_claim(c, rows[i].name, rows[i].class, rows[i].mode, "1Gi");
        sim_run(c->s, 2000);
        assert_int_equal(sim_count(c->s, "/api/v1/namespaces/default/events", "/reason", rows[i].reason), 1);
    }
    make_claim(c, "rwx", "local", "ReadWriteMany", "1Gi");
    make_pod(c, "p", USES("rwx"), "");
    make_pod(c, "q", USES("absent"), "");
    sim_run(c->s, 5000);
    assert_int_equal(sim_count(c->s, "/api/v1/namespaces/default/events", "/reason", "ProvisioningFailed"), 2);
    assert_int_equal(sim_count(c->s, VOLUMES, NULL, NULL), 0);
    assert_string_equal(str(c, PODS "/q", "/status/conditions/0/message"),
                        "0/1 nodes are available: persistentvolumeclaim \"absent\" not found.");
    cluster_free(c);
}

static void test_volumes_in_rough_weather(void **state)
{
    struct cluster *c = cluster_new(&rough, 3);
    char name[16];

    for (int i = 0; i < 40; i++) {
        sprintf(name, "c%d", i);
        make_claim(c, name, "shared", "ReadWriteMany", "1Gi");
        sim_run(c->s, 100);
        if (i % 10 == 5) {
            kill_controllers(c);
            start_controllers(c);
        }
    }
    sim_run(c->s, 180000);
    assert_int_equal(sim_count(c->s, CLAIMS, "/status/phase", "Bound"), 40);
    assert_int_equal(sim_count(c->s, VOLUMES, "/status/phase", "Bound"), 40);
    assert_int_equal(sim_count(c->s, VOLUMES, NULL, NULL), 40);
    cluster_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_node_gets_its_share),
        cmocka_unit_test(test_no_room_until_there_is),
        cmocka_unit_test(test_room_is_reused),
        cmocka_unit_test(test_placing_in_rough_weather),
        cmocka_unit_test(test_silent_node),
        cmocka_unit_test(test_fenced_node),
        cmocka_unit_test(test_restarts_leave_nodes_alone),
        cmocka_unit_test(test_each_node_has_its_own_range),
        cmocka_unit_test(test_background_deletion),
        cmocka_unit_test(test_foreground_deletion),
        cmocka_unit_test(test_orphaning),
        cmocka_unit_test(test_second_owner_keeps_it),
        cmocka_unit_test(test_namesake_is_no_owner),
        cmocka_unit_test(test_garbage_in_rough_weather),
        cmocka_unit_test(test_namespace_goes_with_all_in_it),
        cmocka_unit_test(test_shared_volume_is_made),
        cmocka_unit_test(test_local_volume_follows_its_consumer),
        cmocka_unit_test(test_claim_in_use_stays),
        cmocka_unit_test(test_claim_of_a_hot_volume),
        cmocka_unit_test(test_best_of_the_given_volumes),
        cmocka_unit_test(test_what_cannot_be_made),
        cmocka_unit_test(test_volumes_in_rough_weather),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
