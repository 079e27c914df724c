/* Emptying nodes, under the controllers of VMIs, migrations, evacuations and nodes; agents are played by hand, and
 * evictions are real ones, as kubectl drain sends them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"
#include "controllers/kubernetes.h"
#include "controllers/kubevirt.h"
#include "world.h"

#define KUBEVIRTS "/apis/kubevirt.io/v1/namespaces/kubevirt/kubevirts"

static const struct controller *const table[] = {&vmi_controller, &migration_controller, &evacuation_controller, &node_controller, NULL};

static void make_vmi(struct world *w, const char *name, const char *strategy, const char *able)
{
    _cleanup_free_ char *body = xasprintf(
        "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"evictionStrategy\":\"%s\",\"domain\":{\"devices\":{\"interfaces\":[{\"name\":\"default\","
        "\"masquerade\":{}}]},\"memory\":{\"guest\":\"64Mi\"}},\"networks\":[{\"name\":\"default\",\"pod\":{}}]}}", name, strategy);
    _cleanup_free_ char *target = xasprintf(VMIS "/%s", name);
    _cleanup_free_ char *status = xasprintf(
        "{\"metadata\":{\"labels\":{\"kubevirt.io/nodeName\":\"n1\"}},\"status\":{\"phase\":\"Running\",\"nodeName\":\"n1\",\"conditions\":["
        "{\"type\":\"LiveMigratable\",\"status\":\"%s\",\"reason\":\"R\",\"message\":\"why not\"}]}}", able);

    sim_post(w->s, VMIS, body);
    sim_run(w->s, 1000);
    world_run_pod(w, name, false, "n1");
    world_patch(w, target, status);
}

static int set_up(void **state)
{
    *state = world_new(5, table);
    return 0;
}

static void evict_with(struct world *w, const char *vmi, const char *body, int expect)
{
    assert_true(world_find_pod(w, vmi, false));
    _cleanup_free_ char *target = xasprintf("%s/eviction", w->target);

    yyjson_doc_free(sim_do(w->s, expect, "POST", target, body));
    sim_run(w->s, 2000);
}

/* As kubectl drain has it; the answer's status. */
static void evict(struct world *w, const char *vmi, int expect)
{
    evict_with(w, vmi, "{\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\"}", expect);
}

static void cordon(struct world *w, bool on)
{
    world_patch(w, NODES "/n1", on ? "{\"spec\":{\"unschedulable\":true}}" : "{\"spec\":{\"unschedulable\":null}}");
}

/* The migration of a VMI that is not final, as target in w->target; "" if there is none. */
static const char *active_migration(struct world *w, const char *vmi)
{
    _cleanup_doc_ yyjson_doc *list = sim_get(w->s, VMIMS);
    yyjson_val *item;

    w->target[0] = '\0';
    json_each(json_at(yyjson_doc_get_root(list), "/items"), item)
        if (streq(json_str(item, "/spec/vmiName"), vmi) && !is_final(item))
            snprintf(w->target, sizeof(w->target), VMIMS "/%s", meta_name(item));
    return w->target;
}

static void finish_migration(struct world *w, const char *vmi, const char *phase)
{
    assert_string_not_equal(active_migration(w, vmi), "");
    _cleanup_free_ char *target = xasprintf("%s/status", w->target), *now = NULL;
    int64_t wall = env_wall_ms(w->env);
    char time[CLOCK_TEXT_MAX];

    now = xasprintf("{\"status\":{\"phase\":\"%s\",\"phaseTransitionTimestamps\":[{\"phase\":\"%s\",\"phaseTransitionTimestamp\":\"%s\"}],"
                    "\"migrationState\":{\"failureReason\":\"the link broke\"}}}", phase, phase, clock_format(wall, time));
    world_patch(w, target, now);
    sim_run(w->s, 2000);
}

static const char *condition(struct world *w, const char *vmi, const char *what)
{
    _cleanup_free_ char *target = xasprintf(VMIS "/%s", vmi);
    _cleanup_doc_ yyjson_doc *doc = sim_get(w->s, target);
    yyjson_val *c = condition_find(yyjson_doc_get_root(doc), "EvictionRequested");

    snprintf(w->text, sizeof(w->text), "%s", json_str_or(c, what, ""));
    return w->text;
}

/* --- tests --- */

static void test_eviction_moves_the_vm(void **state)
{
    struct world *w = *state;

    make_vmi(w, "vm1", "LiveMigrate", "True");
    cordon(w, true);
    evict(w, "vm1", 429);
    assert_string_equal(world_get(w, VMIS "/vm1", "/status/evacuationNodeName"), "n1");
    assert_string_not_equal(active_migration(w, "vm1"), "");
    assert_string_equal(world_get(w, w->target, "/metadata/annotations/kubevirt.io~1evacuationMigration"), "n1");
    assert_string_equal(world_get(w, w->target, "/metadata/generateName"), "kubevirt-evacuation-");
    assert_string_equal(world_get(w, w->target, "/spec/priority"), "system-critical");
    assert_string_equal(world_get(w, w->target, "/metadata/labels/kubevirt.io~1vmi-name"), "vm1");
    assert_string_equal(condition(w, "vm1", "/status"), "True");
    assert_true(strstr(condition(w, "vm1", "/message"), "is to move the VM") != NULL);
    assert_true(world_happened(w, "SuccessfulCreate"));
    evict(w, "vm1", 429);
    assert_int_equal(sim_count(w->s, VMIMS, NULL, NULL), 1);
    /* The claim, and the end of the migration. */
    world_run_pod(w, "vm1", true, "n2");
    world_patch(w, VMIS "/vm1", "{\"metadata\":{\"labels\":{\"kubevirt.io/nodeName\":\"n2\"}},\"status\":{\"nodeName\":\"n2\",\"evacuationNodeName\":null,"
                          "\"migrationState\":{\"handover\":{\"claim\":{\"epoch\":1,\"node\":\"n2\"}},\"completed\":true,"
                          "\"progress\":{\"totalTimeMs\":1},\"endTimestamp\":\"2025-12-01T00:00:20Z\"}}}");
    assert_string_equal(condition(w, "vm1", "/status"), "");
    assert_string_equal(world_get(w, VMIS "/vm1", "/metadata/annotations/godwit.io~1cordoned-node"), "");
    sim_run(w->s, 10000);
    assert_int_equal(sim_count(w->s, VMIMS, "/status/phase", "Succeeded"), 1);
    assert_int_equal(sim_count(w->s, VMIMS, NULL, NULL), 1);
}

static void test_failures_back_off(void **state)
{
    struct world *w = *state;

    make_vmi(w, "vm1", "LiveMigrate", "True");
    evict(w, "vm1", 429);
    finish_migration(w, "vm1", "Failed");
    assert_string_equal(active_migration(w, "vm1"), "");
    assert_true(strstr(condition(w, "vm1", "/message"), "1 migration failed, the last one because: the link broke") != NULL);
    assert_true(world_happened(w, "MigrationBackoff"));
    sim_run(w->s, 10000);
    assert_string_equal(active_migration(w, "vm1"), "");
    sim_run(w->s, 10000);
    assert_string_not_equal(active_migration(w, "vm1"), "");
    finish_migration(w, "vm1", "Failed");
    sim_run(w->s, 30000);
    assert_string_equal(active_migration(w, "vm1"), "");
    sim_run(w->s, 10000);
    assert_string_not_equal(active_migration(w, "vm1"), "");
    finish_migration(w, "vm1", "Failed");
    /* Taken off and put on again: it begins anew. */
    world_patch(w, VMIS "/vm1", "{\"status\":{\"evacuationNodeName\":null}}");
    assert_string_equal(condition(w, "vm1", "/status"), "");
    sim_run(w->s, 1000);
    evict(w, "vm1", 429);
    assert_string_not_equal(active_migration(w, "vm1"), "");
}

static void test_uncordon_calls_off_what_has_not_begun(void **state)
{
    struct world *w = *state;

    world_patch(w, KUBEVIRTS "/kubevirt", "{\"spec\":{\"configuration\":{\"migrations\":{\"parallelOutboundMigrationsPerNode\":1}}}}");
    make_vmi(w, "vm1", "LiveMigrate", "True");
    make_vmi(w, "vm2", "LiveMigrate", "True");
    cordon(w, true);
    evict(w, "vm1", 429);
    evict(w, "vm2", 429);
    assert_string_equal(world_get(w, active_migration(w, "vm1"), "/status/phase"), "Scheduling");
    assert_string_equal(world_get(w, active_migration(w, "vm2"), "/status/phase"), "Pending");
    assert_true(strstr(condition(w, "vm2", "/message"), "node n1 sends at most 1 migrations at once") != NULL);
    cordon(w, false);
    sim_run(w->s, 2000);
    assert_string_equal(world_get(w, VMIS "/vm2", "/status/evacuationNodeName"), "");
    assert_string_equal(active_migration(w, "vm2"), "");
    assert_string_equal(condition(w, "vm2", "/status"), "");
    /* What is under way goes on, but is not tried again. */
    assert_string_equal(world_get(w, active_migration(w, "vm1"), "/status/phase"), "Scheduling");
    assert_string_equal(world_get(w, VMIS "/vm1", "/status/evacuationNodeName"), "n1");
    finish_migration(w, "vm1", "Failed");
    sim_run(w->s, 60000);
    assert_string_equal(world_get(w, VMIS "/vm1", "/status/evacuationNodeName"), "");
    assert_string_equal(active_migration(w, "vm1"), "");
}

static void test_eviction_without_a_cordon_stands(void **state)
{
    struct world *w = *state;

    make_vmi(w, "vm1", "LiveMigrate", "True");
    evict(w, "vm1", 429);
    sim_run(w->s, 60000);
    assert_string_not_equal(active_migration(w, "vm1"), "");
    assert_string_equal(world_get(w, VMIS "/vm1", "/status/evacuationNodeName"), "n1");
}

#define EVICTING "/metadata/annotations/descheduler.alpha.kubernetes.io~1eviction-in-progress"
#define SOURCE "/metadata/annotations/kubevirt.io~1eviction-source"

static const char *of_pod(struct world *w, const char *vmi, const char *path)
{
    assert_true(world_find_pod(w, vmi, false));
    return world_get(w, w->target, path);
}

/* What the descheduler goes by, and that its request is less urgent than a drain. */
static void test_descheduler_is_told(void **state)
{
    struct world *w = *state;

    make_vmi(w, "vm1", "LiveMigrate", "True");
    assert_true(world_find_pod(w, "vm1", false));
    _cleanup_doc_ yyjson_doc *pod = sim_get(w->s, w->target);
    assert_non_null(meta_annotation(yyjson_doc_get_root(pod), ANNOTATION_EVICT_ONLY));
    evict_with(w, "vm1", "{\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\",\"metadata\":{\"annotations\":"
                         "{\"requested-by\":\"sigs.k8s.io/descheduler\"}}}", 429);
    assert_string_equal(world_get(w, VMIS "/vm1", SOURCE), "descheduler");
    assert_string_equal(of_pod(w, "vm1", EVICTING), "true");
    assert_string_not_equal(active_migration(w, "vm1"), "");
    assert_string_equal(world_get(w, w->target, "/spec/priority"), "system-maintenance");
    world_patch(w, VMIS "/vm1", "{\"status\":{\"evacuationNodeName\":null}}");
    assert_string_equal(world_get(w, VMIS "/vm1", SOURCE), "");
    assert_string_equal(of_pod(w, "vm1", EVICTING), "");
}

static void test_cancelled_mark_withdraws_the_queued_migration(void **state)
{
    struct world *w = *state;

    world_patch(w, KUBEVIRTS "/kubevirt", "{\"spec\":{\"configuration\":{\"migrations\":{\"parallelMigrationsPerCluster\":1}}}}");
    make_vmi(w, "vm1", "LiveMigrate", "True");
    make_vmi(w, "vm2", "LiveMigrate", "True");
    evict(w, "vm1", 429);
    evict(w, "vm2", 429);
    world_patch(w, VMIS "/vm2", "{\"status\":{\"evacuationNodeName\":null}}");
    sim_run(w->s, 2000);
    assert_string_equal(active_migration(w, "vm2"), "");
}

static void test_taint_empties_the_node(void **state)
{
    struct world *w = *state;

    make_vmi(w, "vm1", "LiveMigrate", "True");
    make_vmi(w, "vm2", "LiveMigrate", "False");
    make_vmi(w, "vm3", "None", "True");
    make_vmi(w, "vm4", "LiveMigrateIfPossible", "True");
    world_patch(w, KUBEVIRTS "/kubevirt", "{\"spec\":{\"configuration\":{\"migrations\":{\"nodeDrainTaintKey\":\"empty\"}}}}");
    world_patch(w, NODES "/n1", "{\"spec\":{\"taints\":[{\"key\":\"empty\",\"effect\":\"NoSchedule\"}]}}");
    sim_run(w->s, 2000);
    assert_string_not_equal(active_migration(w, "vm1"), "");
    assert_string_equal(active_migration(w, "vm2"), "");
    assert_string_equal(condition(w, "vm2", "/message"), "the VM cannot be migrated: R: why not");
    assert_true(world_happened(w, "FailedCreate"));
    assert_string_equal(active_migration(w, "vm3"), "");
    assert_string_equal(condition(w, "vm3", "/status"), "");
    assert_string_not_equal(active_migration(w, "vm4"), "");
    world_patch(w, NODES "/n1", "{\"spec\":{\"taints\":null}}");
    assert_string_equal(condition(w, "vm2", "/status"), "");
}

static void test_external_is_left_to_others(void **state)
{
    struct world *w = *state;

    make_vmi(w, "vm1", "External", "True");
    evict(w, "vm1", 429);
    sim_run(w->s, 60000);
    assert_string_equal(active_migration(w, "vm1"), "");
    assert_true(strstr(condition(w, "vm1", "/message"), "External") != NULL);
}

static void test_cordon_is_a_taint(void **state)
{
    struct world *w = *state;

    cordon(w, true);
    assert_string_equal(world_get(w, NODES "/n1", "/spec/taints/0/key"), "node.kubernetes.io/unschedulable");
    assert_string_equal(world_get(w, NODES "/n1", "/spec/taints/0/effect"), "NoSchedule");
    cordon(w, false);
    assert_string_equal(world_get(w, NODES "/n1", "/spec/taints/0/key"), "");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, world_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_eviction_moves_the_vm),
        TEST(test_failures_back_off),
        TEST(test_uncordon_calls_off_what_has_not_begun),
        TEST(test_eviction_without_a_cordon_stands),
        TEST(test_descheduler_is_told),
        TEST(test_cancelled_mark_withdraws_the_queued_migration),
        TEST(test_taint_empties_the_node),
        TEST(test_external_is_left_to_others),
        TEST(test_cordon_is_a_taint),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
