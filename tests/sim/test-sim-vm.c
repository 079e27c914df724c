/* The life of VMs under their two controllers, with the agents' part played by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/map.h"
#include "controllers/kubernetes.h"
#include "controllers/kubevirt.h"
#include "sim.h"

#define NS "/namespaces/default"
#define VMS "/apis/kubevirt.io/v1" NS "/virtualmachines"
#define VMIS "/apis/kubevirt.io/v1" NS "/virtualmachineinstances"
#define PODS "/api/v1" NS "/pods"
#define NODES "/api/v1/nodes"
#define CLAIMS "/api/v1" NS "/persistentvolumeclaims"

static const struct controller *const table[] = {&vm_controller, &vmi_controller, &node_controller, NULL};

struct world {
    struct sim *s;
    struct env *env;
    struct controllers *controllers;
    char pod[256]; /* target of the pod that was found last */
    char text[2048];
};

static void start_controllers(struct world *w)
{
    w->env = sim_process(w->s, "system:godwit:controllers", "system:godwit:controllers");
    w->controllers = controllers_start(w->env, table);
}

static void stop_controllers(struct world *w)
{
    w->controllers = controllers_stop(w->controllers);
    w->env = sim_process_end(w->env);
}

static int set_up(void **state)
{
    struct world *w = xnew(struct world);

    w->s = sim_new(&(struct sim_config){.seed = 7, .delay_ms = {1, 5}});
    sim_post(w->s, NODES, "{\"metadata\":{\"name\":\"n1\"},\"spec\":{}}");
    sim_patch(w->s, NODES "/n1/status", "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}");
    start_controllers(w);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    stop_controllers(w);
    sim_free(w->s);
    free(w);
    return 0;
}

static void make_vm(struct world *w, const char *strategy, const char *volumes)
{
    _cleanup_free_ char *body = xasprintf(
        "{\"metadata\":{\"name\":\"vm1\"},\"spec\":{\"runStrategy\":\"%s\",\"template\":{\"metadata\":{\"labels\":"
        "{\"app\":\"web\"},\"annotations\":{\"example.com/team\":\"web\",\"kubectl.kubernetes.io/x\":\"y\"}},\"spec\":{\"domain\":{\"devices\":{\"disks\":[%s],\"interfaces\":[{\"name\":\"default\",\"masquerade\":{}}]},"
        "\"memory\":{\"guest\":\"128Mi\"}},\"networks\":[{\"name\":\"default\",\"pod\":{}}],\"volumes\":[%s]}}}}",
        strategy, *volumes ? "{\"name\":\"d\",\"disk\":{}}" : "", volumes);

    sim_post(w->s, VMS, body);
    sim_run(w->s, 1000);
}

static const char *vm(struct world *w, const char *path)
{
    return sim_str(w->s, VMS "/vm1", path, w->text, sizeof(w->text));
}

static const char *vmi(struct world *w, const char *path)
{
    return sim_str(w->s, VMIS "/vm1", path, w->text, sizeof(w->text));
}

/* The one launcher pod that there is. */
static const char *pod(struct world *w, const char *path)
{
    _cleanup_doc_ yyjson_doc *list = sim_get(w->s, PODS);
    yyjson_val *items = json_at(yyjson_doc_get_root(list), "/items");

    assert_int_equal(yyjson_arr_size(items), 1);
    snprintf(w->pod, sizeof(w->pod), PODS "/%s", meta_name(yyjson_arr_get(items, 0)));
    return sim_str(w->s, w->pod, path, w->text, sizeof(w->text));
}

static void bind_pod(struct world *w)
{
    (void)pod(w, "");
    _cleanup_free_ char *target = xasprintf("%s/binding", w->pod);
    sim_post(w->s, target, "{\"target\":{\"kind\":\"Node\",\"name\":\"n1\"}}");
    sim_run(w->s, 1000);
}

static void pod_status(struct world *w, const char *status)
{
    _cleanup_free_ char *target = NULL, *body = xasprintf("{\"status\":%s}", status);

    (void)pod(w, "");
    target = xasprintf("%s/status", w->pod);
    sim_patch(w->s, target, body);
    sim_run(w->s, 1000);
}

static void vmi_phase(struct world *w, const char *phase)
{
    const char *before = streq(vmi(w, "/status/phase"), "Running") ? "{\"phase\":\"Running\"}," : "";
    _cleanup_free_ char *body = xasprintf(
        "{\"status\":{\"phase\":\"%s\",\"nodeName\":\"n1\",\"phaseTransitionTimestamps\":[%s{\"phase\":\"%s\"}],"
        "\"conditions\":[{\"type\":\"Ready\",\"status\":\"%s\"},{\"type\":\"LiveMigratable\",\"status\":\"True\"}]}}",
        phase, before, phase, streq(phase, "Running") ? "True" : "False");

    sim_patch(w->s, VMIS "/vm1", body);
    sim_run(w->s, 1000);
}

static void run_vm(struct world *w)
{
    bind_pod(w);
    pod_status(w, "{\"phase\":\"Running\"}");
    vmi_phase(w, "Running");
}

/* The agent ends its pod: status first, then, if the object is being deleted, the object. */
static void end_pod(struct world *w, const char *phase)
{
    _cleanup_free_ char *status = xasprintf("{\"phase\":\"%s\"}", phase);
    bool deleted = *pod(w, "/metadata/deletionTimestamp");

    pod_status(w, status);
    if (deleted)
        yyjson_doc_free(sim_do(w->s, 200, "DELETE", w->pod, "{\"gracePeriodSeconds\":0}"));
    sim_run(w->s, 1000);
}

/* --- tests --- */

static void test_starts(void **state)
{
    struct world *w = *state;

    make_vm(w, "Always", "");
    assert_string_equal(vmi(w, "/metadata/labels/app"), "web");
    assert_string_equal(vmi(w, "/status/phase"), "Scheduling");
    assert_memory_equal(vmi(w, "/metadata/annotations/godwit.io~1pod-address"), "10.244.", 7);
    assert_memory_equal(pod(w, "/metadata/name"), "virt-launcher-vm1-", 18);
    assert_memory_equal(pod(w, "/metadata/annotations/godwit.io~1pod-address"), "10.244.", 7);
    assert_string_equal(pod(w, "/metadata/labels/kubevirt.io"), "virt-launcher");
    assert_string_equal(pod(w, "/metadata/annotations/kubevirt.io~1domain"), "vm1");
    assert_string_equal(pod(w, "/metadata/annotations/example.com~1team"), "web");
    assert_string_equal(pod(w, "/metadata/annotations/kubectl.kubernetes.io~1x"), "");
    assert_string_equal(pod(w, "/spec/nodeSelector/kubevirt.io~1schedulable"), "true");
    /* 128 Mi + 128 Mi / 512 + 240 Mi + 8 Mi for a processor + 8 Mi */
    assert_string_equal(pod(w, "/spec/containers/0/resources/requests/memory"), "393472Ki");
    assert_string_equal(vm(w, "/status/printableStatus"), "Starting");
    run_vm(w);
    assert_string_equal(vm(w, "/status/printableStatus"), "Running");
    assert_string_equal(vm(w, "/status/runStrategy"), "Always");
    assert_string_equal(vm(w, "/status/conditions/1/type"), "LiveMigratable");
    sim_patch(w->s, VMS "/vm1", "{\"spec\":{\"template\":{\"spec\":{\"domain\":{\"memory\":{\"guest\":\"256Mi\"}}}}}}");
    sim_run(w->s, 1000);
    assert_string_equal(vm(w, "/status/conditions/2/type"), "RestartRequired");
    sim_patch(w->s, VMS "/vm1", "{\"spec\":{\"template\":{\"spec\":{\"domain\":{\"memory\":{\"guest\":\"128Mi\"}}}}}}");
    sim_run(w->s, 1000);
    assert_string_equal(vm(w, "/status/conditions/2/type"), "");
    _cleanup_doc_ yyjson_doc *o = sim_get(w->s, VMIS "/vm1");
    assert_int_equal(yyjson_obj_size(json_at(yyjson_doc_get_root(o), "/status/activePods")), 1);
}

static void test_unschedulable(void **state)
{
    struct world *w = *state;

    make_vm(w, "Always", "");
    pod_status(w, "{\"conditions\":[{\"type\":\"PodScheduled\",\"status\":\"False\",\"reason\":\"Unschedulable\","
                  "\"message\":\"0/1 nodes are available: 1 Insufficient memory.\"}]}");
    assert_string_equal(vm(w, "/status/printableStatus"), "ErrorUnschedulable");
    bind_pod(w);
    assert_string_equal(vm(w, "/status/printableStatus"), "Starting");
}

static void test_waits_for_a_claim(void **state)
{
    struct world *w = *state;

    make_vm(w, "Always", "{\"name\":\"d\",\"persistentVolumeClaim\":{\"claimName\":\"data\"}}");
    assert_string_equal(vm(w, "/status/printableStatus"), "ErrorPvcNotFound");
    assert_int_equal(sim_count(w->s, PODS, NULL, NULL), 0);
    sim_post(w->s, CLAIMS, "{\"metadata\":{\"name\":\"data\"},\"spec\":{\"accessModes\":[\"ReadWriteMany\"],\"resources\":"
                           "{\"requests\":{\"storage\":\"1Gi\"}}}}");
    sim_run(w->s, 1000);
    assert_string_equal(pod(w, "/spec/volumes/0/persistentVolumeClaim/claimName"), "data");
    assert_string_equal(vm(w, "/status/printableStatus"), "Starting");
}

#define VM_OF(name) \
    "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"runStrategy\":\"Always\",\"template\":{\"spec\":{\"domain\":{\"devices\":" \
    "{\"disks\":[{\"name\":\"d\",\"disk\":{}}]},\"memory\":{\"guest\":\"128Mi\"}},\"volumes\":[{\"name\":\"d\"," \
    "\"persistentVolumeClaim\":{\"claimName\":\"data\"}}]}}}}"
#define USER "/metadata/annotations/godwit.io~1used-by"

static void make_claim(struct world *w, const char *mode)
{
    _cleanup_free_ char *body = xasprintf("{\"metadata\":{\"name\":\"data\"},\"spec\":{\"accessModes\":[\"%s\"],\"resources\":"
                                          "{\"requests\":{\"storage\":\"1Gi\"}}}}", mode);

    sim_post(w->s, CLAIMS, body);
}

/* Two that start in the same moment: one gets it, the other waits and says for whom, and starts when that one is gone. */
static void test_a_claim_is_one_vms_at_a_time(void **state)
{
    struct world *w = *state;

    make_claim(w, "ReadWriteOnce");
    sim_post(w->s, VMS, VM_OF("vm1"));
    sim_post(w->s, VMS, VM_OF("vm2"));
    sim_run(w->s, 2000);
    assert_int_equal(sim_count(w->s, PODS, NULL, NULL), 1);
    bool first = str_starts(sim_str(w->s, CLAIMS "/data", USER, w->text, sizeof(w->text)), "vm1/");
    const char *waits = first ? VMIS "/vm2" : VMIS "/vm1", *has = first ? VMS "/vm1" : VMS "/vm2";
    _cleanup_doc_ yyjson_doc *vmi = sim_get(w->s, waits);
    yyjson_val *c = condition_find(yyjson_doc_get_root(vmi), "Synchronized");
    assert_string_equal(json_str_or(c, "/reason", ""), "PvcInUse");
    assert_non_null(strstr(json_str_or(c, "/message", ""), first ? "in use by virtual machine instance vm1" : "in use by virtual machine instance vm2"));
    stop_controllers(w); /* nobody forgets whose it is */
    start_controllers(w);
    sim_run(w->s, 600000);
    assert_int_equal(sim_count(w->s, PODS, NULL, NULL), 1);

    sim_delete(w->s, has);
    sim_run(w->s, 1000);
    end_pod(w, "Succeeded");
    sim_run(w->s, 2000);
    assert_int_equal(sim_count(w->s, PODS, NULL, NULL), 1);
    assert_memory_equal(sim_str(w->s, CLAIMS "/data", USER, w->text, sizeof(w->text)), first ? "vm2/" : "vm1/", 4);
}

static void test_a_shared_claim_is_everybodys(void **state)
{
    struct world *w = *state;

    make_claim(w, "ReadWriteMany");
    sim_post(w->s, VMS, VM_OF("vm1"));
    sim_post(w->s, VMS, VM_OF("vm2"));
    sim_run(w->s, 2000);
    assert_int_equal(sim_count(w->s, PODS, NULL, NULL), 2);
    assert_string_equal(sim_str(w->s, CLAIMS "/data", USER, w->text, sizeof(w->text)), "");
}

static void test_always_starts_again(void **state)
{
    struct world *w = *state;
    char uid[64];

    make_vm(w, "Always", "");
    run_vm(w);
    snprintf(uid, sizeof(uid), "%s", vmi(w, "/metadata/uid"));
    vmi_phase(w, "Succeeded");
    end_pod(w, "Succeeded");
    assert_string_not_equal(vmi(w, "/metadata/uid"), uid);
    assert_string_equal(vmi(w, "/status/phase"), "Scheduling");
}

static void test_halts(void **state)
{
    struct world *w = *state;

    make_vm(w, "Always", "");
    run_vm(w);
    sim_patch(w->s, VMS "/vm1", "{\"spec\":{\"runStrategy\":\"Halted\"}}");
    sim_run(w->s, 1000);
    assert_string_equal(vm(w, "/status/printableStatus"), "Stopping");
    assert_string_not_equal(pod(w, "/metadata/deletionTimestamp"), "");
    end_pod(w, "Succeeded");
    assert_string_equal(vm(w, "/status/printableStatus"), "Stopped");
    assert_int_equal(sim_count(w->s, VMIS, NULL, NULL), 0);
    sim_run(w->s, 600000);
    assert_int_equal(sim_count(w->s, VMIS, NULL, NULL), 0);
}

static void test_once(void **state)
{
    struct world *w = *state;

    make_vm(w, "Once", "");
    run_vm(w);
    vmi_phase(w, "Succeeded");
    sim_delete(w->s, VMIS "/vm1");
    sim_run(w->s, 1000);
    end_pod(w, "Succeeded");
    sim_run(w->s, 600000);
    assert_int_equal(sim_count(w->s, VMIS, NULL, NULL), 0);
    assert_string_equal(vm(w, "/status/printableStatus"), "Stopped");
}

static void test_reruns_on_failure_only(void **state)
{
    struct world *w = *state;

    make_vm(w, "RerunOnFailure", "");
    run_vm(w);
    vmi_phase(w, "Failed");
    end_pod(w, "Failed");
    assert_string_equal(vmi(w, "/status/phase"), "Scheduling");
    assert_string_equal(vm(w, "/status/stateChangeRequests/0/action"), "");
    run_vm(w);
    vmi_phase(w, "Succeeded");
    end_pod(w, "Succeeded");
    sim_run(w->s, 600000);
    assert_int_equal(sim_count(w->s, VMIS, NULL, NULL), 0);
}

static void test_manual_follows_requests(void **state)
{
    struct world *w = *state;
    char body[256];

    make_vm(w, "Manual", "");
    assert_int_equal(sim_count(w->s, VMIS, NULL, NULL), 0);
    sim_patch(w->s, VMS "/vm1/status", "{\"status\":{\"stateChangeRequests\":[{\"action\":\"Start\"}]}}");
    sim_run(w->s, 1000);
    run_vm(w);
    assert_string_equal(vm(w, "/status/stateChangeRequests/0/action"), "");
    snprintf(body, sizeof(body), "{\"status\":{\"stateChangeRequests\":[{\"action\":\"Stop\",\"uid\":\"%s\"}]}}",
             vmi(w, "/metadata/uid"));
    sim_patch(w->s, VMS "/vm1/status", body);
    sim_run(w->s, 1000);
    end_pod(w, "Succeeded");
    assert_int_equal(sim_count(w->s, VMIS, NULL, NULL), 0);
    assert_string_equal(vm(w, "/status/stateChangeRequests/0/action"), "");
}

static void test_starts_paused_on_request(void **state)
{
    struct world *w = *state;

    make_vm(w, "Halted", "");
    sim_patch(w->s, VMS "/vm1/status",
              "{\"status\":{\"stateChangeRequests\":[{\"action\":\"Start\",\"data\":{\"paused\":\"true\"}}]}}");
    sim_run(w->s, 1000);
    assert_string_equal(vm(w, "/spec/runStrategy"), "Always");
    assert_string_equal(vmi(w, "/spec/startStrategy"), "Paused");
    assert_string_equal(vm(w, "/status/stateChangeRequests/0/action"), "");
    run_vm(w);
    sim_delete(w->s, VMIS "/vm1"); /* only this once */
    sim_run(w->s, 1000);
    end_pod(w, "Succeeded");
    assert_string_equal(vmi(w, "/spec/startStrategy"), "");
}

/* A stop and a start at once: the start is not for the instance that goes. */
static void test_manual_restarts_on_request(void **state)
{
    struct world *w = *state;
    char body[256], uid[64];

    make_vm(w, "Manual", "");
    sim_patch(w->s, VMS "/vm1/status", "{\"status\":{\"stateChangeRequests\":[{\"action\":\"Start\"}]}}");
    sim_run(w->s, 1000);
    run_vm(w);
    snprintf(uid, sizeof(uid), "%s", vmi(w, "/metadata/uid"));
    snprintf(body, sizeof(body),
             "{\"status\":{\"stateChangeRequests\":[{\"action\":\"Stop\",\"uid\":\"%s\"},{\"action\":\"Start\"}]}}", uid);
    sim_patch(w->s, VMS "/vm1/status", body);
    sim_run(w->s, 1000);
    end_pod(w, "Succeeded");
    assert_string_not_equal(vmi(w, "/metadata/uid"), "");
    assert_string_not_equal(vmi(w, "/metadata/uid"), uid);
    assert_string_equal(vm(w, "/status/stateChangeRequests/0/action"), "");
}

/* Each start fails: the waits grow as 10 s times n squared. */
static void test_failed_starts_wait_longer_and_longer(void **state)
{
    static const int64_t waits[] = {10, 40, 90, 160, 250, 300, 300};
    struct world *w = *state;

    make_vm(w, "Always", "");
    for (size_t i = 0; i < ARRAY_SIZE(waits); i++) {
        bind_pod(w);
        vmi_phase(w, "Failed");
        end_pod(w, "Failed");
        assert_string_equal(vm(w, "/status/printableStatus"), "CrashLoopBackOff");
        sim_run(w->s, waits[i] * 1000 - 6000);
        assert_int_equal(sim_count(w->s, VMIS, NULL, NULL), 0);
        sim_run(w->s, 6000);
        assert_int_equal(sim_count(w->s, VMIS, NULL, NULL), 1);
    }
    run_vm(w);
    assert_string_equal(vm(w, "/status/startFailure/lastFailedVMIUID"), "");
}

static void test_deleted_vm_waits_for_its_guest(void **state)
{
    struct world *w = *state;

    make_vm(w, "Always", "");
    run_vm(w);
    sim_delete(w->s, VMS "/vm1");
    sim_run(w->s, 1000);
    assert_string_equal(vm(w, "/status/printableStatus"), "Terminating");
    end_pod(w, "Succeeded");
    assert_int_equal(sim_count(w->s, VMS, NULL, NULL), 0);
    assert_int_equal(sim_count(w->s, VMIS, NULL, NULL), 0);
}

#define TEMPLATE_WITH \
    "{\"spec\":{\"template\":{\"spec\":{\"domain\":{\"devices\":{\"disks\":[{\"name\":\"hot\",\"disk\":{\"bus\":\"scsi\"}}]}}," \
    "\"volumes\":[{\"name\":\"hot\",\"persistentVolumeClaim\":{\"claimName\":\"c\",\"hotpluggable\":true}}]}}}}"
#define TEMPLATE_WITHOUT \
    "{\"spec\":{\"template\":{\"spec\":{\"domain\":{\"devices\":{\"disks\":[]}},\"volumes\":[]}}}}"
#define VMIMS "/apis/kubevirt.io/v1" NS "/virtualmachineinstancemigrations"

/* The instance follows its template; not while it moves. */
static void test_hot_volumes_wait_for_migrations(void **state)
{
    struct world *w = *state;

    make_vm(w, "Always", "");
    run_vm(w);
    sim_patch(w->s, VMS "/vm1", TEMPLATE_WITH);
    sim_run(w->s, 1000);
    assert_string_equal(vmi(w, "/spec/volumes/0/name"), "hot");
    assert_string_equal(vmi(w, "/spec/domain/devices/disks/0/disk/bus"), "scsi");
    sim_post(w->s, VMIMS, "{\"metadata\":{\"name\":\"m\"},\"spec\":{\"vmiName\":\"vm1\"}}");
    sim_patch(w->s, VMIMS "/m/status", "{\"status\":{\"phase\":\"Scheduling\"}}");
    sim_run(w->s, 1000);
    sim_patch(w->s, VMS "/vm1", TEMPLATE_WITHOUT);
    sim_run(w->s, 60000);
    assert_string_equal(vmi(w, "/spec/volumes/0/name"), "hot");
    assert_int_equal(sim_count(w->s, "/api/v1" NS "/events", "/reason", "VolumesWaitForMigration"), 1);
    sim_patch(w->s, VMIMS "/m/status", "{\"status\":{\"phase\":\"Succeeded\"}}");
    sim_run(w->s, 1000);
    assert_string_equal(vmi(w, "/spec/volumes/0/name"), "");
}

/* A pod that ended, and an agent that does not say so. */
static void test_ended_pod_ends_the_vmi(void **state)
{
    struct world *w = *state;

    make_vm(w, "Manual", "");
    sim_patch(w->s, VMS "/vm1/status", "{\"status\":{\"stateChangeRequests\":[{\"action\":\"Start\"}]}}");
    sim_run(w->s, 1000);
    run_vm(w);
    pod_status(w, "{\"phase\":\"Failed\",\"reason\":\"launcher-killed\"}");
    assert_string_equal(vmi(w, "/status/phase"), "Running");
    sim_run(w->s, 10000);
    assert_string_equal(vmi(w, "/status/phase"), "Failed");
    assert_string_equal(vmi(w, "/status/reason"), "launcher-killed");
}

/* Silence proves nothing; a declaration does. */
static void test_dead_node(void **state)
{
    struct world *w = *state;

    make_vm(w, "Always", "");
    run_vm(w);
    sim_run(w->s, 3600000); /* its lease is not renewed */
    assert_string_equal(vmi(w, "/status/phase"), "Running");
    char uid[64];
    snprintf(uid, sizeof(uid), "%s", vmi(w, "/metadata/uid"));
    sim_patch(w->s, NODES "/n1", "{\"spec\":{\"taints\":[{\"key\":\"node.kubernetes.io/out-of-service\",\"effect\":\"NoExecute\"}]}}");
    sim_run(w->s, 5000);
    assert_string_not_equal(vmi(w, "/metadata/uid"), uid);
    assert_string_equal(vmi(w, "/status/phase"), "Scheduling");
}

static void test_addresses_differ(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < 100; i++) {
        _cleanup_free_ char *body = xasprintf(
            "{\"metadata\":{\"name\":\"v%d\"},\"spec\":{\"domain\":{\"devices\":{\"interfaces\":[{\"name\":\"default\",\"masquerade\":{}}]},\"memory\":{\"guest\":\"64Mi\"}},\"networks\":"
            "[{\"name\":\"default\",\"pod\":{}}]}}", i);
        sim_post(w->s, VMIS, body);
        if (i % 30 == 29) {
            stop_controllers(w);
            start_controllers(w);
        }
    }
    sim_run(w->s, 5000);
    _cleanup_doc_ yyjson_doc *list = sim_get(w->s, VMIS);
    yyjson_val *item;
    size_t i;
    struct map *seen = map_new(NULL);
    json_each_at(json_at(yyjson_doc_get_root(list), "/items"), i, item) {
        const char *address = meta_annotation(item, ANNOTATION_ADDRESS);
        assert_non_null(address);
        assert_false(map_has(seen, address));
        map_put(seen, address, w);
    }
    assert_int_equal(map_len(seen), 100);
    map_free(seen);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_starts),
        TEST(test_unschedulable),
        TEST(test_waits_for_a_claim),
        TEST(test_a_claim_is_one_vms_at_a_time),
        TEST(test_a_shared_claim_is_everybodys),
        TEST(test_always_starts_again),
        TEST(test_halts),
        TEST(test_once),
        TEST(test_reruns_on_failure_only),
        TEST(test_manual_follows_requests),
        TEST(test_manual_restarts_on_request),
        TEST(test_starts_paused_on_request),
        TEST(test_failed_starts_wait_longer_and_longer),
        TEST(test_deleted_vm_waits_for_its_guest),
        TEST(test_hot_volumes_wait_for_migrations),
        TEST(test_ended_pod_ends_the_vmi),
        TEST(test_dead_node),
        TEST(test_addresses_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
