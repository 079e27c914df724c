/* Admission of VirtualMachine, VirtualMachineInstance and VirtualMachineInstanceMigration. */
#include "rules-helper.h"

#include "base/fs.h"

static const char small[] = "apiVersion: kubevirt.io/v1\n"
                            "kind: VirtualMachineInstance\n"
                            "metadata: {name: small, namespace: default}\n"
                            "spec:\n"
                            "  domain:\n"
                            "    memory: {guest: 128Mi}\n"
                            "    devices:\n"
                            "      disks: [{name: root, disk: {bus: virtio}}]\n"
                            "  volumes:\n"
                            "    - {name: root, containerDisk: {image: 'guest:1'}}\n";

/* The object that text describes as it would be stored; it must be accepted. */
static yyjson_doc *accept(const char *text)
{
    _cleanup_doc_ yyjson_doc *object = yaml(text);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    yyjson_doc *stored = admit(&world, yyjson_doc_get_root(object), NULL, &err);
    _cleanup_free_ char *faults = causes(&err);

    assert_string_equal(faults, "");
    return stored;
}

static void assert_text(yyjson_doc *doc, const char *path, const char *value)
{
    const char *text = json_str(yyjson_doc_get_root(doc), path);

    if (!text || !streq(text, value))
        fail_msg("%s is %s, not %s", path, text ? text : "absent", value);
}

static void assert_number(yyjson_doc *doc, const char *path, int64_t value)
{
    assert_int_equal(json_int(yyjson_doc_get_root(doc), path, -1), value);
}

/* What a real cluster filled in for such a VirtualMachineInstance, but for the binding of the interface. */
static void test_vmi_defaults(void **state)
{
    _cleanup_doc_ yyjson_doc *vmi = accept(small);
    yyjson_val *root = yyjson_doc_get_root(vmi);

    assert_text(vmi, "/spec/architecture", "amd64");
    assert_text(vmi, "/spec/domain/machine/type", "q35");
    assert_text(vmi, "/spec/domain/cpu/model", "host-model");
    assert_number(vmi, "/spec/domain/cpu/sockets", 1);
    assert_number(vmi, "/spec/domain/cpu/cores", 1);
    assert_number(vmi, "/spec/domain/cpu/threads", 1);
    assert_number(vmi, "/spec/domain/cpu/maxSockets", 4);
    assert_true(json_bool(root, "/spec/domain/features/acpi/enabled", false));
    assert_int_equal(strlen(json_str_or(root, "/spec/domain/firmware/uuid", "")), 36);
    assert_text(vmi, "/spec/evictionStrategy", "None");
    assert_text(vmi, "/spec/networks/0/name", "default");
    assert_non_null(json_at(root, "/spec/networks/0/pod"));
    assert_non_null(json_at(root, "/spec/domain/devices/interfaces/0/masquerade"));
    assert_text(vmi, "/spec/volumes/0/containerDisk/imagePullPolicy", "IfNotPresent");
    assert_null(json_at(root, "/spec/terminationGracePeriodSeconds"));
    assert_text(vmi, "/metadata/finalizers/0", "kubevirt.io/foregroundDeleteVirtualMachine");
    assert_text(vmi, "/status/phase", "Pending");
    assert_text(vmi, "/status/phaseTransitionTimestamps/0/phase", "Pending");
    assert_text(vmi, "/status/phaseTransitionTimestamps/0/phaseTransitionTimestamp", "2025-11-21T00:00:00Z");
    assert_text(vmi, "/status/memory/guestAtBoot", "128Mi");
    assert_number(vmi, "/status/currentCPUTopology/cores", 1);
}

static void test_vmi_defaults_from_what_is_there(void **state)
{
    _cleanup_doc_ yyjson_doc *vmi = accept(
        "apiVersion: kubevirt.io/v1\nkind: VirtualMachineInstance\nmetadata: {name: a, namespace: default}\n"
        "spec:\n  domain:\n    resources: {requests: {memory: 1Gi, cpu: 2500m}}\n    devices: {autoattachPodInterface: false}\n"
        "  volumes: [{name: a, containerDisk: {image: 'r.io:5000/x/guest'}}, {name: b, emptyDisk: {capacity: 1Gi}}]\n"
        "status: {phase: Running, nodeName: forged}\n");
    yyjson_val *root = yyjson_doc_get_root(vmi);

    assert_text(vmi, "/spec/domain/memory/guest", "1Gi");
    assert_number(vmi, "/spec/domain/cpu/sockets", 3);
    assert_null(json_at(root, "/spec/networks"));
    assert_text(vmi, "/spec/volumes/0/containerDisk/imagePullPolicy", "Always");
    assert_text(vmi, "/spec/domain/devices/disks/1/name", "b");
    assert_text(vmi, "/spec/domain/devices/disks/1/disk/bus", "sata");
    assert_text(vmi, "/status/phase", "Pending");
    assert_null(json_at(root, "/status/nodeName"));
}

static void test_settings_are_defaults(void **state)
{
    world_add(&world, "apiVersion: kubevirt.io/v1\nkind: KubeVirt\nmetadata: {name: kubevirt, namespace: kubevirt}\n"
                      "spec: {configuration: {evictionStrategy: LiveMigrate, machineType: pc-q35-7.2}}\n");
    world_add(&world, "apiVersion: hco.kubevirt.io/v1beta1\nkind: HyperConverged\n"
                      "metadata: {name: kubevirt-hyperconverged, namespace: openshift-cnv}\n"
                      "spec: {defaultCPUModel: Nehalem, evictionStrategy: External}\n");
    _cleanup_doc_ yyjson_doc *vmi = accept(small);

    assert_text(vmi, "/spec/evictionStrategy", "LiveMigrate");
    assert_text(vmi, "/spec/domain/machine/type", "pc-q35-7.2");
    assert_text(vmi, "/spec/domain/cpu/model", "Nehalem");
}

/* HyperConverged's rule: where a VM can go elsewhere, it is moved. */
static void test_eviction_follows_the_number_of_nodes(void **state)
{
    world_add(&world, "apiVersion: v1\nkind: Node\nmetadata: {name: a}\n");
    _cleanup_doc_ yyjson_doc *alone = accept(small);

    world_add(&world, "apiVersion: v1\nkind: Node\nmetadata: {name: b}\n");
    _cleanup_doc_ yyjson_doc *several = accept(small);
    assert_text(alone, "/spec/evictionStrategy", "None");
    assert_text(several, "/spec/evictionStrategy", "LiveMigrate");
}

#define REQUIRED_TERMS \
    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"

/* One change to the small VMI, as a merge of a value at a pointer, and the cause that must come of it. */
static const struct {
    const char *pointer, *value, *field, *message;
} bad[] = {
    {"/spec/domain/memory", "{}", "spec.domain.memory.guest", "no memory requested"},
    {"/spec/domain/memory/guest", "\"0\"", "spec.domain.memory.guest", "must be greater than or equal to 1M"},
    {"/spec/domain/memory/guest", "\"-1Gi\"", "spec.domain.memory.guest", "must be greater than or equal to 1M"},
    {"/spec/domain/memory/guest", "\"8Ei\"", "spec.domain.memory.guest", "must be at most 16Ti"},
    {"/spec/domain/memory/guest", "\"lots\"", "spec.domain.memory.guest", "quantities must match"},
    {"/spec/domain/resources/limits/memory", "\"64Mi\"", "spec.domain.memory.guest",
     "spec.domain.memory.guest '128Mi' must be equal to or less than the memory limit "
     "spec.domain.resources.limits.memory '64Mi'"},
    {"/spec/domain/resources", "{\"requests\":{\"memory\":\"2Gi\"},\"limits\":{\"memory\":\"1Gi\"}}",
     "spec.domain.resources.requests.memory", "is greater than spec.domain.resources.limits.memory '1Gi'"},
    {"/spec/domain/resources/requests", "{\"nvidia.com/gpu\":1}", "spec.domain.resources.requests.nvidia.com/gpu",
     "supported values: \"cpu\", \"memory\""},
    {"/spec/domain/resources", "{\"requests\":{\"cpu\":2},\"limits\":{\"cpu\":1}}", "spec.domain.resources.requests.cpu",
     "is greater than"},
    {"/spec/domain/resources/limits/cpu", "\"0\"", "spec.domain.resources.limits.cpu", "must be greater than 0"},
    {"/spec/domain/cpu/sockets", "256", "spec.domain.cpu", "more than 255 processors"},
    {"/spec/domain/cpu", "{\"sockets\":3,\"maxSockets\":2}", "spec.domain.cpu.sockets", "greater than the maximum sockets"},
    {"/spec/domain/cpu/cores", "-1", "spec.domain.cpu.cores", "greater than or equal to 0"},
    {"/spec/domain/cpu/model", "\"host,hv_relaxed=on\"", "spec.domain.cpu.model", "name of a CPU model"},
    {"/spec/domain/cpu/features", "[{\"name\":\"avx,x\"}]", "spec.domain.cpu.features[0].name", "name of a CPU feature"},
    {"/spec/domain/cpu/features", "[{\"name\":\"avx\"},{\"name\":\"avx\"}]", "spec.domain.cpu.features[1].name", "Duplicate"},
    {"/spec/domain/machine/type", "\"pc\"", "spec.domain.machine.type", "allowed values: [q35 pc-q35-*]"},
    {"/spec/domain/firmware/kernelBoot/kernelArgs", "\"quiet\"", "spec.domain.firmware.kernelBoot.kernelArgs",
     "kernel arguments cannot be provided without an external kernel"},
    {"/spec/domain/firmware/kernelBoot/container/image", "\"k\"", "spec.domain.firmware.kernelBoot.container.kernelPath",
     "Required value"},
    {"/spec/domain/devices/disks/0/name", "\"other\"", "spec.domain.devices.disks[0].name",
     "spec.domain.devices.disks[0].Name 'other' not found."},
    {"/spec/domain/devices/disks/0/cdrom", "{}", "spec.domain.devices.disks[0]", "only one of disk, cdrom and lun"},
    {"/spec/domain/devices/disks/0/disk/bus", "\"usb\"", "spec.domain.devices.disks[0].disk.bus", "other buses are not built"},
    {"/spec/domain/devices/disks/0/serial", "\"a,b\"", "spec.domain.devices.disks[0].serial", "must be made up of"},
    {"/spec/domain/devices/disks/0/io", "\"native\"", NULL, NULL},
    {"/spec/domain/devices/disks/0", "{\"name\":\"root\",\"io\":\"native\",\"cache\":\"writeback\"}",
     "spec.domain.devices.disks[0].io", "native I/O needs cache none"},
    {"/spec/domain/devices/disks", "[{\"name\":\"root\",\"bootOrder\":1},{\"name\":\"root\",\"bootOrder\":1}]",
     "spec.domain.devices.disks[1].bootOrder", "already set for a different device"},
    {"/spec/domain/devices/disks", "[{\"name\":\"1\"},{\"name\":\"2\"},{\"name\":\"3\"},{\"name\":\"4\"},{\"name\":\"5\"},"
     "{\"name\":\"6\"},{\"name\":\"root\"}]", "spec.domain.devices.disks[6]", "more than 6 disks on bus sata"},
    {"/spec/domain/firmware/serial", "\"a,product=b\"", "spec.domain.firmware.serial", "must not contain commas"},
    {"/spec/domain/features/acpi/enabled", "false", "spec.domain.features.acpi.enabled", "not built"},
    {"/spec/volumes/0", "{\"name\":\"root\"}", "spec.volumes[0]", "must have exactly one source type set"},
    {"/spec/volumes/0", "{\"name\":\"root\",\"emptyDisk\":{\"capacity\":\"0\"}}", "spec.volumes[0].emptyDisk.capacity",
     "must be greater than 0"},
    {"/spec/volumes/0", "{\"name\":\"root\",\"cloudInitNoCloud\":{}}", "spec.volumes[0].cloudInitNoCloud",
     "at least one userdatasource"},
    {"/spec/volumes/0", "{\"name\":\"root\",\"cloudInitNoCloud\":{\"userData\":\"a\",\"userDataBase64\":\"YQ==\"}}",
     "spec.volumes[0].cloudInitNoCloud", "only one userdatasource"},
    {"/spec/volumes/0", "{\"name\":\"root\",\"cloudInitNoCloud\":{\"userDataBase64\":\"%\"}}",
     "spec.volumes[0].cloudInitNoCloud.userDataBase64", "byte"},
    {"/spec/volumes/0", "{\"name\":\"root\",\"hostDisk\":{\"path\":\"/x\",\"type\":\"Disk\"}}", "spec.volumes[0].hostDisk",
     "not supported yet"},
    {"/spec/volumes", "[{\"name\":\"root\",\"persistentVolumeClaim\":{\"claimName\":\"c\"}},"
     "{\"name\":\"b\",\"persistentVolumeClaim\":{\"claimName\":\"c\"}}]",
     "spec.volumes[1].persistentVolumeClaim.claimName", "Duplicate value"},
    {"/spec/volumes/0", "{\"name\":\"root\",\"persistentVolumeClaim\":{\"claimName\":\"c\",\"hotpluggable\":true}}", NULL,
     NULL},
    {"/spec/volumes/0", "{\"name\":\"root\",\"persistentVolumeClaim\":{\"claimName\":\"c\",\"hotpluggable\":true}}", NULL,
     NULL}, /* its disk is on virtio */
    {"/spec/networks", "[{\"name\":\"default\",\"pod\":{}}]", "spec.networks[0].name", "'default' not found."},
    {"/spec/domain/devices/interfaces", "[{\"name\":\"x\",\"masquerade\":{}}]", "spec.domain.devices.interfaces[0].name",
     "'x' not found."},
    {"/spec/domain/devices/interfaces", "[{\"name\":\"x\",\"bridge\":{}}]", "spec.domain.devices.interfaces[0].bridge",
     "use masquerade"},
    {"/spec/domain/devices/interfaces", "[{\"name\":\"x\",\"macAddress\":\"03:00:00:00:00:01\"}]",
     "spec.domain.devices.interfaces[0].macAddress", "unicast"},
    {"/spec/domain/devices/interfaces", "[{\"name\":\"x\",\"ports\":[{\"port\":80},{\"port\":80}]}]",
     "spec.domain.devices.interfaces[0].ports[1].port", "Duplicate value"},
    {"/spec/domain/devices/interfaces", "[{\"name\":\"x\",\"ports\":[{\"port\":70000}]}]",
     "spec.domain.devices.interfaces[0].ports[0].port", "less than or equal to 65535"},
    {"/spec/networks", "[{\"name\":\"a\",\"pod\":{\"vmNetworkCIDR\":\"10.0.2.0/31\"}}]",
     "spec.networks[0].pod.vmNetworkCIDR", "room for router and guest"},
    {"/spec/networks", "[{\"name\":\"a\",\"pod\":{}},{\"name\":\"b\",\"pod\":{}}]", "spec.networks", "Duplicate value"},
    {"/spec/networks", "[{\"name\":\"a\"}]", "spec.networks[0]", "exactly one network type"},
    {"/spec/hostname", "\"Not_A_Name\"", "spec.hostname", "DNS_LABEL"},
    {"/spec/tolerations", "[{\"key\":\"a\",\"operator\":\"Exists\",\"value\":\"b\"}]", "spec.tolerations[0].operator",
     "value must be empty"},
    {"/spec/tolerations", "[{\"value\":\"b\"}]", "spec.tolerations[0].operator", "must be Exists when `key` is empty"},
    {"/spec/tolerations", "[{\"key\":\"a\",\"effect\":\"NoSchedule\",\"tolerationSeconds\":5}]", "spec.tolerations[0].effect",
     "must be 'NoExecute'"},
    {"/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution", "{\"nodeSelectorTerms\":[]}",
     REQUIRED_TERMS, "at least one node selector term"},
    {"/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution",
     "{\"nodeSelectorTerms\":[{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"In\"}]}]}",
     REQUIRED_TERMS "[0].matchExpressions[0].values", "must be specified"},
    {"/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution",
     "{\"nodeSelectorTerms\":[{\"matchExpressions\":[{\"key\":\"a\",\"operator\":\"Gt\",\"values\":[\"x\"]}]}]}",
     REQUIRED_TERMS "[0].matchExpressions[0].values", "must be one integer"},
    {"/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution",
     "{\"nodeSelectorTerms\":[{\"matchFields\":[{\"key\":\"spec.x\",\"operator\":\"Exists\"}]}]}",
     REQUIRED_TERMS "[0].matchFields[0].key", "not a valid field selector key"},
    {"/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution", "[{\"topologyKey\":\"\"}]",
     "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey", "can not be empty"},
    {"/spec/affinity/podAffinity/preferredDuringSchedulingIgnoredDuringExecution",
     "[{\"weight\":101,\"podAffinityTerm\":{\"topologyKey\":\"a\"}}]",
     "spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight", "less than or equal to 100"},
    {"/spec/nodeSelector", "{\"a b\":\"x\"}", "spec.nodeSelector", "name part must consist of"},
    {"/spec/terminationGracePeriodSeconds", "-1", "spec.terminationGracePeriodSeconds", "greater than or equal to 0"},
    {"/spec/architecture", "\"arm64\"", "spec.architecture", "other architectures are not built"},
    {"/metadata/labels/kubevirt.io~1nodeName", "\"n\"", "metadata.labels", "reserved kubevirt.io/ labels"},
    {"/metadata/name", "\"a123456789012345678901234567890123456789012345678901234567890123456789\"", "metadata.name",
     "no more than 63 characters"},
};

static bool has_cause(const struct gw_error *err, const char *field, const char *message)
{
    for (size_t i = 0; i < err->n_causes; i++)
        if (streq(err->causes[i].field, field) && strstr(err->causes[i].message, message))
            return true;
    return false;
}

static void test_bad_vmis(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_doc_ yyjson_doc *base = yaml(small), *value = NULL, *object = NULL, *stored = NULL;
        _cleanup_mut_doc_ yyjson_mut_doc *d = json_copy(yyjson_doc_get_root(base));
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

        assert_int_equal(json_parse(bad[i].value, strlen(bad[i].value), &value, NULL), 0);
        if (strstr(bad[i].pointer, "/0"))
            yyjson_mut_doc_ptr_set(d, bad[i].pointer, yyjson_val_mut_copy(d, yyjson_doc_get_root(value)));
        else
            json_set(d, bad[i].pointer, yyjson_val_mut_copy(d, yyjson_doc_get_root(value)));
        object = yyjson_mut_doc_imut_copy(d, NULL);
        stored = admit(&world, yyjson_doc_get_root(object), NULL, &err);
        _cleanup_free_ char *faults = causes(&err);
        if (bad[i].field ? !has_cause(&err, bad[i].field, bad[i].message) : err.n_causes != 0)
            fail_msg("%s = %s gives:\n%s", bad[i].pointer, bad[i].value, faults);
    }
}

static void test_vmi_spec_is_fixed(void **state)
{
    _cleanup_doc_ yyjson_doc *old = accept(small), *same = NULL, *other = NULL, *stored = NULL, *stored2 = NULL;
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_copy(yyjson_doc_get_root(old));
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT, fine = GW_ERROR_INIT;

    json_set_str(d, "/status/phase", "Running");
    json_set_str(d, "/status/nodeName", "node-a");
    same = yyjson_mut_doc_imut_copy(d, NULL);
    stored = admit(&world, yyjson_doc_get_root(same), yyjson_doc_get_root(old), &fine);
    assert_int_equal(fine.n_causes, 0);
    assert_text(stored, "/status/nodeName", "node-a");
    json_set_str(d, "/spec/hostname", "other");
    other = yyjson_mut_doc_imut_copy(d, NULL);
    stored2 = admit(&world, yyjson_doc_get_root(other), yyjson_doc_get_root(old), &err);
    assert_true(has_cause(&err, "spec", "update of VMI object is restricted"));
    gw_error_done(&fine);
}

/* A running VMI of which the last volume and disk, but never the first, are replaced by what is given, or taken off: the
 * faults, or "". */
static char *change_volumes(yyjson_doc *old, const char *volume, const char *disk, const char *group,
                            yyjson_doc **ret_stored)
{
    static const char *const lists[] = {"/spec/volumes", "/spec/domain/devices/disks"};
    const char *const values[] = {volume, disk};
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_copy(yyjson_doc_get_root(old));
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    for (int i = 0; i < 2; i++) {
        yyjson_mut_val *list = json_mut_at(d, lists[i]);
        _cleanup_doc_ yyjson_doc *item = values[i] ? yyjson_read(values[i], strlen(values[i]), 0) : NULL;
        if (yyjson_mut_arr_size(list) > 1 || !item)
            yyjson_mut_arr_remove_last(list);
        if (item)
            yyjson_mut_arr_append(list, yyjson_val_mut_copy(d, yyjson_doc_get_root(item)));
    }
    _cleanup_doc_ yyjson_doc *object = yyjson_mut_doc_imut_copy(d, NULL);
    world.group = group;
    *ret_stored = admit(&world, yyjson_doc_get_root(object), yyjson_doc_get_root(old), &err);
    world.group = NULL;
    return causes(&err);
}

static void assert_change(yyjson_doc *old, const char *volume, const char *disk, const char *group, const char *part)
{
    _cleanup_doc_ yyjson_doc *stored = NULL;
    _cleanup_free_ char *got = change_volumes(old, volume, disk, group, &stored);

    if (*part ? !strstr(got, part) : *got)
        fail_msg("%s and %s: \"%s\", not \"%s\"", volume ? volume : "-", disk ? disk : "-", got, part);
}

#define CLAIM(claim) "{\"name\":\"h\",\"persistentVolumeClaim\":{\"claimName\":\"" claim "\",\"hotpluggable\":true}}"
#define DISK(name, what) "{\"name\":\"" name "\"," what "}"
#define SCSI "\"disk\":{\"bus\":\"scsi\"}"

static void test_volumes_of_a_vmi_that_runs(void **state)
{
    static const char system[] = "system:godwit:controllers", cold[] = "{\"name\":\"n\",\"emptyDisk\":{\"capacity\":\"1Mi\"}}";
    _cleanup_doc_ yyjson_doc *old = accept(small), *with = NULL;
    _cleanup_free_ char *fault = change_volumes(old, CLAIM("c"), DISK("h", SCSI), system, &with);

    assert_string_equal(fault, "");
    assert_change(with, NULL, NULL, system, "");
    assert_change(with, CLAIM("other"), DISK("h", SCSI), system, "hotplug volume h, changed");
    assert_change(with, CLAIM("c"), DISK("h", "\"disk\":{\"bus\":\"virtio\"}"), system, "hotplug disk h, changed");
    assert_change(old, CLAIM("c"), DISK("h", SCSI), "people", "spec: update of VMI object is restricted");
    assert_change(old, cold, DISK("n", SCSI), system, "Number of permanent volumes has changed");
    assert_change(old, NULL, NULL, system, "permanent volume root, not found");
    assert_change(old, CLAIM("c"), DISK("h", "\"disk\":{\"bus\":\"sata\"}"), system,
                  "spec.domain.devices.disks: Hotplug configuration for disk [h] requires bus to be 'scsi' or 'virtio'. "
                  "[sata] is not permitted.");
    assert_change(old, CLAIM("c"), DISK("h", "\"cdrom\":{\"bus\":\"scsi\"}"), system,
                  "requires diskDevice of type 'disk' or 'lun' to be used.");
    assert_change(old, CLAIM("c"), DISK("g", SCSI), system,
                  "Hotplug configuration for [h] requires the disk field to be set.");
}

static void test_the_manifest_of_a_vmi_can_be_sent_again(void **state)
{
    _cleanup_doc_ yyjson_doc *old = accept(small), *manifest = NULL, *stored = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    assert_int_equal(yaml_parse(small, strlen(small), &manifest, NULL), 0);
    stored = admit(&world, yyjson_doc_get_root(manifest), yyjson_doc_get_root(old), &err);
    assert_int_equal(err.n_causes, 0);
    assert_true(json_equal(json_at(yyjson_doc_get_root(stored), "/spec"), json_at(yyjson_doc_get_root(old), "/spec")));
}

#define VM_HEAD "apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata: {name: vm, namespace: default}\nspec:\n"
#define VM_TEMPLATE "  template:\n    metadata: {labels: {app: x}, creationTimestamp: null}\n    spec:\n" \
                    "      domain: {memory: {guest: 128Mi}, devices: {disks: [{name: root, disk: {}}]}}\n" \
                    "      volumes: [{name: root, containerDisk: {image: 'guest:1'}}]\n"

static void test_vm_defaults(void **state)
{
    _cleanup_doc_ yyjson_doc *vm = accept(VM_HEAD "  runStrategy: Halted\n" VM_TEMPLATE), *replaced = NULL, *stored = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    const char *uuid = json_str(yyjson_doc_get_root(vm), "/spec/template/spec/domain/firmware/uuid");

    assert_text(vm, "/spec/template/spec/architecture", "amd64");
    assert_text(vm, "/spec/template/spec/domain/machine/type", "q35");
    assert_non_null(uuid);
    assert_null(json_at(yyjson_doc_get_root(vm), "/spec/template/spec/domain/cpu"));

    replaced = yaml(VM_HEAD "  running: true\n" VM_TEMPLATE); /* a replace that knows nothing of the UUID keeps it */
    stored = admit(&world, yyjson_doc_get_root(replaced), yyjson_doc_get_root(vm), &err);
    assert_int_equal(err.n_causes, 0);
    assert_text(stored, "/spec/template/spec/domain/firmware/uuid", uuid);
}

static void test_bad_vms(void **state)
{
    static const struct {
        const char *text, *field, *message;
    } vms[] = {
        {VM_HEAD VM_TEMPLATE, "spec.runStrategy", "RunStrategy must be specified"},
        {VM_HEAD "  running: true\n  runStrategy: Always\n" VM_TEMPLATE, "spec.running", "mutually exclusive"},
        {VM_HEAD "  runStrategy: WaitAsReceiver\n" VM_TEMPLATE, "spec.runStrategy", "another cluster"},
        {VM_HEAD "  running: true\n", "spec.template", "Required value"},
        {VM_HEAD "  running: true\n  template: {spec: {domain: {devices: {disks: [{name: x}]}}}}\n",
         "spec.template.spec.domain.devices.disks[0].name", "not found"},
        {VM_HEAD "  running: true\n  template: {spec: {domain: {devices: {}}}}\n", "spec.template.spec.domain.memory.guest",
         "no memory requested"},
        {VM_HEAD "  running: true\n  template: {metadata: {labels: {a: 'b c'}}, spec: {domain: {devices: {}}}}\n",
         "spec.template.metadata.labels", "a valid label must be"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(vms); i++) {
        _cleanup_doc_ yyjson_doc *object = yaml(vms[i].text), *stored = NULL;
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

        stored = admit(&world, yyjson_doc_get_root(object), NULL, &err);
        _cleanup_free_ char *faults = causes(&err);
        if (!has_cause(&err, vms[i].field, vms[i].message))
            fail_msg("%s gives:\n%s", vms[i].text, faults);
    }
}

#define MIGRATION "apiVersion: kubevirt.io/v1\nkind: VirtualMachineInstanceMigration\nmetadata: {name: m, namespace: default}\n"
#define VMI_HEAD "apiVersion: kubevirt.io/v1\nkind: VirtualMachineInstance\nmetadata: {name: vm, namespace: default}\n"
#define DENIED "admission webhook \"migration-create-validator.kubevirt.io\" denied the request: "

static void expect_denied(const char *text, enum gw_reason reason, const char *message)
{
    _cleanup_doc_ yyjson_doc *object = yaml(text), *stored = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    stored = admit(&world, yyjson_doc_get_root(object), NULL, &err);
    assert_true(kind_invalid(kinds_find_object(world.kinds, "kubevirt.io/v1", "VirtualMachineInstanceMigration"), "m", &err) < 0);
    assert_string_equal(gw_error_message(&err), message);
    assert_int_equal(err.reason, reason);
}

static void test_migration_refusals(void **state)
{
    static const char good[] = MIGRATION "spec: {vmiName: vm}\n";

    expect_denied(MIGRATION "spec: {}\n", GW_INVALID, DENIED "vmiName is missing");
    expect_denied(MIGRATION "spec: {vmiName: vm, priority: system-critical}\n", GW_INVALID,
                  DENIED "priority is set by controllers only");
    expect_denied(good, GW_BAD_REQUEST, DENIED "the VMI \"default/vm\" does not exist");
    world_add(&world, VMI_HEAD "status: {phase: Succeeded}\n");
    expect_denied(good, GW_BAD_REQUEST, DENIED "Cannot migrate VMI in finalized state.");
    world_clear(&world);
    world_add(&world, VMI_HEAD "status: {phase: Running, conditions: [{type: LiveMigratable, status: 'False', reason: "
                      "DisksNotLiveMigratable, message: no}]}\n");
    expect_denied(good, GW_BAD_REQUEST, DENIED "Cannot migrate VMI, Reason: DisksNotLiveMigratable, Message: no");
    world_clear(&world);
    world_add(&world, VMI_HEAD "status: {phase: Running}\n");
    world_add(&world, "apiVersion: kubevirt.io/v1\nkind: VirtualMachineInstanceMigration\nmetadata: {name: old, namespace: "
                      "default, uid: u-1, labels: {kubevirt.io/vmi-name: vm}}\nstatus: {phase: Failed}\n");
    _cleanup_doc_ yyjson_doc *stored = accept(good);
    assert_text(stored, "/metadata/labels/kubevirt.io~1vmi-name", "vm");
    assert_text(stored, "/metadata/finalizers/0", "kubevirt.io/migrationJobFinalize");
    world_add(&world, "apiVersion: kubevirt.io/v1\nkind: VirtualMachineInstanceMigration\nmetadata: {name: other, namespace: "
                      "default, uid: u-2, labels: {kubevirt.io/vmi-name: vm}}\nstatus: {phase: Scheduling}\n");
    expect_denied(good, GW_BAD_REQUEST, DENIED "in-flight migration detected. Active migration job (u-2) is currently already "
                                               "in progress for VMI vm.");
}

static void test_migration_updates(void **state)
{
    static const char old_text[] = "apiVersion: kubevirt.io/v1\nkind: VirtualMachineInstanceMigration\n"
                                   "metadata: {name: m, namespace: default, labels: {kubevirt.io/vmi-name: vm}}\n"
                                   "spec: {vmiName: vm}\nstatus: {phase: Running}\n";
    static const struct {
        const char *pointer, *message;
    } changes[] = {
        {"/spec/vmiName", "update of Migration object's spec is restricted"},
        {"/metadata/labels/kubevirt.io~1vmi-name", "selector label can't be modified on an in-flight migration"},
    };
    _cleanup_doc_ yyjson_doc *old = yaml(old_text);

    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        _cleanup_mut_doc_ yyjson_mut_doc *d = json_copy(yyjson_doc_get_root(old));
        _cleanup_doc_ yyjson_doc *object = NULL, *stored = NULL;
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

        json_set_str(d, changes[i].pointer, "other");
        object = yyjson_mut_doc_imut_copy(d, NULL);
        stored = admit(&world, yyjson_doc_get_root(object), yyjson_doc_get_root(old), &err);
        assert_non_null(strstr(gw_error_message(&err), changes[i].message));
        assert_int_equal(err.reason, GW_INVALID);
    }
}

static void test_documents_are_accepted(void **state)
{
    _cleanup_free_ char *text = NULL;
    _cleanup_yaml_docs_ struct yaml_docs docs = {0};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    world_add(&world, VMI_HEAD "status: {phase: Running}\n");
    assert_int_equal(fs_read(SOURCE_DIR "/tests/unit/data/documents.yaml", 0, &text, NULL, &err), 0);
    assert_int_equal(yaml_parse_all(text, strlen(text), &docs, &err), 0);
    assert_int_equal(docs.len, 5);
    for (size_t i = 0; i < docs.len; i++) {
        _cleanup_error_ struct gw_error fault = GW_ERROR_INIT;
        _unused_ _cleanup_doc_ yyjson_doc *stored = admit(&world, yyjson_doc_get_root(docs.items[i]), NULL, &fault);
        _cleanup_free_ char *faults = causes(&fault);

        assert_string_equal(faults, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_vmi_defaults, world_tear_down),
        cmocka_unit_test_teardown(test_vmi_defaults_from_what_is_there, world_tear_down),
        cmocka_unit_test_teardown(test_settings_are_defaults, world_tear_down),
        cmocka_unit_test_teardown(test_eviction_follows_the_number_of_nodes, world_tear_down),
        cmocka_unit_test_teardown(test_bad_vmis, world_tear_down),
        cmocka_unit_test_teardown(test_vmi_spec_is_fixed, world_tear_down),
        cmocka_unit_test_teardown(test_volumes_of_a_vmi_that_runs, world_tear_down),
        cmocka_unit_test_teardown(test_the_manifest_of_a_vmi_can_be_sent_again, world_tear_down),
        cmocka_unit_test_teardown(test_vm_defaults, world_tear_down),
        cmocka_unit_test_teardown(test_bad_vms, world_tear_down),
        cmocka_unit_test_teardown(test_migration_refusals, world_tear_down),
        cmocka_unit_test_teardown(test_migration_updates, world_tear_down),
        cmocka_unit_test_teardown(test_documents_are_accepted, world_tear_down),
    };
    return cmocka_run_group_tests(tests, world_load, world_unload);
}
