/* Migrations under their controller, with scheduler and agents played by hand: each step of docs/handover.md that concerns
 * the controller. Thousands at once: test-sim-fleet.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "controllers/kubernetes.h"
#include "controllers/kubevirt.h"
#include "world.h"

#define STATE "/status/migrationState"

static const struct controller *const table[] = {&vmi_controller, &migration_controller, &node_controller, NULL};

static const char *vmi(struct world *w, const char *path)
{
    return world_get(w, VMIS "/vm1", path);
}

static const char *vmim(struct world *w, const char *path)
{
    return world_get(w, VMIMS "/m1", path);
}

static void patch_state(struct world *w, const char *state)
{
    _cleanup_free_ char *body = xasprintf("{\"status\":{\"migrationState\":%s}}", state);

    world_patch(w, VMIS "/vm1", body);
}

static int set_up(void **state)
{
    struct world *w = world_new(11, table);

    sim_post(w->s, VMIS, "{\"metadata\":{\"name\":\"vm1\",\"labels\":{\"app\":\"web\"}},\"spec\":{\"nodeSelector\":{\"disk\":\"fast\"},\"domain\":{\"devices\":"
                         "{\"interfaces\":[{\"name\":\"default\",\"masquerade\":{}}]},\"memory\":{\"guest\":\"64Mi\"}},\"networks\":"
                         "[{\"name\":\"default\",\"pod\":{}}]}}");
    sim_run(w->s, 1000);
    world_run_pod(w, "vm1", false, "n1");
    world_patch(w, VMIS "/vm1", "{\"status\":{\"phase\":\"Running\",\"nodeName\":\"n1\",\"machine\":{\"type\":\"pc-q35-10.0\"}}}");
    *state = w;
    return 0;
}

static void migrate(struct world *w)
{
    sim_post(w->s, VMIMS, "{\"metadata\":{\"name\":\"m1\"},\"spec\":{\"vmiName\":\"vm1\",\"addedNodeSelector\":{\"disk\":\"slow\",\"rack\":\"7\"}}}");
    sim_run(w->s, 1000);
}

static void hand_off(struct world *w)
{
    migrate(w);
    world_run_pod(w, "vm1", true, "n2");
    assert_string_equal(vmim(w, "/status/phase"), "PreparingTarget");
}

static void copy(struct world *w)
{
    hand_off(w);
    patch_state(w, "{\"targetNodeAddress\":\"10.244.2.3\",\"targetDirectMigrationNodePorts\":{\"49152\":49152}}");
    assert_string_equal(vmim(w, "/status/phase"), "TargetReady");
    patch_state(w, "{\"startTimestamp\":\"2025-12-01T00:00:10Z\",\"mode\":\"PreCopy\"}");
    assert_string_equal(vmim(w, "/status/phase"), "Running");
}

static void claim(struct world *w)
{
    world_patch(w, VMIS "/vm1", "{\"metadata\":{\"labels\":{\"kubevirt.io/nodeName\":\"n2\"}},\"status\":{\"nodeName\":\"n2\",\"migrationState\":"
                          "{\"handover\":{\"claim\":{\"epoch\":1,\"node\":\"n2\"}},\"completed\":true,\"endTimestamp\":\"2025-12-01T00:00:20Z\"}}}");
}

static void declare_dead(struct world *w, const char *node)
{
    _cleanup_free_ char *target = xasprintf(NODES "/%s", node);

    sim_run(w->s, 45000); /* its lease is not renewed */
    world_patch(w, target, "{\"spec\":{\"taints\":[{\"key\":\"node.kubernetes.io/out-of-service\",\"effect\":\"NoExecute\"}]}}");
}

/* --- tests --- */

static void test_target_pod(void **state)
{
    struct world *w = *state;

    migrate(w);
    assert_string_equal(vmim(w, "/status/phase"), "Scheduling");
    assert_true(world_find_pod(w, "vm1", true));
    assert_string_equal(world_get(w, w->target, "/metadata/annotations/kubevirt.io~1migrationJobName"), "m1");
    assert_string_equal(world_get(w, w->target, "/metadata/labels/app"), "web");
    assert_string_equal(world_get(w, w->target, "/spec/nodeName"), "");
    assert_string_equal(world_get(w, w->target, "/spec/nodeSelector/disk"), "fast");
    assert_string_equal(world_get(w, w->target, "/spec/nodeSelector/rack"), "7");
    assert_string_equal(world_get(w, w->target, "/spec/nodeSelector/machine-type.node.kubevirt.io~1pc-q35-10.0"), "true");
    assert_string_equal(world_get(w, w->target, "/spec/nodeSelector/cpu-vendor.node.kubevirt.io~1Intel"), "true");
    assert_string_equal(world_get(w, w->target, "/spec/nodeSelector/cpu-model-migration.node.kubevirt.io~1Skylake"), "true");
    assert_string_equal(world_get(w, w->target, "/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/0/topologyKey"),
                        "kubernetes.io/hostname");
    char address[32];
    snprintf(address, sizeof(address), "%s", vmi(w, "/metadata/annotations/godwit.io~1pod-address"));
    assert_string_equal(world_get(w, w->target, "/metadata/annotations/godwit.io~1pod-address"), address);
}

static void test_succeeds(void **state)
{
    struct world *w = *state;

    copy(w);
    assert_string_equal(vmi(w, STATE "/sourceNode"), "n1");
    assert_string_equal(vmi(w, STATE "/targetNode"), "n2");
    assert_string_equal(vmi(w, "/metadata/labels/kubevirt.io~1migrationTargetNodeName"), "n2");
    claim(w);
    assert_string_equal(vmim(w, "/status/phase"), "Running"); /* waits for the figures */
    patch_state(w, "{\"progress\":{\"totalTimeMs\":1234,\"downtimeMs\":40}}");
    assert_string_equal(vmim(w, "/status/phase"), "Succeeded");
    assert_string_equal(vmim(w, STATE "/targetNode"), "n2");
    assert_string_equal(vmim(w, "/status/phaseTransitionTimestamps/6/phase"), "Succeeded");
    assert_true(world_happened(w, "SuccessfulMigration"));
    assert_true(world_find_pod(w, "vm1", false));
    _cleanup_free_ char *status = xasprintf("%s/status", w->target);
    world_patch(w, status, "{\"status\":{\"phase\":\"Succeeded\"}}");
    assert_false(world_find_pod(w, "vm1", false)); /* swept */
    assert_string_equal(vmi(w, "/status/phase"), "Running");
    /* Back again: what the first left in migrationState is gone. */
    sim_delete(w->s, VMIMS "/m1");
    sim_post(w->s, VMIMS, "{\"metadata\":{\"name\":\"m2\"},\"spec\":{\"vmiName\":\"vm1\"}}");
    sim_run(w->s, 1000);
    _cleanup_doc_ yyjson_doc *list = sim_get(w->s, PODS);
    yyjson_val *items = json_at(yyjson_doc_get_root(list), "/items");
    assert_int_equal(yyjson_arr_size(items), 2);
    for (size_t i = 0; i < 2; i++)
        if (!json_str(yyjson_arr_get(items, i), "/spec/nodeName"))
            snprintf(w->target, sizeof(w->target), PODS "/%s", meta_name(yyjson_arr_get(items, i)));
    assert_string_equal(world_get(w, w->target, "/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution/1/topologyKey"), "");
    _cleanup_free_ char *binding = xasprintf("%s/binding", w->target), *ready = xasprintf("%s/status", w->target);
    sim_post(w->s, binding, "{\"target\":{\"kind\":\"Node\",\"name\":\"n1\"}}");
    world_patch(w, ready, "{\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}");
    _cleanup_doc_ yyjson_doc *o = sim_get(w->s, VMIS "/vm1");
    yyjson_val *m = json_at(yyjson_doc_get_root(o), STATE);
    assert_int_equal(json_int(m, "/handover/epoch", 0), 2);
    assert_null(json_at(m, "/handover/claim"));
    assert_null(json_at(m, "/completed"));
    assert_null(json_at(m, "/progress/totalTimeMs"));
    assert_null(json_at(m, "/targetNodeAddress"));
    assert_string_equal(json_str(m, "/sourceNode"), "n2");
}

static void test_succeeds_without_figures(void **state)
{
    struct world *w = *state;

    copy(w);
    claim(w);
    sim_run(w->s, 6000);
    assert_string_equal(vmim(w, "/status/phase"), "Succeeded");
}

static void test_source_reports_failure(void **state)
{
    struct world *w = *state;

    copy(w);
    patch_state(w, "{\"completed\":true,\"failed\":true,\"failureReason\":\"link lost\",\"endTimestamp\":\"2025-12-01T00:00:20Z\"}");
    assert_string_equal(vmim(w, "/status/phase"), "Failed");
    assert_string_equal(vmim(w, STATE "/failureReason"), "link lost");
    assert_true(world_find_pod(w, "vm1", true));
    assert_string_not_equal(world_get(w, w->target, "/metadata/deletionTimestamp"), "");
    assert_string_equal(vmi(w, "/status/phase"), "Running");
    assert_true(world_happened(w, "FailedMigration"));
}

static void test_cancel_while_scheduling(void **state)
{
    struct world *w = *state;

    migrate(w);
    sim_delete(w->s, VMIMS "/m1");
    sim_run(w->s, 1000);
    assert_int_equal(sim_count(w->s, VMIMS, NULL, NULL), 0);
    assert_false(world_find_pod(w, "vm1", true));
    assert_string_equal(vmi(w, STATE "/migrationUid"), "");
}

static void test_cancel_while_copying(void **state)
{
    struct world *w = *state;

    copy(w);
    sim_delete(w->s, VMIMS "/m1");
    sim_run(w->s, 1000);
    assert_string_equal(vmim(w, "/status/phase"), "Running");
    _cleanup_doc_ yyjson_doc *o = sim_get(w->s, VMIS "/vm1");
    assert_true(json_bool(yyjson_doc_get_root(o), STATE "/abortRequested", false));
    patch_state(w, "{\"completed\":true,\"failed\":true,\"abortStatus\":\"Succeeded\",\"failureReason\":\"Live migration has been aborted\"}");
    assert_int_equal(sim_count(w->s, VMIMS, NULL, NULL), 0);
}

static void test_unschedulable(void **state)
{
    struct world *w = *state;

    migrate(w);
    assert_true(world_find_pod(w, "vm1", true));
    _cleanup_free_ char *status = xasprintf("%s/status", w->target);
    world_patch(w, status, "{\"status\":{\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\",\"reason\":\"Unschedulable\",\"message\":"
                     "\"0/2 nodes are available\"}]}}");
    sim_run(w->s, 280000);
    assert_string_equal(vmim(w, "/status/phase"), "Scheduling");
    sim_run(w->s, 20000);
    assert_string_equal(vmim(w, "/status/phase"), "Failed");
    assert_non_null(strstr(vmim(w, STATE "/failureReason"), "0/2 nodes are available"));
    assert_false(world_find_pod(w, "vm1", true));
    assert_true(world_happened(w, "migrationTargetPodUnschedulable"));
}

static void test_waits_its_turn(void **state)
{
    struct world *w = *state;

    world_patch(w, "/apis/kubevirt.io/v1/namespaces/kubevirt/kubevirts/kubevirt",
          "{\"spec\":{\"configuration\":{\"migrations\":{\"parallelMigrationsPerCluster\":1}}}}");
    migrate(w);
    sim_post(w->s, VMIS, "{\"metadata\":{\"name\":\"vm2\"},\"spec\":{\"domain\":{\"devices\":{},\"memory\":{\"guest\":\"64Mi\"}}}}");
    sim_run(w->s, 1000);
    _cleanup_doc_ yyjson_doc *list = sim_get(w->s, PODS);
    yyjson_val *item;
    json_each(json_at(yyjson_doc_get_root(list), "/items"), item)
        if (streq(meta_label(item, LABEL_VM_NAME), "vm2")) {
            _cleanup_free_ char *target = xasprintf(PODS "/%s/binding", meta_name(item));
            sim_post(w->s, target, "{\"target\":{\"kind\":\"Node\",\"name\":\"n1\"}}");
        }
    world_patch(w, VMIS "/vm2", "{\"status\":{\"phase\":\"Running\",\"nodeName\":\"n1\"}}");
    sim_post(w->s, VMIMS, "{\"metadata\":{\"name\":\"m2\"},\"spec\":{\"vmiName\":\"vm2\"}}");
    sim_run(w->s, 60000);
    assert_string_equal(world_get(w, VMIMS "/m2", "/status/phase"), "Pending");
    assert_string_equal(world_get(w, VMIMS "/m2", "/status/conditions/0/reason"), "ClusterLimit");
    assert_non_null(strstr(world_get(w, VMIMS "/m2", "/status/conditions/0/message"), "place 1 in the queue"));
    sim_delete(w->s, VMIMS "/m1");
    sim_run(w->s, 1000);
    assert_string_equal(world_get(w, VMIMS "/m2", "/status/phase"), "Scheduling");
    assert_string_equal(world_get(w, VMIMS "/m2", "/status/conditions/0/reason"), "");
}

static void test_dead_source_grants_by_controller(void **state)
{
    struct world *w = *state;

    copy(w);
    patch_state(w, "{\"handover\":{\"received\":{\"epoch\":1}}}");
    declare_dead(w, "n1");
    assert_string_equal(vmi(w, STATE "/handover/grant/by"), "Controller");
    assert_string_equal(vmi(w, STATE "/handover/grant/node"), "n2");
    assert_string_equal(vmi(w, "/status/phase"), "Running");
    claim(w);
    sim_run(w->s, 6000);
    assert_string_equal(vmim(w, "/status/phase"), "Succeeded");
    assert_string_equal(vmi(w, "/status/phase"), "Running");
}

static void test_dead_source_fails_without_a_complete_target(void **state)
{
    struct world *w = *state;

    copy(w);
    declare_dead(w, "n1");
    assert_string_equal(vmi(w, STATE "/handover/withdraw/by"), "");
    assert_string_equal(vmi(w, "/status/phase"), "Running");
    sim_run(w->s, 10000);
    assert_string_equal(vmi(w, STATE "/handover/withdraw/by"), "Controller");
    assert_string_equal(vmi(w, "/status/phase"), "Running"); /* the target might still come to run it */
    patch_state(w, "{\"handover\":{\"returned\":{\"epoch\":1,\"node\":\"n2\"}}}");
    assert_string_equal(vmim(w, "/status/phase"), "Failed");
    assert_string_equal(vmi(w, "/status/phase"), "Failed");
    assert_non_null(strstr(vmim(w, STATE "/failureReason"), "declared dead"));
}

static void test_dead_target_returns_by_controller(void **state)
{
    struct world *w = *state;

    copy(w);
    patch_state(w, "{\"handover\":{\"grant\":{\"epoch\":1,\"node\":\"n2\"}}}");
    declare_dead(w, "n2");
    assert_string_equal(vmi(w, STATE "/handover/returned/by"), "Controller");
    patch_state(w, "{\"completed\":true,\"failed\":true,\"failureReason\":\"the target gave up\"}");
    assert_string_equal(vmim(w, "/status/phase"), "Failed");
    assert_string_equal(vmi(w, "/status/phase"), "Running");
}

/* The VM may not be called dead while somebody may come to run it: its pods are over, but the epoch is open. */
static void test_unsettled_epoch_keeps_the_vmi(void **state)
{
    struct world *w = *state;

    copy(w);
    patch_state(w, "{\"handover\":{\"grant\":{\"epoch\":1,\"node\":\"n2\"}}}");
    assert_true(world_find_pod(w, "vm1", false));
    _cleanup_free_ char *status = xasprintf("%s/status", w->target);
    world_patch(w, status, "{\"status\":{\"phase\":\"Failed\"}}");
    sim_run(w->s, 600000);
    assert_string_equal(vmi(w, "/status/phase"), "Running");
    claim(w);
    sim_run(w->s, 10000);
    assert_string_equal(vmim(w, "/status/phase"), "Succeeded");
    assert_string_equal(vmi(w, "/status/phase"), "Running");
}

static void test_nothing_happens_for_too_long(void **state)
{
    struct world *w = *state;

    hand_off(w);
    sim_run(w->s, 310000);
    _cleanup_doc_ yyjson_doc *o = sim_get(w->s, VMIS "/vm1");
    assert_true(json_bool(yyjson_doc_get_root(o), STATE "/abortRequested", false));
}

static void test_vmi_goes(void **state)
{
    struct world *w = *state;

    migrate(w);
    sim_delete(w->s, VMIS "/vm1");
    sim_run(w->s, 1000);
    assert_string_equal(vmim(w, "/status/phase"), "Failed");
    assert_false(world_find_pod(w, "vm1", true));
    assert_true(world_find_pod(w, "vm1", false));
    _cleanup_free_ char *status = xasprintf("%s/status", w->target);
    world_patch(w, status, "{\"status\":{\"phase\":\"Succeeded\"}}");
    assert_int_equal(sim_count(w->s, VMIS, NULL, NULL), 0);
    assert_int_equal(sim_count(w->s, VMIMS, NULL, NULL), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_target_pod),
        TEST(test_succeeds),
        TEST(test_succeeds_without_figures),
        TEST(test_source_reports_failure),
        TEST(test_cancel_while_scheduling),
        TEST(test_cancel_while_copying),
        TEST(test_unschedulable),
        TEST(test_waits_its_turn),
        TEST(test_dead_source_grants_by_controller),
        TEST(test_dead_source_fails_without_a_complete_target),
        TEST(test_dead_target_returns_by_controller),
        TEST(test_unsettled_epoch_keeps_the_vmi),
        TEST(test_nothing_happens_for_too_long),
        TEST(test_vmi_goes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
