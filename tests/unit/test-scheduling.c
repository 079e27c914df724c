#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "api/quantity.h"
#include "api/yaml.h"
#include "base/alloc.h"
#include "scheduling/scheduling.h"

VEC_DEFINE(doc_vec, yyjson_doc *);

/* What a test builds up; texts are YAML in one line. */
struct world {
    struct sched_state state;
    struct doc_vec docs;
};

static yyjson_val *object(struct world *w, const char *text)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    yyjson_doc *doc = NULL;

    if (yaml_parse(text, strlen(text), &doc, &err) < 0)
        fail_msg("%s: %s", text, err.message);
    doc_vec_push(&w->docs, doc);
    return yyjson_doc_get_root(doc);
}

static int set_up(void **state)
{
    *state = xnew(struct world);
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    sched_state_done(&w->state);
    VEC_EACH(&w->docs, d)
        yyjson_doc_free(*d);
    doc_vec_done(&w->docs);
    free(w);
    return 0;
}

#define READY "conditions: [{type: Ready, status: 'True'}]"

/* A ready node with labels, 4 cpu, 8Gi, 10 pods; more is added to spec. */
static void node(struct world *w, const char *name, const char *labels, const char *spec)
{
    _cleanup_free_ char *text = xasprintf("{metadata: {name: %s, labels: {kubernetes.io/hostname: %s, %s}}, spec: {%s}, status: "
                                          "{allocatable: {cpu: 4, memory: 8Gi, pods: 10, devices.kubevirt.io/kvm: 1k}, " READY "}}",
                                          name, name, labels, spec);

    sched_add_node(&w->state, object(w, text), NULL);
}

static yyjson_val *pod(struct world *w, const char *name, const char *labels, const char *spec, const char *requests)
{
    _cleanup_free_ char *text = xasprintf("{metadata: {name: %s, namespace: default, labels: {%s}}, spec: {%s%s"
                                          "containers: [{name: compute, resources: {requests: {%s}}}]}}",
                                          name, labels, spec, *spec ? ", " : "", requests);

    return object(w, text);
}

static void placed(struct world *w, const char *name, const char *labels, const char *spec, const char *requests,
                   const char *on)
{
    sched_add_pod(&w->state, pod(w, name, labels, spec, requests), on);
}

/* The node that the pod gets, or why it gets none. */
static void expect(struct world *w, yyjson_val *p, const char *want)
{
    struct sched_request req = {.pod = p};
    _cleanup_str_ struct str why = {0};
    ssize_t at = sched_pick(&w->state, &req, 0, &why);

    assert_string_equal(at >= 0 ? w->state.nodes.items[at].name : str_text(&why), want);
    assert_true(at < 0 || why.len == 0);
}

static void three_nodes(struct world *w)
{
    node(w, "a", "zone: x", "");
    node(w, "b", "zone: x", "");
    node(w, "c", "zone: y", "");
}

/* --- resources --- */

static void test_requests(void **state)
{
    struct world *w = *state;
    struct resource_vec r = {0};

    sched_pod_requests(object(w, "{spec: {overhead: {memory: 1Mi}, containers: [{resources: {requests: {cpu: 500m, memory: 1Gi}}}, "
                                 "{resources: {limits: {cpu: 2, x/y: 3}, requests: {cpu: 1.5}}}], initContainers: "
                                 "[{resources: {requests: {memory: 3Gi, cpu: 100m}}}]}}"),
                       &r);
    assert_int_equal(resource_get(&r, "cpu"), 2000);
    assert_int_equal(resource_get(&r, "memory"), (3ll << 30) + (1 << 20));
    assert_int_equal(resource_get(&r, "x/y"), 3);
    assert_int_equal(resource_get(&r, "none"), 0);
    resource_vec_done(&r);
}

static void test_no_nodes(void **state)
{
    struct world *w = *state;

    expect(w, pod(w, "p", "", "", "cpu: 1"), "no nodes available to schedule pods");
}

static void test_room(void **state)
{
    struct world *w = *state;

    three_nodes(w);
    placed(w, "big", "", "", "memory: 6Gi", "a");
    placed(w, "fat", "", "", "cpu: 3900m", "b");
    expect(w, pod(w, "p", "", "", "memory: 4Gi, cpu: 200m"), "c");
    placed(w, "last", "", "", "memory: 1", "c");
    expect(w, pod(w, "p", "", "", "memory: 8Gi, cpu: 1"),
           "0/3 nodes are available: 1 Insufficient cpu, 2 Insufficient memory.");
}

/* --- the ledger --- */

static yyjson_val *bound(struct world *w, const char *on, const char *phase, int memory_gi)
{
    _cleanup_free_ char *text = xasprintf("{metadata: {name: x}, spec: {nodeName: '%s', containers: [{resources: {requests: "
                                          "{memory: %dGi}}}]}, status: {phase: %s}}", on, memory_gi, phase);

    return object(w, text);
}

/* A node of that name with what the ledger says of it. */
static void ledger_node(struct world *w, const struct sched_ledger *l, const char *name)
{
    _cleanup_free_ char *text = xasprintf("{metadata: {name: %s}, status: {allocatable: {memory: 8Gi, pods: 2}, " READY "}}", name);

    sched_state_done(&w->state);
    sched_add_node(&w->state, object(w, text), l);
}

static void test_final_pods_take_no_room(void **state)
{
    static const char full[] = "0/1 nodes are available: 1 Insufficient memory.";
    struct sched_ledger *l = sched_ledger_new();
    struct world *w = *state;
    yyjson_val *running = bound(w, "a", "Running", 8), *over = bound(w, "a", "Succeeded", 8);

    sched_ledger_change(l, NULL, over);
    ledger_node(w, l, "a");
    expect(w, pod(w, "p", "", "", "memory: 8Gi"), "a");
    sched_ledger_change(l, NULL, running);
    ledger_node(w, l, "a");
    expect(w, pod(w, "p", "", "", "memory: 1"), full);
    sched_ledger_change(l, running, over);
    ledger_node(w, l, "a");
    expect(w, pod(w, "p", "", "", "memory: 8Gi"), "a");
    sched_ledger_free(l);
}

static void test_ledger_counts_pods(void **state)
{
    struct sched_ledger *l = sched_ledger_new();
    struct world *w = *state;

    sched_ledger_change(l, NULL, bound(w, "a", "Running", 1));
    sched_ledger_change(l, NULL, bound(w, "a", "Pending", 1));
    ledger_node(w, l, "a");
    expect(w, pod(w, "p", "", "", ""), "0/1 nodes are available: 1 Too many pods.");
    ledger_node(w, l, "b");
    expect(w, pod(w, "p", "", "", "memory: 8Gi"), "b");
    sched_add_pod(&w->state, pod(w, "q", "", "", "memory: 1Gi"), "b"); /* on top of what the ledger has */
    expect(w, pod(w, "p", "", "", "memory: 8Gi"), "0/1 nodes are available: 1 Insufficient memory.");
    sched_ledger_free(l);
}

/* Pods that come, change and go by chance: each node's sum is always that of the pods which are there. */
static void test_ledger_agrees_with_its_pods(void **state)
{
    static const char *const places[] = {"a", "b", "c", ""}, *const phases[] = {"Pending", "Running", "Failed"};
    enum { PODS = 12 };
    struct sched_ledger *l = sched_ledger_new();
    struct world *w = *state;
    yyjson_val *pods[PODS] = {0};

    srandom(1);
    for (int round = 0; round < 400; round++) {
        yyjson_val **p = &pods[random() % PODS];
        yyjson_val *now = random() % 3 ? bound(w, places[random() % 4], phases[random() % 3], (int)(random() % 3)) : NULL;
        sched_ledger_change(l, *p, now);
        *p = now;
        for (size_t i = 0; i < 3; i++) {
            int64_t n = 0, memory = 0;
            for (size_t k = 0; k < PODS; k++)
                if (sched_takes_room(pods[k]) && streq(json_str(pods[k], "/spec/nodeName"), places[i])) {
                    n++;
                    memory += quantity_text_value(json_str(pods[k], "/spec/containers/0/resources/requests/memory"), 0);
                }
            ledger_node(w, l, places[i]);
            assert_int_equal(w->state.nodes.items[0].n_pods, n);
            assert_int_equal(resource_get(&w->state.nodes.items[0].requested, "memory"), memory);
        }
    }
    for (size_t k = 0; k < PODS; k++)
        sched_ledger_change(l, pods[k], NULL);
    ledger_node(w, l, "a");
    assert_int_equal(w->state.nodes.items[0].n_pods, 0);
    assert_int_equal(w->state.nodes.items[0].requested.len, 0);
    sched_ledger_free(l);
}

/* A neighbour is there for those who ask for it, and takes no room a second time. */
static void test_neighbours_take_no_room(void **state)
{
    struct sched_ledger *l = sched_ledger_new();
    struct world *w = *state;
    yyjson_val *there = bound(w, "a", "Running", 5);

    sched_ledger_change(l, NULL, there);
    ledger_node(w, l, "a");
    sched_add_neighbour(&w->state, there);
    sched_add_neighbour(&w->state, bound(w, "a", "Failed", 5));
    sched_add_neighbour(&w->state, bound(w, "nowhere", "Running", 5));
    assert_int_equal(w->state.pods.len, 1);
    expect(w, pod(w, "p", "", "", "memory: 3Gi"), "a");
    sched_ledger_free(l);
}

static void test_too_many_pods(void **state)
{
    struct world *w = *state;

    node(w, "a", "", "");
    for (int i = 0; i < 10; i++)
        placed(w, "x", "", "", "", "a");
    expect(w, pod(w, "p", "", "", "memory: 9Gi"), "0/1 nodes are available: 1 Insufficient memory, 1 Too many pods.");
}

static void test_devices(void **state)
{
    struct world *w = *state;

    node(w, "a", "", "");
    expect(w, pod(w, "p", "", "", "devices.kubevirt.io/kvm: 1"), "a");
    expect(w, pod(w, "p", "", "", "devices.kubevirt.io/tun: 1"),
           "0/1 nodes are available: 1 Insufficient devices.kubevirt.io/tun.");
}

/* --- nodes --- */

static void test_node_states(void **state)
{
    struct world *w = *state;

    node(w, "cordoned", "", "unschedulable: true");
    node(w, "tainted", "", "taints: [{key: k, value: v, effect: NoSchedule}]");
    sched_add_node(&w->state, object(w, "{metadata: {name: late}, status: {conditions: [{type: Ready, status: Unknown}]}}"), NULL);
    sched_add_node(&w->state, object(w, "{metadata: {name: new}}"), NULL);
    expect(w, pod(w, "p", "", "", ""),
           "0/4 nodes are available: 1 node(s) had untolerated taint {k: v}, 1 node(s) were unschedulable, 2 node(s) were "
           "not ready.");
    expect(w, pod(w, "p", "", "tolerations: [{key: k, operator: Exists}]", ""), "tainted");
    expect(w, pod(w, "p", "", "tolerations: [{key: node.kubernetes.io/unschedulable, operator: Exists}]", ""), "cordoned");
}

static void test_node_selection(void **state)
{
    static const struct {
        const char *spec, *want;
    } rows[] = {
        {"nodeSelector: {zone: y}", "c"},
        {"nodeSelector: {zone: y, disk: ssd}", ""},
        {"affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: "
         "[{key: zone, operator: NotIn, values: [x]}]}]}}}", "c"},
        {"affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: "
         "[{key: gpu, operator: Exists}]}, {matchFields: [{key: metadata.name, operator: In, values: [b]}]}]}}}", "b"},
        {"affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: "
         "[{key: rank, operator: Gt, values: ['5']}]}]}}}", "c"},
        {"nodeSelector: {zone: x}, affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: "
         "{nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: NotIn, values: [a]}]}]}}}", "b"},
        {"affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{}]}}}", ""},
        {"affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 10, preference: "
         "{matchExpressions: [{key: zone, operator: In, values: [y]}]}}]}}", "c"},
    };
    struct world *w = *state;

    node(w, "a", "zone: x, rank: '3'", "");
    node(w, "b", "zone: x, rank: '5'", "");
    node(w, "c", "zone: y, rank: '10'", "");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        expect(w, pod(w, "p", "", rows[i].spec, ""),
               *rows[i].want ? rows[i].want
                             : "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.");
}

static void test_tolerations(void **state)
{
    static const struct {
        const char *toleration, *taint;
        bool want;
    } rows[] = {
        {"{key: a, operator: Equal, value: b, effect: NoSchedule}", "{key: a, value: b, effect: NoSchedule}", true},
        {"{key: a, value: b}", "{key: a, value: b, effect: NoExecute}", true},
        {"{key: a, value: c}", "{key: a, value: b, effect: NoExecute}", false},
        {"{key: a, operator: Exists}", "{key: a, value: b, effect: NoExecute}", true},
        {"{key: a, operator: Exists, effect: NoSchedule}", "{key: a, effect: NoExecute}", false},
        {"{operator: Exists}", "{key: any, value: b, effect: NoExecute}", true},
        {"{key: x, operator: Exists}", "{key: a, effect: NoSchedule}", false},
        {"{}", "{key: a, effect: NoSchedule}", false},
        {"{key: a}", "{key: a, effect: NoSchedule}", true},
    };
    struct world *w = *state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *list = xasprintf("[%s]", rows[i].toleration);
        assert_int_equal(sched_tolerates(object(w, list), object(w, rows[i].taint)), rows[i].want);
    }
}

/* --- pods among each other --- */

#define NOT_NEAR(labels, key) \
    "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {" labels \
    "}}, topologyKey: " key "}]}}"
#define NEAR(labels, key) \
    "affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {" labels \
    "}}, topologyKey: " key "}]}}"

/* A migration's target pod never goes where the source is. */
static void test_anti_affinity_by_host(void **state)
{
    struct world *w = *state;
    yyjson_val *target =
        pod(w, "target", "kubevirt.io/created-by: u1", NOT_NEAR("kubevirt.io/created-by: u1", "kubernetes.io/hostname"), "");

    node(w, "a", "", "");
    placed(w, "source", "kubevirt.io/created-by: u1", "", "", "a");
    expect(w, target, "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules.");
    node(w, "b", "", "");
    expect(w, target, "b");
}

static void test_anti_affinity_by_zone(void **state)
{
    struct world *w = *state;

    three_nodes(w);
    placed(w, "one", "app: db", "", "", "a");
    expect(w, pod(w, "p", "", NOT_NEAR("app: db", "zone"), ""), "c");
}

static void test_anti_affinity_of_those_already_there(void **state)
{
    struct world *w = *state;

    three_nodes(w);
    placed(w, "hermit", "", NOT_NEAR("app: web", "zone"), "", "b");
    expect(w, pod(w, "p", "app: web", "", ""), "c");
    placed(w, "other", "", NOT_NEAR("app: web", "zone"), "", "c");
    expect(w, pod(w, "p", "app: web", "", ""),
           "0/3 nodes are available: 3 node(s) didn't satisfy existing pods anti-affinity rules.");
    expect(w, pod(w, "q", "app: other", "", ""), "a");
}

static void test_affinity(void **state)
{
    struct world *w = *state;

    three_nodes(w);
    expect(w, pod(w, "p", "", NEAR("app: db", "zone"), ""),
           "0/3 nodes are available: 3 node(s) didn't match pod affinity rules.");
    expect(w, pod(w, "p", "app: db", NEAR("app: db", "zone"), ""), "a"); /* the first of its kind may begin anywhere */
    placed(w, "db", "app: db", "", "", "c");
    expect(w, pod(w, "p", "", NEAR("app: db", "zone"), ""), "c");
    expect(w, pod(w, "p", "app: db", NEAR("app: db", "zone"), ""), "c");
    expect(w, pod(w, "p", "", NEAR("app: db", "rack"), ""),
           "0/3 nodes are available: 3 node(s) didn't match pod affinity rules.");
}

static void test_preferred_pod_affinity(void **state)
{
    struct world *w = *state;
    const char *away = "affinity: {podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 50, "
                       "podAffinityTerm: {labelSelector: {matchLabels: {app: db}}, topologyKey: zone}}]}}";
    const char *near = "affinity: {podAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 100, "
                       "podAffinityTerm: {labelSelector: {matchLabels: {app: db}}, topologyKey: zone}}]}}";

    three_nodes(w);
    placed(w, "db", "app: db", "", "", "a");
    placed(w, "x", "", "", "", "b");
    placed(w, "y", "", "", "", "c");
    expect(w, pod(w, "p", "", away, ""), "c");
    placed(w, "z", "", "", "", "a");
    placed(w, "z", "", "", "", "a");
    expect(w, pod(w, "p", "", near, ""), "b");
}

/* Node a is the better one by far, so it is taken unless the pod there is one of those meant. */
static void test_namespaces(void **state)
{
    struct world *w = *state;
    static const struct {
        const char *which, *want;
    } rows[] = {
        {"namespaces: []", "a"},
        {"namespaces: [lab]", "b"},
        {"namespaceSelector: {}", "b"},
        {"namespaceSelector: {matchLabels: {team: red}}", "b"},
        {"namespaceSelector: {matchLabels: {team: blue}}", "a"},
        {"namespaces: [lab], namespaceSelector: {matchLabels: {team: blue}}", "b"},
    };

    node(w, "a", "", "");
    node(w, "b", "", "taints: [{key: k, effect: PreferNoSchedule}, {key: l, effect: PreferNoSchedule}]");
    sched_add_namespace(&w->state, object(w, "{metadata: {name: lab, labels: {team: red}}}"));
    sched_add_pod(&w->state, object(w, "{metadata: {name: x, namespace: lab}, spec: {containers: []}}"), "a");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *spec =
            xasprintf("affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: "
                      "kubernetes.io/hostname, labelSelector: {}, %s}]}}", rows[i].which);
        expect(w, pod(w, "p", "", spec, ""), rows[i].want);
    }
}

/* --- volumes --- */

static void test_volumes(void **state)
{
    struct world *w = *state;
    struct sched_request req = {.pod = pod(w, "p", "", "", "")};
    _cleanup_str_ struct str why = {0};

    three_nodes(w);
    affinity_vec_push(&req.volume_affinities, object(w, "{nodeSelectorTerms: [{matchExpressions: [{key: "
                                                        "kubernetes.io/hostname, operator: In, values: [b]}]}]}"));
    assert_int_equal(sched_pick(&w->state, &req, 0, &why), 1);
    affinity_vec_push(&req.volume_affinities, object(w, "{nodeSelectorTerms: [{matchExpressions: [{key: "
                                                        "zone, operator: In, values: [y]}]}]}"));
    assert_int_equal(sched_pick(&w->state, &req, 0, &why), -1);
    assert_string_equal(str_text(&why), "0/3 nodes are available: 3 node(s) had volume node affinity conflict.");
    affinity_vec_done(&req.volume_affinities);
    str_done(&why);
    req.blocked = "pod has unbound immediate PersistentVolumeClaims";
    assert_int_equal(sched_pick(&w->state, &req, 0, &why), -1);
    assert_string_equal(str_text(&why), "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.");
}

/* --- scores --- */

static void test_spread(void **state)
{
    struct world *w = *state;
    int count[3] = {0};

    three_nodes(w);
    for (int i = 0; i < 24; i++) {
        struct sched_request req = {.pod = pod(w, "p", "", "", "cpu: 100m, memory: 64Mi")};
        ssize_t at = sched_pick(&w->state, &req, (uint64_t)i * 7919, NULL);
        assert_true(at >= 0);
        count[at]++;
        sched_add_pod(&w->state, req.pod, w->state.nodes.items[at].name);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(count[i], 8);
}

static void test_ties_are_broken_by_chance(void **state)
{
    struct world *w = *state;
    struct sched_request req = {.pod = pod(w, "p", "", "", "")};

    three_nodes(w);
    for (uint64_t i = 0; i < 3; i++)
        assert_int_equal(sched_pick(&w->state, &req, i, NULL), i);
}

static void test_preferred_taints(void **state)
{
    struct world *w = *state;

    node(w, "a", "", "taints: [{key: k, effect: PreferNoSchedule}]");
    node(w, "b", "", "");
    placed(w, "x", "", "", "", "b");
    expect(w, pod(w, "p", "", "", ""), "a"); /* empty, and one soft taint weighs less */
    placed(w, "y", "", "", "", "a");
    expect(w, pod(w, "p", "", "", ""), "b");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_requests),
        T(test_no_nodes),
        T(test_room),
        T(test_final_pods_take_no_room),
        T(test_ledger_counts_pods),
        T(test_ledger_agrees_with_its_pods),
        T(test_neighbours_take_no_room),
        T(test_too_many_pods),
        T(test_devices),
        T(test_node_states),
        T(test_node_selection),
        T(test_tolerations),
        T(test_anti_affinity_by_host),
        T(test_anti_affinity_by_zone),
        T(test_anti_affinity_of_those_already_there),
        T(test_affinity),
        T(test_preferred_pod_affinity),
        T(test_namespaces),
        T(test_volumes),
        T(test_spread),
        T(test_ties_are_broken_by_chance),
        T(test_preferred_taints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
