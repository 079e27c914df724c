/* Nodes of a fleet are emptied, one after the other and several at once, the way kubectl drain does it: cordon, evict each
 * pod, try again after 5 s when told 429, and wait until the pod is gone. Meanwhile copies break, target pods fail, agents
 * and controllers are killed, messages are lost. Whatever happens:
 *
 *   - each drain ends, and then no pod of the node runs;
 *   - no guest runs twice at any instant (fleet.c), and none is lost;
 *   - nobody is left with a mark, a condition or a migration under way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "api/meta.h"
#include "base/alloc.h"
#include "base/str.h"
#include "controllers/kubevirt.h"
#include "fleet.h"

#define NODES 50
#define VMS 150
#define NS "/namespaces/default"
#define VMIS "/apis/kubevirt.io/v1" NS "/virtualmachineinstances"
#define VMIMS "/apis/kubevirt.io/v1" NS "/virtualmachineinstancemigrations"
#define PODS "/api/v1" NS "/pods"
#define RETRY_MS 5000 /* kubectl's */
#define HOUR_MS 3600000

static const struct controller *const table[] = {&vmi_controller, &migration_controller, &evacuation_controller, NULL};

struct world {
    struct sim *s;
    struct fleet *fleet;
    struct env *env;
    struct controllers *controllers;
};

static void start_controllers(struct world *w)
{
    w->env = sim_process(w->s, "system:godwit:controllers", "system:godwit:controllers");
    w->controllers = controllers_start(w->env, table);
}

static void kill_controllers(struct world *w)
{
    controllers_stop(w->controllers);
    sim_process_end(w->env);
}

static bool all_run(void *userdata)
{
    return fleet_running(((struct world *)userdata)->fleet) == VMS;
}

static void make_vms(struct world *w)
{
    for (int i = 0; i < VMS; i++) {
        _cleanup_free_ char *body = xasprintf(
            "{\"metadata\":{\"name\":\"vm%d\"},\"spec\":{\"evictionStrategy\":\"%s\",\"domain\":{\"devices\":{},\"memory\":{\"guest\":\"64Mi\"}}}}",
            i, i % 3 ? "LiveMigrate" : "LiveMigrateIfPossible");
        sim_post(w->s, VMIS, body);
    }
}

static int set_up(void **state)
{
    struct world *w = xnew(struct world);

    w->s = sim_new(&(struct sim_config){.seed = 8, .delay_ms = {1, 20}, .lose_request = 2, .lose_answer = 2, .cut_watch = 1,
                                        .repeat_event = 20, .late_event_ms = 100});
    sim_patch(w->s, "/apis/kubevirt.io/v1/namespaces/kubevirt/kubevirts/kubevirt",
              "{\"spec\":{\"configuration\":{\"migrations\":{\"parallelMigrationsPerCluster\":10,\"parallelOutboundMigrationsPerNode\":3}}}}");
    w->fleet = fleet_new(w->s, &(struct fleet_config){.nodes = NODES, .copy_ms = {500, 20000}, .target_fails = 50, .copy_fails = 100,
                                                      .target_dies = 50, .agent_restarts = 10});
    start_controllers(w);
    make_vms(w);
    assert_true(sim_run_until(w->s, 600000, all_run, w));
    sim_run(w->s, 5000);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    kill_controllers(w);
    fleet_free(w->fleet);
    sim_free(w->s);
    free(w);
    return 0;
}

/* --- kubectl drain --- */

/* One round over the pods of the nodes [from, to): true if nothing is left there. */
static bool evict_all(struct world *w, int from, int to)
{
    _cleanup_doc_ yyjson_doc *list = sim_get(w->s, PODS);
    bool empty = true;
    yyjson_val *pod;

    json_each(json_at(yyjson_doc_get_root(list), "/items"), pod) {
        int node = -1;
        if (sscanf(json_str_or(pod, "/spec/nodeName", ""), "n%d", &node) != 1 || node < from || node >= to)
            continue;
        _cleanup_free_ char *target = xasprintf(PODS "/%s/eviction", meta_name(pod));
        yyjson_doc_free(sim_do(w->s, is_final(pod) || meta_deleting(pod) ? 0 : 429, "POST", target,
                               "{\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\"}"));
        empty = false;
    }
    return empty;
}

static void drain(struct world *w, int from, int to)
{
    int64_t rounds = 0;

    for (int i = from; i < to; i++)
        fleet_cordon(w->fleet, i, true);
    while (!evict_all(w, from, to)) {
        sim_run(w->s, RETRY_MS);
        if (++rounds % 5 == 0) {
            kill_controllers(w);
            start_controllers(w);
        }
        assert_true(rounds * RETRY_MS < HOUR_MS);
    }
    for (int i = from; i < to; i++)
        fleet_cordon(w->fleet, i, false);
}

static size_t count_marks(struct world *w)
{
    _cleanup_doc_ yyjson_doc *list = sim_get(w->s, VMIS);
    size_t n = 0;
    yyjson_val *vmi;

    json_each(json_at(yyjson_doc_get_root(list), "/items"), vmi)
        n += json_str(vmi, "/status/evacuationNodeName") || condition_find(vmi, "EvictionRequested") ||
             meta_annotation(vmi, "godwit.io/cordoned-node");
    return n;
}

static size_t count_unfinished(struct world *w)
{
    _cleanup_doc_ yyjson_doc *list = sim_get(w->s, VMIMS);
    size_t n = 0;
    yyjson_val *migration;

    json_each(json_at(yyjson_doc_get_root(list), "/items"), migration)
        n += !is_final(migration);
    return n;
}

static void expect_calm(struct world *w)
{
    printf("%zu migrations succeeded, %zu failed (of those that are kept); %lld virtual s\n",
           sim_count(w->s, VMIMS, "/status/phase", "Succeeded"), sim_count(w->s, VMIMS, "/status/phase", "Failed"),
           (long long)virtual_now(sim_time(w->s)) / 1000);
    sim_run(w->s, 60000);
    assert_int_equal(count_marks(w), 0);
    assert_int_equal(count_unfinished(w), 0);
    assert_int_equal(fleet_running(w->fleet), VMS);
    assert_int_equal(fleet_lost(w->fleet), 0);
}

/* --- tests --- */

static void test_one_node_after_the_other(void **state)
{
    struct world *w = *state;

    for (int node = 0; node < 6; node++)
        drain(w, node, node + 1);
    expect_calm(w);
    assert_true(sim_count(w->s, VMIMS, "/status/phase", "Failed") > 0); /* it was not easy */
}

static void test_a_rack_at_once(void **state)
{
    struct world *w = *state;

    drain(w, 0, 15);
    expect_calm(w);
}

/* Given up in the middle: what had begun ends, the rest stays where it is. */
static void test_given_up(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < 15; i++)
        fleet_cordon(w->fleet, i, true);
    assert_false(evict_all(w, 0, 15));
    sim_run(w->s, 2000);
    size_t begun = count_unfinished(w);
    for (int i = 0; i < 15; i++)
        fleet_cordon(w->fleet, i, false);
    sim_run(w->s, 2000);
    assert_true(count_unfinished(w) < begun);
    expect_calm(w);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_one_node_after_the_other), TEST(test_a_rack_at_once), TEST(test_given_up)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
