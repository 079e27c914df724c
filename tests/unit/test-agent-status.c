/* What the agent says of VMs, pods and its node: functions from facts to the least patch. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "agent/core/difference.h"
#include "agent/core/pod_status.h"
#include "agent/core/vmi_status.h"
#include "agent/node/node_object.h"
#include "base/alloc.h"
#include "base/str.h"
#include "quoted.h"

static struct qemu_facts *facts(const char *extra)
{
    _cleanup_free_ char *text = xasprintf(
        "{'binary':'q','version':'10.0.2','kvm':false,'kvmReason':'no "
        "device','machine':'pc-q35-10.0','vendor':'GenuineIntel',"
        "'machines':['pc-q35-10.0','q35'],'features':['aes','sse4.2'],'hostModel':'Westmere','hostFeatures':['x'],"
        "'models':[{'name':'Westmere','missing':[]},{'name':'Haswell','missing':['pcid']}]%s}",
        extra);
    _cleanup_doc_ yyjson_doc *doc = json(text);
    struct qemu_facts *f = NULL;

    assert_return_code(qemu_facts_read(yyjson_doc_get_root(doc), &f, NULL), 0);
    return f;
}

/* A merge patch applied: the object as the server would have it then. */
static yyjson_doc *apply(yyjson_val *object, yyjson_mut_doc *patch)
{
    _cleanup_doc_ yyjson_doc *p = yyjson_mut_doc_imut_copy(patch, NULL);
    _cleanup_mut_doc_ yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);

    yyjson_mut_doc_set_root(d, yyjson_merge_patch(d, object, yyjson_doc_get_root(p)));
    return yyjson_mut_doc_imut_copy(d, NULL);
}

static const char *condition(yyjson_val *object, const char *type, const char *key)
{
    yyjson_val *item;

    json_each(json_at(object, "/status/conditions"), item)
        if (streq(json_str_or(item, "/type", ""), type))
            return yyjson_get_str(yyjson_obj_get(item, key));
    return NULL;
}

static void test_difference(void **state)
{
    _cleanup_doc_ yyjson_doc *have = json("{'a':{'b':1,'c':[1,2]},'d':'x'}"), *same = json("{'a':{'c':[1,2]}}"),
                             *other = json("{'a':{'b':1,'c':[2]},'e':true}");
    _cleanup_mut_doc_ yyjson_mut_doc *want_same = json_copy(yyjson_doc_get_root(same)),
                                     *want = json_copy(yyjson_doc_get_root(other));

    assert_null(json_difference(yyjson_doc_get_root(have), want_same));
    _cleanup_mut_doc_ yyjson_mut_doc *got = json_difference(yyjson_doc_get_root(have), want);
    _cleanup_free_ char *text = json_text(yyjson_mut_doc_get_root(got));
    assert_string_equal(text, "{\"a\":{\"c\":[2]},\"e\":true}");
}

#define VMI \
    "{'metadata':{'name':'vm1','namespace':'ns','resourceVersion':'7'},'spec':{'domain':{'cpu':{'cores':2},'devices':" \
    "{" \
    "'disks':[{'name':'root','disk':{}},{'name':'cd','cdrom':{}},{'name':'data','disk':{}}],'interfaces':[{'name':'" \
    "default'," \
    "'masquerade':{}}]}},'networks':[{'name':'default','pod':{}}],'volumes':[{'name':'root','containerDisk':{'image':" \
    "'i'}}," \
    "{'name':'cd','containerDisk':{'image':'i'}},{'name':'data','persistentVolumeClaim':{'claimName':'c'}}]}," \
    "'status':{'phase':'Scheduling','phaseTransitionTimestamps':[{'phase':'Pending','phaseTransitionTimestamp':'t'}]," \
    "'conditions':[{'type':'Other','status':'True'},{'type':'Synchronized','status':'False'}]}}"

static struct disk three_disks[] = {
    {.name = "root", .target = "vda", .size = 100},
    {.name = "cd", .target = "sda", .size = 5, .read_only = true},
    {.name = "data", .target = "vdb", .size = 7, .shared = true},
};
static char *three_digests[] = {"sha256:aa", "sha256:aa", ""};

static struct vmi_report report(const struct qemu_facts *f)
{
    static const struct disk_vec disks = {three_disks, 3, 3};
    static const struct strv digests = {three_digests, 3, 3};

    return (struct vmi_report){.node = "node-a",
                               .pod_uid = "p-1",
                               .phase = VM_RUNNING,
                               .ready = true,
                               .vm_address = "10.244.128.7",
                               .machine = "pc-q35-10.0",
                               .cpu = "Westmere-v1",
                               .disks = &disks,
                               .digests = &digests,
                               .facts = f,
                               .memory = 128 << 20,
                               .now_ms = 1000,
                               .version = "1"};
}

static void test_a_running_vm(void **state)
{
    struct qemu_facts *f = facts("");
    struct vmi_report r = report(f);
    _cleanup_doc_ yyjson_doc *before = json(VMI);
    _cleanup_mut_doc_ yyjson_mut_doc *patch = vmi_status_patch(yyjson_doc_get_root(before), &r);
    _cleanup_doc_ yyjson_doc *after = apply(yyjson_doc_get_root(before), patch);
    yyjson_val *v = yyjson_doc_get_root(after);

    assert_string_equal(json_mut_str(patch, "/metadata/resourceVersion"), "7");
    assert_string_equal(json_str(v, "/status/phase"), "Running");
    assert_string_equal(json_str(v, "/status/phaseTransitionTimestamps/1/phase"), "Scheduled");
    assert_string_equal(json_str(v, "/status/phaseTransitionTimestamps/2/phase"), "Running");
    assert_string_equal(json_str(v, "/status/nodeName"), "node-a");
    assert_string_equal(json_key_str(v, "/metadata/labels", "kubevirt.io/nodeName"), "node-a");
    assert_string_equal(json_str(v, "/status/activePods/p-1"), "node-a");
    assert_string_equal(json_str(v, "/status/interfaces/0/ipAddress"), "10.244.128.7");
    assert_string_equal(json_str(v, "/status/volumeStatus/0/containerDiskVolume/digest"), "sha256:aa");
    assert_string_equal(json_str(v, "/status/volumeStatus/0/target"), "vda");
    assert_string_equal(json_str(v, "/status/volumeStatus/1/target"), "sda");
    assert_string_equal(json_str(v, "/status/volumeStatus/2/target"), "vdb");
    assert_string_equal(json_str(v, "/status/volumeStatus/2/persistentVolumeClaimInfo/accessModes/0"), "ReadWriteMany");
    assert_string_equal(json_str(v, "/status/machine/type"), "pc-q35-10.0");
    assert_string_equal(json_str(v, "/status/memory/guestAtBoot"), "128Mi");
    assert_int_equal(json_int(v, "/status/currentCPUTopology/cores", 0), 2);
    assert_string_equal(json_str(v, "/status/migrationMethod"), "BlockMigration");
    assert_string_equal(condition(v, "Ready", "status"), "True");
    assert_string_equal(condition(v, "LiveMigratable", "status"), "True");
    assert_string_equal(condition(v, "Other", "status"), "True");
    assert_null(condition(v, "Synchronized", "status"));
    assert_string_equal(json_key_str(v, "/metadata/annotations", "godwit.io/cpu"), "Westmere-v1");

    /* said once, it is not said again */
    r.now_ms = 99000;
    assert_null(vmi_status_patch(v, &r));
    qemu_facts_free(f);
}

static void test_changes_are_small(void **state)
{
    struct qemu_facts *f = facts("");
    struct vmi_report r = report(f);
    _cleanup_doc_ yyjson_doc *before = json(VMI);
    _cleanup_mut_doc_ yyjson_mut_doc *first = vmi_status_patch(yyjson_doc_get_root(before), &r);
    _cleanup_doc_ yyjson_doc *running = apply(yyjson_doc_get_root(before), first);

    r.paused_reason = "PausedIOError";
    r.ready = false;
    r.now_ms = 5000;
    _cleanup_mut_doc_ yyjson_mut_doc *pause = vmi_status_patch(yyjson_doc_get_root(running), &r);
    assert_int_equal(yyjson_mut_obj_size(json_mut_at(pause, "/status")), 1);
    _cleanup_doc_ yyjson_doc *paused = apply(yyjson_doc_get_root(running), pause);
    assert_string_equal(condition(yyjson_doc_get_root(paused), "Paused", "reason"), "PausedIOError");
    assert_string_equal(condition(yyjson_doc_get_root(paused), "Ready", "reason"), "GuestNotRunning");
    assert_string_equal(condition(yyjson_doc_get_root(paused), "Ready", "lastTransitionTime"), "1970-01-01T00:00:05Z");
    assert_string_equal(condition(yyjson_doc_get_root(paused), "LiveMigratable", "lastTransitionTime"),
                        "1970-01-01T00:00:01Z");

    r.paused_reason = NULL;
    r.phase = VM_FAILED;
    r.reason = "crashed";
    r.message = "QEMU was ended by signal 9";
    r.vm_address = NULL;
    _cleanup_mut_doc_ yyjson_mut_doc *end = vmi_status_patch(yyjson_doc_get_root(paused), &r);
    _cleanup_doc_ yyjson_doc *ended = apply(yyjson_doc_get_root(paused), end);
    yyjson_val *v = yyjson_doc_get_root(ended);
    assert_string_equal(json_str(v, "/status/phase"), "Failed");
    assert_string_equal(json_str(v, "/status/reason"), "crashed");
    assert_string_equal(condition(v, "Ready", "reason"), "crashed");
    assert_null(condition(v, "Paused", "status"));
    assert_string_equal(json_str(v, "/status/interfaces/0/ipAddress"), "10.244.128.7");
    qemu_facts_free(f);
}

static char hot_definition[] = "{\"disk\":{\"name\":\"h\",\"disk\":{\"bus\":\"scsi\"}},\"volume\":{\"name\":\"h\","
                               "\"persistentVolumeClaim\":{\"claimName\":\"c\",\"hotpluggable\":true}}}";

/* What is said of a hot disk in that phase, and of a volume that waits. */
static yyjson_doc *hot_status(const char *vmi_text, enum disk_phase phase, const struct volume_report *more)
{
    struct qemu_facts *f = facts("");
    struct disk hot = {.name = "h", .target = "sdb", .hot = true, .shared = true, .phase = phase, .definition = hot_definition};
    const struct disk_vec disks = {&hot, 1, 1};
    struct volume_report one = more ? *more : (struct volume_report){0};
    const struct volume_report_vec reports = {&one, more ? 1 : 0, 1};
    struct vmi_report r = report(f);
    _cleanup_doc_ yyjson_doc *vmi = json(vmi_text);

    r.disks = &disks;
    r.volumes = &reports;
    r.monotonic_ms = 20000;
    _cleanup_mut_doc_ yyjson_mut_doc *patch = vmi_status_patch(yyjson_doc_get_root(vmi), &r);
    yyjson_doc *after = apply(yyjson_doc_get_root(vmi), patch);
    if (json_mut_at(patch, "/status/volumeStatus")) /* a list is replaced whole: never over somebody's newer one */
        assert_non_null(json_mut_str(patch, "/metadata/resourceVersion"));
    qemu_facts_free(f);
    return after;
}

#define RUNNING "{'metadata':{'name':'v','resourceVersion':'7'},'spec':{},'status':{'phase':'Running'%s}}"

static void test_hot_volumes(void **state)
{
    static char name[] = "w", reason[] = "PVCNotReady", message[] = "claim w is not there", h[] = "h";
    const struct volume_report waits = {.name = name, .reason = reason, .message = message};
    const struct volume_report stuck = {.name = h, .unplug_ms = 5000};
    _cleanup_free_ char *idle = xasprintf(RUNNING, "");
    _cleanup_free_ char *moving = xasprintf(RUNNING, ",'migrationState':{'handover':{'epoch':1}}");
    _cleanup_doc_ yyjson_doc *plugging = hot_status(idle, DISK_PLUGGING, &waits), *ready = hot_status(idle, DISK_READY, NULL);
    _cleanup_doc_ yyjson_doc *leaving = hot_status(idle, DISK_DETACHING, &stuck), *open = hot_status(moving, DISK_READY, NULL);
    yyjson_val *v = json_at(yyjson_doc_get_root(plugging), "/status/volumeStatus");

    assert_string_equal(json_str(v, "/0/phase"), "MountedToPod");
    assert_string_equal(json_str(v, "/0/target"), "sdb");
    assert_string_equal(json_str(v, "/0/reason"), "VolumeMountedToPod");
    assert_string_equal(json_str(v, "/0/message"), "Volume h has been mounted in virt-launcher pod");
    assert_string_equal(json_str(v, "/0/hotplugVolume/disk/disk/bus"), "scsi");
    assert_string_equal(json_str(v, "/0/persistentVolumeClaimInfo/claimName"), "c");
    assert_string_equal(json_str(v, "/1/name"), "w");
    assert_string_equal(json_str(v, "/1/phase"), "Pending");
    assert_string_equal(json_str(v, "/1/target"), "");
    assert_string_equal(json_str(v, "/1/message"), "claim w is not there");
    assert_string_equal(json_str(yyjson_doc_get_root(ready), "/status/volumeStatus/0/message"),
                        "Successfully attach hotplugged volume h to VM");
    assert_string_equal(condition(yyjson_doc_get_root(ready), "LiveMigratable", "status"), "True");
    assert_string_equal(condition(yyjson_doc_get_root(leaving), "LiveMigratable", "reason"), "HotplugNotLiveMigratable");
    assert_null(json_at(yyjson_doc_get_root(open), "/status/volumeStatus")); /* a migration's target goes by it */
}

static void assert_blocked(const char *vmi_text, bool shared, const char *facts_extra, int major, const char *reason)
{
    struct qemu_facts *f = facts(facts_extra);
    _cleanup_doc_ yyjson_doc *vmi = json(vmi_text);
    struct disk disk = {.name = "d", .shared = shared};
    const struct disk_vec disks = {&disk, 1, 1};

    f->major = major;
    const struct vmi_report r = {.disks = &disks, .facts = f};
    struct migratable m = vmi_migratable(yyjson_doc_get_root(vmi), &r);
    assert_string_equal(m.reason ? m.reason : "none", reason);
    assert_true(!m.reason == !m.message);
    free(m.message);
    qemu_facts_free(f);
}

#define CLAIMED "'volumes':[{'name':'d','persistentVolumeClaim':{'claimName':'c'}}]"

static void test_what_hinders_a_migration(void **state)
{
    assert_blocked("{'spec':{}}", false, "", 10, "none");
    assert_blocked("{'spec':{" CLAIMED "}}", true, "", 10, "none");
    assert_blocked("{'spec':{" CLAIMED "}}", false, "", 10, "DisksNotLiveMigratable");
    assert_blocked(
        "{'spec':{" CLAIMED
        ",'networks':[{'name':'n','pod':{}}],'domain':{'devices':{'interfaces':[{'name':'n','bridge':{}}]}}}}",
        false, "", 10, "InterfaceNotLiveMigratable");
    assert_blocked("{'spec':{'networks':[{'name':'n','pod':{}}]}}", false, "", 10, "none");
    assert_blocked("{'spec':{}}", false, "", 7, "NotMigratable");
}

static void test_migration_method(void **state)
{
    _cleanup_doc_ yyjson_doc *claims =
        json("{'spec':{'domain':{'devices':{'disks':[{'name':'d','disk':{}},{'name':'cd','cdrom':{}}]}}," CLAIMED "}}");
    _cleanup_doc_ yyjson_doc *seed = json("{'spec':{'domain':{'devices':{'disks':[{'name':'s','disk':{}}]}},'volumes':["
                                          "{'name':'s','cloudInitNoCloud':{}}]}}");

    assert_string_equal(vmi_migration_method(yyjson_doc_get_root(claims)), "LiveMigration");
    assert_string_equal(vmi_migration_method(yyjson_doc_get_root(seed)), "BlockMigration");
}

static void test_pods(void **state)
{
    _cleanup_doc_ yyjson_doc *pod =
        json("{'metadata':{'uid':'u','resourceVersion':'3'},'spec':{'containers':[{'name':'compute','image':'i'}]},"
             "'status':{'phase':'Pending','conditions':[{'type':'PodScheduled','status':'True'}]}}");
    struct pod_report r = {.phase = "Pending",
                           .waiting_reason = "ErrImagePull",
                           .waiting_message = "m",
                           .host_ip = "1.2.3.4",
                           .now_ms = 1000,
                           .version = "godwit://1"};
    _cleanup_mut_doc_ yyjson_mut_doc *p1 = pod_status_patch(yyjson_doc_get_root(pod), &r);
    _cleanup_doc_ yyjson_doc *waiting = apply(yyjson_doc_get_root(pod), p1);
    yyjson_val *v = yyjson_doc_get_root(waiting);

    assert_string_equal(json_str(v, "/status/containerStatuses/0/state/waiting/reason"), "ErrImagePull");
    assert_string_equal(condition(v, "PodScheduled", "status"), "True");
    assert_string_equal(condition(v, "Ready", "reason"), "ContainersNotReady");
    assert_null(pod_status_patch(v, &r));

    r.phase = "Running";
    r.ready = true;
    r.started_ms = 2000;
    r.pod_ip = "10.244.0.9";
    _cleanup_mut_doc_ yyjson_mut_doc *p2 = pod_status_patch(v, &r);
    _cleanup_doc_ yyjson_doc *running = apply(v, p2);
    v = yyjson_doc_get_root(running);
    assert_string_equal(json_str(v, "/status/podIP"), "10.244.0.9");
    assert_true(json_bool(v, "/status/containerStatuses/0/ready", false));
    assert_null(json_at(v, "/status/containerStatuses/0/state/waiting"));

    r.phase = "Failed";
    r.ready = false;
    r.reason = "crashed";
    r.signal = 9;
    r.exit_code = -1;
    r.finished_ms = 3000;
    r.pod_ip = NULL;
    _cleanup_mut_doc_ yyjson_mut_doc *p3 = pod_status_patch(v, &r);
    _cleanup_doc_ yyjson_doc *failed = apply(v, p3);
    v = yyjson_doc_get_root(failed);
    assert_int_equal(json_int(v, "/status/containerStatuses/0/state/terminated/exitCode", 0), 137);
    assert_string_equal(json_str(v, "/status/reason"), "crashed");
    assert_string_equal(condition(v, "Ready", "reason"), "PodFailed");
    assert_string_equal(json_str(v, "/status/podIP"), "10.244.0.9");
}

static void test_a_node(void **state)
{
    struct qemu_facts *f = facts("");
    const struct host_facts h = {.node = "n1",
                                 .address = "10.0.0.1",
                                 .cpus = 4,
                                 .memory = 8LL << 30,
                                 .disk = 1 << 30,
                                 .machine_id = "m",
                                 .kernel = "6.1",
                                 .os_image = "Debian",
                                 .version = "1",
                                 .shared_dir = "/s"};
    _cleanup_doc_ yyjson_doc *old = json("{'metadata':{'labels':{'cpu-model.node.kubevirt.io/Penryn':'true','mine':'x',"
                                         "'cpu-model.node.kubevirt.io/Westmere':'true'}}}");
    _cleanup_mut_doc_ yyjson_mut_doc *meta = node_metadata(&h, f, yyjson_doc_get_root(old), 0);
    _cleanup_doc_ yyjson_doc *labelled = apply(yyjson_doc_get_root(old), meta);
    yyjson_val *labels = json_at(yyjson_doc_get_root(labelled), "/metadata/labels");
    static const char *const expected[] = {
        "kubevirt.io/schedulable",
        "cpu-model.node.kubevirt.io/Westmere",
        "cpu-model-migration.node.kubevirt.io/Haswell",
        "cpu-feature.node.kubevirt.io/sse4.2",
        "host-model-cpu.node.kubevirt.io/Westmere",
        "cpu-vendor.node.kubevirt.io/GenuineIntel",
        "host-model-required-features.node.kubevirt.io/x",
        "machine-type.node.kubevirt.io/pc-q35-10.0",
    };

    for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
        assert_string_equal(yyjson_get_str(yyjson_obj_get(labels, expected[i])), "true");
    assert_null(yyjson_obj_get(labels, "cpu-model.node.kubevirt.io/Haswell"));
    assert_null(yyjson_obj_get(labels, "cpu-model.node.kubevirt.io/Penryn")); /* an earlier QEMU had it */
    assert_string_equal(yyjson_get_str(yyjson_obj_get(labels, "mine")), "x");

    _cleanup_mut_doc_ yyjson_mut_doc *status = node_status(&h, f, NULL, 0);
    assert_string_equal(json_mut_str(status, "/status/capacity/memory"), "8Gi");
    assert_string_equal(json_mut_str(status, "/status/allocatable/memory"), "7680Mi");
    assert_string_equal(json_mut_str(status, "/status/capacity/devices.kubevirt.io~1kvm"), "0");
    assert_string_equal(json_mut_str(status, "/status/addresses/0/address"), "10.0.0.1");
    qemu_facts_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_difference),
        cmocka_unit_test(test_a_running_vm),
        cmocka_unit_test(test_changes_are_small),
        cmocka_unit_test(test_hot_volumes),
        cmocka_unit_test(test_what_hinders_a_migration),
        cmocka_unit_test(test_migration_method),
        cmocka_unit_test(test_pods),
        cmocka_unit_test(test_a_node),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
