/* subresources.kubevirt.io over the real API: what each request does under each run strategy, and how it is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/meta.h"
#include "apiserver/rest_call.h"
#include "apiserver/vm_subresources.h"
#include "server-fixture.h"

#define NS "/namespaces/default"
#define VMS "/apis/kubevirt.io/v1" NS "/virtualmachines"
#define VMIMS "/apis/kubevirt.io/v1" NS "/virtualmachineinstancemigrations"
#define SUB "/apis/subresources.kubevirt.io/v1" NS
#define SPEC "{\"domain\":{\"memory\":{\"guest\":\"64Mi\"},\"devices\":{}}}"

static const struct rest_extra *const extras[] = {vm_extras, vm_refused_extras, pod_extras, NULL};

static int setup(void **state)
{
    int r = fixture_set_up(state);

    ((struct fixture *)*state)->rest.extras = extras;
    return r;
}

static yyjson_doc *get(struct fixture *f, const char *target)
{
    _cleanup_free_ char *text = NULL;
    yyjson_doc *doc = NULL;

    if (fixture_call(f, "a", "system:masters", "GET", target, NULL, &text) == 200)
        assert_int_equal(json_parse(text, strlen(text), &doc, NULL), 0);
    return doc;
}

/* run: members of the VM's spec; phase: of its instance, NULL for none. */
static void make(struct fixture *f, const char *run, const char *phase)
{
    _cleanup_free_ char *vm = xasprintf("{\"metadata\":{\"name\":\"vm2\"},\"spec\":{%s,\"template\":{\"spec\":" SPEC "}}}", run);
    _cleanup_free_ char *status = xasprintf("{\"status\":{\"phase\":\"%s\",\"nodeName\":\"node-a\"}}", phase ? phase : "");

    assert_int_equal(fixture_admin(f, "POST", VMS, vm), 201);
    if (!phase)
        return;
    assert_int_equal(fixture_admin(f, "POST", FIXTURE_VMIS, "{\"metadata\":{\"name\":\"vm2\"},\"spec\":" SPEC "}"), 201);
    assert_int_equal(fixture_admin(f, "PATCH", FIXTURE_VMIS "/vm2", status), 200);
}

static int put(struct fixture *f, const char *what, const char *body, char **ret)
{
    _cleanup_free_ char *target = xasprintf(SUB "/%s", what);

    return fixture_call(f, "a", "system:masters", "PUT", target, body, ret);
}

static void check(struct fixture *f, const char *what, const char *body, int status, const char *part)
{
    _cleanup_free_ char *text = NULL;
    int got = put(f, what, body, &text);

    if (got != status || !strstr(text, part))
        fail_msg("%s: %d %s", what, got, text);
}

/* "Always", "running" or the requests ("Stop Start"). */
static void expect_state(struct fixture *f, const char *strategy, const char *requests)
{
    _cleanup_doc_ yyjson_doc *doc = get(f, VMS "/vm2");
    yyjson_val *vm = yyjson_doc_get_root(doc), *item;
    _cleanup_str_ struct str s = {0};

    json_each(json_at(vm, "/status/stateChangeRequests"), item)
        str_printf(&s, "%s%s%s%s", s.len ? " " : "", json_str(item, "/action"), json_str(item, "/uid") ? "!" : "",
                   json_str(item, "/data/paused") ? " paused" : "");
    assert_string_equal(str_text(&s), requests);
    assert_string_equal(json_str_or(vm, "/spec/runStrategy", json_bool(vm, "/spec/running", false) ? "true" : "false"), strategy);
}

struct row {
    const char *run, *phase, *what, *body;
    int status;
    const char *part;               /* of the answer */
    const char *strategy, *requests; /* afterwards; "!" stands for a uid */
};

#define STRATEGY(s) "\"runStrategy\":\"" s "\""
#define ON "Operation cannot be fulfilled on virtualmachine.kubevirt.io \\\"vm2\\\": "

static const struct row rows[] = {
    {STRATEGY("Halted"), NULL, "start", NULL, 202, "", "Always", ""},
    {STRATEGY("Halted"), NULL, "start", "{\"dryRun\":[\"All\"]}", 202, "", "Halted", ""},
    {STRATEGY("Halted"), NULL, "start", "{\"paused\":true}", 202, "", "Halted", "Start paused"},
    {STRATEGY("Manual"), NULL, "start", "{\"paused\":true}", 202, "", "Manual", "Start paused"},
    {"\"running\":false", NULL, "start", "{}", 202, "", "true", ""},
    {STRATEGY("Always"), "Running", "start", NULL, 409, ON "VM is already running", "Always", ""},
    {STRATEGY("Always"), NULL, "start", NULL, 409, ON "Always does not support manual start requests", "Always", ""},
    {STRATEGY("Once"), "Succeeded", "start", NULL, 409, ON "Once does not support manual start requests", "Once", ""},
    {STRATEGY("Manual"), NULL, "start", NULL, 202, "", "Manual", "Start"},
    {STRATEGY("Manual"), "Failed", "start", NULL, 202, "", "Manual", "Stop! Start"},
    {STRATEGY("RerunOnFailure"), NULL, "start", NULL, 202, "", "RerunOnFailure", "Start"},
    {STRATEGY("RerunOnFailure"), "Succeeded", "start", NULL, 202, "", "RerunOnFailure", "Stop! Start"},
    {STRATEGY("RerunOnFailure"), "Failed", "start", NULL, 409, ON "RerunOnFailure does not support starting VM from failed state",
     "RerunOnFailure", ""},
    {STRATEGY("Always"), "Running", "stop", NULL, 202, "", "Halted", ""},
    {"\"running\":true", "Running", "stop", NULL, 202, "", "false", ""},
    {STRATEGY("Once"), "Running", "stop", "{\"gracePeriod\":0}", 202, "", "Halted", ""},
    {STRATEGY("Halted"), NULL, "stop", NULL, 409, ON "VM is not running", "Halted", ""},
    {STRATEGY("Halted"), "Running", "stop", NULL, 409, ON "Halted only supports manual stop requests with a shorter graceperiod", "Halted",
     ""},
    {STRATEGY("Halted"), "Running", "stop", "{\"gracePeriod\":30}", 409, ON "Halted only supports manual stop", "Halted", ""},
    {STRATEGY("Halted"), "Running", "stop", "{\"gracePeriod\":0}", 202, "", "Halted", "Stop!"},
    {STRATEGY("Manual"), "Running", "stop", NULL, 202, "", "Manual", "Stop!"},
    {STRATEGY("Manual"), "Succeeded", "stop", NULL, 409, ON "VM is not running", "Manual", ""},
    {STRATEGY("RerunOnFailure"), "Running", "stop", "{\"gracePeriod\":-1}", 400, "greater or equal to 0", "RerunOnFailure", ""},
    {STRATEGY("Always"), "Running", "restart", NULL, 202, "", "Always", "Stop! Start"},
    {STRATEGY("Manual"), "Running", "restart", "{\"gracePeriodSeconds\":0}", 202, "", "Manual", "Stop! Start"},
    {STRATEGY("Always"), "Running", "restart", "{\"gracePeriodSeconds\":5}", 400, "only gracePeriod=0 is supported for now", "Always", ""},
    {STRATEGY("Always"), "Running", "restart", "{\"gracePeriodSeconds\":-1}", 400, "greater or equal to 0", "Always", ""},
    {STRATEGY("Always"), NULL, "restart", NULL, 409, ON "VM is not running: Halted", "Always", ""},
    {STRATEGY("Halted"), NULL, "restart", NULL, 409, ON "RunStategy Halted does not support manual restart requests", "Halted", ""},
    {STRATEGY("Once"), "Running", "restart", NULL, 409, ON "RunStategy Once does not support", "Once", ""},
    {STRATEGY("Always"), "Scheduled", "migrate", NULL, 409, ON "VM is not running", "Always", ""},
    {STRATEGY("Always"), NULL, "migrate", NULL, 404, "virtualmachineinstance.kubevirt.io \\\"vm2\\\" not found", "Always", ""},
    {STRATEGY("Always"), NULL, "start", "{", 400, "Can not unmarshal Request body to struct", "Always", ""},
};

static void test_life(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct row *row = &rows[i];
        _cleanup_free_ char *what = xasprintf("virtualmachines/vm2/%s", row->what);
        struct fixture *f = fixture_new();
        f->rest.extras = extras;
        fixture_populate(f);
        make(f, row->run, row->phase);
        check(f, what, row->body, row->status, row->part);
        expect_state(f, row->strategy, row->requests);
        fixture_free(f);
    }
}

static void test_second_request(void **state)
{
    make(*state, STRATEGY("Manual"), "Running");
    check(*state, "virtualmachines/vm2/restart", NULL, 202, "");
    check(*state, "virtualmachines/vm2/restart", NULL, 500, "Internal error occurred: unable to complete request: stop/start already underway");
    check(*state, "virtualmachines/vm2/stop", NULL, 202, "");
    expect_state(*state, "Manual", "Stop!");
}

static void test_hurry(void **state)
{
    _cleanup_doc_ yyjson_doc *vmi = NULL;

    make(*state, STRATEGY("Always"), "Running");
    vmi = get(*state, FIXTURE_VMIS "/vm2");
    _cleanup_free_ char *labels = xasprintf("{\"metadata\":{\"labels\":{\"kubevirt.io/created-by\":\"%s\"}}}", meta_uid(yyjson_doc_get_root(vmi)));
    assert_int_equal(fixture_admin(*state, "PATCH", "/api/v1" NS "/pods/p", labels), 200);
    check(*state, "virtualmachines/vm2/stop", "{\"gracePeriod\":0,\"dryRun\":[\"All\"]}", 202, "");
    _cleanup_doc_ yyjson_doc *before = get(*state, "/api/v1" NS "/pods/p");
    assert_false(meta_deleting(yyjson_doc_get_root(before)));
    check(*state, "virtualmachines/vm2/stop", "{\"gracePeriod\":0}", 202, "");
    _cleanup_doc_ yyjson_doc *after = get(*state, "/api/v1" NS "/pods/p");
    assert_int_equal(json_int(yyjson_doc_get_root(after), "/metadata/deletionGracePeriodSeconds", 0), 1);
}

static void test_migrate(void **state)
{
    make(*state, STRATEGY("Always"), "Running");
    check(*state, "virtualmachines/vm2/migrate", "{\"dryRun\":[\"All\"]}", 202, "");
    check(*state, "virtualmachines/vm2/migrate", "{\"addedNodeSelector\":{\"disk\":\"fast\"}}", 202, "");
    check(*state, "virtualmachines/vm2/migrate", NULL, 500,
          "Internal error occurred: admission webhook \\\"migration-create-validator.kubevirt.io\\\" denied the request: in-flight migration");
    _cleanup_doc_ yyjson_doc *list = get(*state, VMIMS);
    yyjson_val *one = json_at(yyjson_doc_get_root(list), "/items/0");
    assert_int_equal(yyjson_arr_size(json_at(yyjson_doc_get_root(list), "/items")), 1);
    assert_true(str_starts(meta_name(one), "kubevirt-migrate-vm-"));
    assert_string_equal(json_str(one, "/spec/vmiName"), "vm2");
    assert_string_equal(json_str(one, "/spec/addedNodeSelector/disk"), "fast");
}

#define CLAIMS "/api/v1" NS "/persistentvolumeclaims"
#define ADD(name, claim) \
    "{\"name\":\"" name "\",\"disk\":{\"disk\":{\"bus\":\"scsi\"},\"serial\":\"S\"},\"volumeSource\":{\"persistentVolumeClaim\":" \
    "{\"claimName\":\"" claim "\"}}}"
#define ON_VMI "Operation cannot be fulfilled on virtualmachineinstance.kubevirt.io \\\"vm2\\\": "

static void make_claim(struct fixture *f, const char *name, const char *mode)
{
    _cleanup_free_ char *text =
        xasprintf("{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"accessModes\":[\"ReadWriteMany\"],\"volumeMode\":\"%s\","
                  "\"resources\":{\"requests\":{\"storage\":\"1Mi\"}}}}",
                  name, mode);

    assert_int_equal(fixture_admin(f, "POST", CLAIMS, text), 201);
}

/* Names of the volumes and disks at base. */
static void expect_volumes(struct fixture *f, const char *target, const char *base, const char *want)
{
    static const char *const lists[] = {"/volumes", "/domain/devices/disks"};
    _cleanup_doc_ yyjson_doc *doc = get(f, target);
    _cleanup_str_ struct str s = {0};
    yyjson_val *item;

    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        _cleanup_free_ char *path = xasprintf("%s%s", base, lists[i]);
        json_each(json_at(yyjson_doc_get_root(doc), path), item)
            str_printf(&s, "%s%s ", json_str(item, "/name"),
                       json_bool(item, "/persistentVolumeClaim/hotpluggable", false) ? "*" : "");
    }
    assert_string_equal(str_text(&s), want);
}

#define TEMPLATE VMS "/vm2", "/spec/template/spec"

static void test_volumes_of_a_vm(void **state)
{
    struct fixture *f = *state;

    make(f, STRATEGY("Always"), "Running");
    make_claim(f, "c", "Filesystem");
    make_claim(f, "d", "Filesystem");
    make_claim(f, "raw", "Block");
    check(f, "virtualmachines/vm2/addvolume", "{}", 400, "AddVolumeOptions requires name to be set");
    check(f, "virtualmachines/vm2/addvolume", "{\"name\":\"a\"}", 400, "AddVolumeOptions requires disk to not be nil");
    check(f, "virtualmachines/vm2/addvolume", "{\"name\":\"a\",\"disk\":{}}", 400,
          "AddVolumeOptions requires VolumeSource to not be nil");
    check(f, "virtualmachines/none/addvolume", ADD("a", "c"), 404, "virtualmachine.kubevirt.io \\\"none\\\" not found");
    check(f, "virtualmachines/vm2/addvolume", ADD("a", "none"), 409,
          ON "Unable to add volume [a]: volumeSource.persistentVolumeClaim.claimName: persistentvolumeclaim \\\"none\\\" not found");
    check(f, "virtualmachines/vm2/addvolume", ADD("a", "raw"), 409, "has volumeMode Block");
    check(f, "virtualmachines/vm2/addvolume",
          "{\"name\":\"a\",\"disk\":{\"disk\":{\"bus\":\"sata\"}},\"volumeSource\":{\"persistentVolumeClaim\":{\"claimName\":\"c\"}}}",
          422, "requires bus to be 'scsi' or 'virtio'. [sata] is not permitted.");
    check(f, "virtualmachines/vm2/addvolume",
          "{\"name\":\"a\",\"dryRun\":[\"All\"],\"disk\":{\"disk\":{\"bus\":\"scsi\"}},\"volumeSource\":"
          "{\"persistentVolumeClaim\":{\"claimName\":\"c\"}}}",
          202, "");
    expect_volumes(f, TEMPLATE, ""); /* nothing was changed so far */
    check(f, "virtualmachines/vm2/addvolume", ADD("a", "c"), 202, "");
    expect_volumes(f, TEMPLATE, "a* a ");
    check(f, "virtualmachines/vm2/addvolume", ADD("a", "d"), 409,
          ON "Unable to add volume [a] because volume with that name already exists");
    check(f, "virtualmachines/vm2/addvolume", ADD("b", "c"), 409, ON "Unable to add volume source [c] because it already exists");
    check(f, "virtualmachines/vm2/removevolume", "{\"name\":\"x\"}", 409, ON "Unable to remove volume [x] because it does not exist");
    check(f, "virtualmachines/vm2/removevolume", "{}", 400, "RemoveVolumeOptions requires name to be set");
    check(f, "virtualmachines/vm2/removevolume", "{\"name\":\"a\"}", 202, "");
    expect_volumes(f, TEMPLATE, "");
}

static void test_volumes_of_an_instance(void **state)
{
    struct fixture *f = *state;

    make(f, STRATEGY("Always"), "Scheduled");
    make_claim(f, "c", "Filesystem");
    check(f, "virtualmachineinstances/vm2/addvolume", ADD("a", "c"), 409, ON_VMI "VMI is not running");
    assert_int_equal(fixture_admin(f, "PATCH", FIXTURE_VMIS "/vm2", "{\"status\":{\"phase\":\"Running\"}}"), 200);
    check(f, "virtualmachineinstances/vm2/addvolume", ADD("a", "c"), 202, "");
    expect_volumes(f, FIXTURE_VMIS "/vm2", "/spec", "a* a ");
    check(f, "virtualmachineinstances/vm2/removevolume", "{\"name\":\"c\"}", 202, ""); /* by its source */
    expect_volumes(f, FIXTURE_VMIS "/vm2", "/spec", "");
    check(f, "virtualmachines/vm2/migrate", NULL, 202, "");
    _cleanup_doc_ yyjson_doc *list = get(f, VMIMS);
    _cleanup_free_ char *target =
        xasprintf(VMIMS "/%s/status", meta_name(json_at(yyjson_doc_get_root(list), "/items/0")));
    assert_int_equal(fixture_admin(f, "PATCH", target, "{\"status\":{\"phase\":\"Scheduling\"}}"), 200);
    check(f, "virtualmachineinstances/vm2/addvolume", ADD("a", "c"), 409, "is under way (Scheduling)");
    check(f, "virtualmachines/vm2/addvolume", ADD("a", "c"), 202, ""); /* its controller waits */
}

/* One that another VM has; and one that cannot be taken from a VM whose template has it. */
static void test_volumes_that_are_in_use(void **state)
{
    struct fixture *f = *state;

    make(f, STRATEGY("Always"), "Running");
    make_claim(f, "c", "Filesystem");
    assert_int_equal(
        fixture_admin(f, "POST", FIXTURE_VMIS,
                      "{\"metadata\":{\"name\":\"other\"},\"spec\":{\"domain\":{\"memory\":{\"guest\":\"64Mi\"},\"devices\":{"
                      "\"disks\":[{\"name\":\"a\",\"disk\":{\"bus\":\"virtio\"}}]}},\"volumes\":[{\"name\":\"a\","
                      "\"persistentVolumeClaim\":{\"claimName\":\"c\"}}]}}"),
        201);
    check(f, "virtualmachines/vm2/addvolume", ADD("a", "c"), 409,
          "persistentvolumeclaim \\\"c\\\" is in use by virtual machine instance other");
    assert_int_equal(fixture_admin(f, "PATCH", FIXTURE_VMIS "/other", "{\"status\":{\"phase\":\"Succeeded\"}}"), 200);
    check(f, "virtualmachines/vm2/addvolume", ADD("a", "c"), 202, "");
    check(f, "virtualmachineinstances/other/removevolume", "{\"name\":\"a\"}", 409, "VMI is not running");
}

static void test_evacuation_is_cancelled(void **state)
{
    struct fixture *f = *state;

    make(f, STRATEGY("Always"), "Running");
    check(f, "virtualmachineinstances/vm2/evacuate/cancel", NULL, 200, ""); /* nothing to cancel */
    assert_int_equal(fixture_admin(f, "PATCH", FIXTURE_VMIS "/vm2", "{\"status\":{\"evacuationNodeName\":\"node-a\"}}"), 200);
    check(f, "virtualmachines/vm2/evacuate/cancel", NULL, 400, "No body");
    check(f, "virtualmachines/vm2/evacuate/cancel", "{\"evacuationNodeName\":\"node-b\"}", 500, "Internal error occurred");
    assert_int_equal(fixture_admin(f, "PATCH", "/api/v1/nodes/node-a",
                                   "{\"spec\":{\"taints\":[{\"key\":\"kubevirt.io/drain\",\"effect\":\"NoSchedule\"}]}}"), 200);
    check(f, "virtualmachines/vm2/evacuate/cancel", "{\"evacuationNodeName\":\"node-a\"}", 400,
          "Node \\\"node-a\\\" has NodeDrainTaintKey \\\"kubevirt.io/drain:NoSchedule\\\"");
    assert_int_equal(fixture_admin(f, "PATCH", "/api/v1/nodes/node-a", "{\"spec\":{\"taints\":null}}"), 200);
    check(f, "virtualmachineinstances/vm2/evacuate/cancel", "{\"evacuationNodeName\":\"node-a\",\"dryRun\":[\"All\"]}", 200, "");
    check(f, "virtualmachineinstances/vm2/evacuate/cancel", "{\"evacuationNodeName\":\"node-a\"}", 200, "");
    _cleanup_doc_ yyjson_doc *vmi = get(f, FIXTURE_VMIS "/vm2");
    assert_null(json_str(yyjson_doc_get_root(vmi), "/status/evacuationNodeName"));
    check(f, "virtualmachineinstances/none/evacuate/cancel", NULL, 404, "virtualmachineinstance.kubevirt.io \\\"none\\\" not found");
}

static void test_expand(void **state)
{
    make(*state, STRATEGY("Halted"), NULL);
    _cleanup_doc_ yyjson_doc *vm = get(*state, SUB "/virtualmachines/vm2/expand-spec");
    assert_string_equal(json_str(yyjson_doc_get_root(vm), "/kind"), "VirtualMachine");
    assert_string_equal(json_str(yyjson_doc_get_root(vm), "/apiVersion"), "kubevirt.io/v1");
    check(*state, "expand-vm-spec", "{\"metadata\":{\"name\":\"x\"},\"spec\":{\"runStrategy\":\"Halted\",\"template\":{\"spec\":" SPEC "}}}", 200,
          "\"name\":\"x\"");
    check(*state, "expand-vm-spec", "{\"spec\":{\"runStrategy\":\"Sometimes\",\"template\":{\"spec\":" SPEC "}}}", 400, "not a valid VirtualMachine");
    check(*state, "expand-vm-spec", NULL, 400, "empty request body");
}

static void test_paths(void **state)
{
    static const struct {
        const char *method, *target;
        int status;
    } paths[] = {
        {"GET", "/apis/subresources.kubevirt.io/v1/version", 200},
        {"GET", "/apis/subresources.kubevirt.io/v1alpha3/healthz", 200},
        {"GET", "/apis/subresources.kubevirt.io/v9/version", 404},
        {"PUT", "/apis/subresources.kubevirt.io/v1alpha3" NS "/virtualmachines/none/start", 404},
        {"PUT", "/apis/subresources.kubevirt.io/v1/virtualmachines/vm2/start", 404},
        {"GET", SUB "/virtualmachines/vm2/start", 405},
        {"GET", SUB "/virtualmachines/vm2", 404},
        {"PUT", SUB "/virtualmachines/vm2/start/more", 404},
        {"PUT", "/apis/kubevirt.io/v1" NS "/virtualmachines/vm2/start", 404},
    };

    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        int got = fixture_call(*state, "a", "system:masters", paths[i].method, paths[i].target, NULL, NULL);
        if (got != paths[i].status)
            fail_msg("%s %s: %d", paths[i].method, paths[i].target, got);
    }
}

/* What Godwit does not have says so, and what to do instead. */
static void test_refused(void **state)
{
    static const struct {
        const char *method, *target, *part;
    } refusals[] = {
        {"PUT", SUB "/virtualmachines/vm2/memorydump",
         "virtualmachines.subresources.kubevirt.io \\\"vm2\\\" is forbidden: Godwit writes no dumps of a guest's memory"},
        {"GET", SUB "/virtualmachineinstances/vm2/vnc/screenshot", "virtctl vnc"},
        {"GET", "/apis/subresources.kubevirt.io/v1alpha3" NS "/virtualmachineinstances/vm2/sev/fetchcertchain", "confidential"},
        {"POST", "/api/v1" NS "/pods/p/exec?command=ls", "pods \\\"p\\\" is forbidden: it holds a virtual machine and no container"},
        {"GET", "/api/v1" NS "/pods/p/proxy/healthz", "virtctl port-forward"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
        _cleanup_free_ char *text = NULL;
        int got = fixture_call(*state, "a", "system:masters", refusals[i].method, refusals[i].target, NULL, &text);
        if (got != 403 || !strstr(text, refusals[i].part))
            fail_msg("%s: %d %s", refusals[i].target, got, text);
    }
}

/* The right to it is that of the subresource, and names it. */
static void test_authorization(void **state)
{
    _cleanup_free_ char *text = NULL;

    make(*state, STRATEGY("Halted"), NULL);
    assert_int_equal(fixture_call(*state, "u", "dev", "PUT", SUB "/virtualmachines/vm2/start", "{}", &text), 403);
    assert_non_null(strstr(text, "cannot update resource \\\"virtualmachines/start\\\" in API group \\\"subresources.kubevirt.io\\\" in the "
                                 "namespace \\\"default\\\""));
    expect_state(*state, "Halted", "");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),
        TEST(test_second_request),
        TEST(test_hurry),
        TEST(test_migrate),
        TEST(test_volumes_of_a_vm),
        TEST(test_volumes_of_an_instance),
        TEST(test_volumes_that_are_in_use),
        TEST(test_evacuation_is_cancelled),
        TEST(test_expand),
        TEST(test_paths),
        TEST(test_refused),
        TEST(test_authorization),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
