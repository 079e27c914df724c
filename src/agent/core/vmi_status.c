#include "agent/core/vmi_status.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "agent/core/difference.h"
#include "agent/core/guest_status.h"
#include "agent/core/hotplug.h"
#include "agent/qemu/command.h"
#include "api/meta.h"
#include "api/quantity.h"
#include "api/volumes.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"
#include "migration/epoch.h"

static const char *const phase_names[] = {
    [VM_SCHEDULED] = "Scheduled",
    [VM_RUNNING] = "Running",
    [VM_SUCCEEDED] = "Succeeded",
    [VM_FAILED] = "Failed",
};
static_assert(ARRAY_SIZE(phase_names) == VM_PHASE_MAX, "a name for each phase");

const char *vm_phase_string(enum vm_phase phase)
{
    return phase_names[phase];
}

static yyjson_val *named(yyjson_val *list, const char *name)
{
    return json_find(list, "/name", name);
}

static const struct volume_report *report_of(const struct vmi_report *r, const char *name)
{
    if (r->volumes)
        VEC_EACH(r->volumes, v)
            if (streq(v->name, name))
                return v;
    return NULL;
}

/* --- LiveMigratable --- */

static bool interfaces_migrate(yyjson_val *vmi)
{
    yyjson_val *network;

    json_each(json_at(vmi, "/spec/networks"), network) {
        yyjson_val *nic = named(json_at(vmi, "/spec/domain/devices/interfaces"), json_str_or(network, "/name", ""));
        if (json_at(network, "/pod") && nic && !json_at(nic, "/masquerade"))
            return false;
    }
    return true;
}

static char *unshared_claim(yyjson_val *vmi, const struct disk_vec *disks)
{
    VEC_EACH(disks, d) {
        const char *claim = volume_claim(named(json_at(vmi, "/spec/volumes"), d->name));
        if (d->hot && !claim)
            claim = d->name; /* on its way out: the spec has dropped it */
        if (claim && !d->shared)
            return xasprintf(
                "cannot migrate VMI: PVC %s is not shared, live migration requires that all PVCs must be shared "
                "(using ReadWriteMany access mode)",
                claim);
    }
    return NULL;
}

#define LET_GO_MS 10000 /* that a guest has to let go of a disk before it counts as refused */

/* Its target would need a device that is neither wanted nor gone. */
static char *stuck_volume(const struct vmi_report *r)
{
    VEC_EACH(r->disks, d) {
        const struct volume_report *v = report_of(r, d->name);
        if (d->phase == DISK_DETACHING && v && v->unplug_ms && r->monotonic_ms - v->unplug_ms >= LET_GO_MS)
            return xasprintf("cannot migrate VMI: volume %s was removed, but the guest does not let go of its disk",
                             d->name);
    }
    return NULL;
}

struct migratable vmi_migratable(yyjson_val *vmi, const struct vmi_report *r)
{
    const struct disk_vec *disks = r->disks;
    const struct qemu_facts *facts = r->facts;
    char *claim;

    if (!interfaces_migrate(vmi))
        return (struct migratable){"InterfaceNotLiveMigratable",
                                   xstrdup("cannot migrate VMI which does not use masquerade or a migratable plugin to "
                                           "connect to the pod network")};
    if (streq(json_str_or(vmi, "/spec/domain/cpu/model", "host-model"), "host-model") && !*facts->host_model)
        return (struct migratable){"CPUModeLiveMigratable", xstrdup("the host model of this node is unknown")};
    if ((claim = unshared_claim(vmi, disks)))
        return (struct migratable){"DisksNotLiveMigratable", claim};
    if ((claim = stuck_volume(r)))
        return (struct migratable){"HotplugNotLiveMigratable", claim};
    if (qemu_migration_blocker(facts))
        return (struct migratable){"NotMigratable", xstrdup(qemu_migration_blocker(facts))};
    return (struct migratable){0};
}

/* A disk that is neither a claim nor a read-only CD-ROM travels, whatever is in it (KubeVirt's rule). */
const char *vmi_migration_method(yyjson_val *vmi)
{
    yyjson_val *disk;

    json_each(json_at(vmi, "/spec/domain/devices/disks"), disk) {
        yyjson_val *volume = named(json_at(vmi, "/spec/volumes"), json_str_or(disk, "/name", ""));
        bool read_only_cd = json_at(disk, "/cdrom") && json_bool(disk, "/cdrom/readonly", true);
        if (!json_at(volume, "/persistentVolumeClaim") && !read_only_cd)
            return "BlockMigration";
    }
    return "LiveMigration";
}

/* --- The parts of status, each as it should be --- */

static void want_text(yyjson_mut_doc *d, yyjson_mut_val *obj, const char *key, const char *value)
{
    if (value)
        yyjson_mut_obj_put(obj, yyjson_mut_str(d, key), yyjson_mut_strcpy(d, value));
}

static void add_transition(yyjson_mut_doc *d, yyjson_mut_val *list, const char *phase, int64_t now_ms)
{
    yyjson_mut_val *item = yyjson_mut_arr_add_obj(d, list);
    char now[CLOCK_TEXT_MAX];

    want_text(d, item, "phase", phase);
    want_text(d, item, "phaseTransitionTimestamp", clock_format(now_ms, now));
}

/* A guest that runs has been scheduled, also when both came within one write. */
static void want_phase(yyjson_mut_doc *d, yyjson_val *vmi, const struct vmi_report *r)
{
    const char *phase = vm_phase_string(r->phase), *scheduled = vm_phase_string(VM_SCHEDULED);

    json_set_str(d, "/status/phase", phase);
    if (str_same(json_str(vmi, "/status/phase"), phase))
        return;
    yyjson_val *old = json_at(vmi, "/status/phaseTransitionTimestamps");
    yyjson_mut_val *list = old ? yyjson_val_mut_copy(d, old) : yyjson_mut_arr(d);
    if (r->phase == VM_RUNNING && !json_find(old, "/phase", scheduled))
        add_transition(d, list, scheduled, r->now_ms);
    add_transition(d, list, phase, r->now_ms);
    json_set(d, "/status/phaseTransitionTimestamps", list);
}

static void want_interfaces(yyjson_mut_doc *d, yyjson_val *vmi, const struct vmi_report *r)
{
    yyjson_val *nics = json_at(vmi, "/spec/domain/devices/interfaces");
    yyjson_mut_val *list = yyjson_mut_arr(d);
    char mac[MAC_TEXT];

    for (size_t i = 0; i < yyjson_arr_size(nics); i++) {
        yyjson_mut_val *item = yyjson_mut_arr_add_obj(d, list);
        want_text(d, item, "name", json_str_or(yyjson_arr_get(nics, i), "/name", ""));
        want_text(d, item, "mac", qemu_mac(vmi, i, mac));
        if (r->vm_address && i == 0) {
            yyjson_mut_val *all = yyjson_mut_arr(d);
            want_text(d, item, "ipAddress", r->vm_address);
            yyjson_mut_arr_add_strcpy(d, all, r->vm_address);
            yyjson_mut_obj_add_val(d, item, "ipAddresses", all);
        }
        want_text(d, item, "podInterfaceName", "eth0");
        want_text(d, item, "infoSource", "domain");
        yyjson_mut_obj_add_int(d, item, "queueCount", 1);
        want_text(d, item, "linkState", "up");
    }
    if (merge_guest_interfaces(d, list, vmi, r->guest) && yyjson_mut_arr_size(list))
        json_set(d, "/status/interfaces", list);
}

/* --- Volumes --- */

static void want_claim(yyjson_mut_doc *d, yyjson_mut_val *item, yyjson_val *volume, const struct disk *disk)
{
    const char *claim = volume_claim(volume);

    if (!claim)
        return;
    yyjson_mut_val *info = yyjson_mut_obj_add_obj(d, item, "persistentVolumeClaimInfo");
    want_text(d, info, "claimName", claim);
    if (disk) {
        yyjson_mut_val *modes = yyjson_mut_arr(d);
        yyjson_mut_arr_add_str(d, modes, disk->shared ? "ReadWriteMany" : "ReadWriteOnce");
        yyjson_mut_obj_add_val(d, info, "accessModes", modes);
    }
    want_text(d, info, "volumeMode", "Filesystem");
}

/* KubeVirt's reasons and messages, unless there is more to say. */
static void want_hot_phase(yyjson_mut_doc *d, yyjson_mut_val *item, const struct disk *disk,
                           const struct volume_report *more)
{
    static const char *const texts[DISK_PHASE_MAX][2] = {
        [DISK_READY] = {"VolumeReady", "Successfully attach hotplugged volume %s to VM"},
        [DISK_PLUGGING] = {"VolumeMountedToPod", "Volume %s has been mounted in virt-launcher pod"},
        [DISK_DETACHING] = {"VolumeDetaching", "Volume %s is being taken from the VM"},
    };
    const char *const *text = texts[disk->phase];
    const char *mark = strstr(text[1], "%s");
    _cleanup_free_ char *usual = xasprintf("%.*s%s%s", (int)(mark - text[1]), text[1], disk->name, mark + 2);
    bool said = more && more->reason;

    want_text(d, item, "phase", hotplug_phase_string(disk->phase));
    want_text(d, item, "reason", said ? more->reason : text[0]);
    want_text(d, item, "message", said ? more->message : usual);
}

static void want_disk(yyjson_mut_doc *d, yyjson_mut_val *list, yyjson_val *vmi, const struct disk *disk,
                      const char *digest, const struct vmi_report *r)
{
    _cleanup_doc_ yyjson_doc *definition = NULL;
    yyjson_mut_val *item = yyjson_mut_arr_add_obj(d, list);
    yyjson_val *volume = named(json_at(vmi, "/spec/volumes"), disk->name);

    want_text(d, item, "name", disk->name);
    want_text(d, item, "target", disk->target);
    yyjson_mut_obj_add_int(d, item, "size", disk->size);
    if (*digest)
        want_text(d, yyjson_mut_obj_add_obj(d, item, "containerDiskVolume"), "digest", digest);
    if (disk->hot && json_parse(disk->definition, strlen(disk->definition), &definition, NULL) == 0) {
        yyjson_val *was = yyjson_doc_get_root(definition);
        yyjson_mut_obj_add_val(d, item, "hotplugVolume", yyjson_val_mut_copy(d, was));
        volume = yyjson_obj_get(was, "volume");
        want_hot_phase(d, item, disk, report_of(r, disk->name));
    }
    want_claim(d, item, volume, disk);
}

static void want_waiting(yyjson_mut_doc *d, yyjson_mut_val *list, yyjson_val *vmi, const struct volume_report *v)
{
    yyjson_mut_val *item = yyjson_mut_arr_add_obj(d, list);

    want_text(d, item, "name", v->name);
    want_text(d, item, "target", "");
    want_text(d, item, "phase", v->bound ? "Bound" : "Pending");
    want_text(d, item, "reason", v->reason);
    want_text(d, item, "message", v->message);
    yyjson_mut_obj_add_obj(d, item, "hotplugVolume");
    want_claim(d, item, named(json_at(vmi, "/spec/volumes"), v->name), NULL);
}

/* While a migration is in the agents' hands the volumes stand still, and with them what is said of them: its target
 * goes by it. */
static void want_volumes(yyjson_mut_doc *d, yyjson_val *vmi, const struct vmi_report *r)
{
    yyjson_mut_val *list = yyjson_mut_arr(d);
    struct epoch epoch;

    epoch_read(vmi, &epoch);
    if (!epoch_settled(epoch.state))
        return;
    for (size_t i = 0; i < r->disks->len; i++)
        want_disk(d, list, vmi, &r->disks->items[i], i < r->digests->len ? r->digests->items[i] : "", r);
    if (r->volumes)
        VEC_EACH(r->volumes, v)
            if (!disk_find(r->disks, v->name) && v->reason)
                want_waiting(d, list, vmi, v);
    if (yyjson_mut_arr_size(list) || yyjson_arr_size(json_at(vmi, "/status/volumeStatus")))
        json_set(d, "/status/volumeStatus", list);
}

static void want_machine(yyjson_mut_doc *d, yyjson_val *vmi, const struct vmi_report *r)
{
    struct cpu_topology t = qemu_topology(vmi);
    struct quantity bytes = quantity_from(r->memory, QUANTITY_BINARY_SI);
    char memory[QUANTITY_TEXT_MAX];

    quantity_format(&bytes, memory);
    json_set_str(d, "/status/machine/type", r->machine);
    json_set_int(d, "/status/currentCPUTopology/cores", t.cores);
    json_set_int(d, "/status/currentCPUTopology/sockets", t.sockets);
    json_set_int(d, "/status/currentCPUTopology/threads", t.threads);
    json_set_str(d, "/status/memory/guestAtBoot", memory);
    json_set_str(d, "/status/memory/guestCurrent", memory);
    json_set_str(d, "/status/memory/guestRequested", memory);
    json_set_str(d, "/status/migrationMethod", vmi_migration_method(vmi));
    json_set_str(d, "/status/migrationTransport", "Unix");
    json_set_int(d, "/status/runtimeUser", GODWIT_RUNTIME_USER);
    json_set_str(d, "/status/selinuxContext", "none");
    json_set_str(d, "/status/launcherContainerImageVersion", r->version);
    if (r->cpu)
        json_set_str(d, "/metadata/annotations/godwit.io~1cpu", r->cpu);
    if (r->kernel_digest)
        json_set_str(d, "/metadata/annotations/godwit.io~1kernel-boot-digest", r->kernel_digest);
    if (r->has_sockets)
        json_set_str(d, "/metadata/annotations/godwit.io~1hotplug-sockets", "true");
    if (r->has_channel)
        json_set_str(d, "/metadata/annotations/godwit.io~1guest-agent-channel", "true");
}

/* Once it is known with which QEMU it runs; a final VMI keeps what it had. */
static void want_migratable(yyjson_mut_doc *d, yyjson_val *vmi, const struct vmi_report *r)
{
    struct migratable m = vmi_migratable(vmi, r);
    _cleanup_free_ char *message = m.message;
    bool storage = !m.reason || streq(m.reason, "DisksNotLiveMigratable");

    condition_set(d, "LiveMigratable", m.reason ? "False" : "True", m.reason, message, r->now_ms);
    _cleanup_free_ char *both = storage ? NULL : xasprintf("%s: %s", m.reason, message);
    condition_set(d, "StorageLiveMigratable", storage ? "True" : "False", storage ? NULL : "NotMigratable", both,
                  r->now_ms);
}

static void want_conditions(yyjson_mut_doc *d, yyjson_val *vmi, const struct vmi_report *r)
{
    bool final = r->phase == VM_SUCCEEDED || r->phase == VM_FAILED;
    bool io_error = r->paused_reason && streq(r->paused_reason, "PausedIOError");

    keep_conditions(d, vmi);
    condition_set(d, "Ready", r->ready ? "True" : "False",
                  r->ready    ? NULL
                  : r->reason ? r->reason
                              : "GuestNotRunning",
                  r->ready     ? NULL
                  : r->message ? r->message
                               : "Guest VM is not reported as running",
                  r->now_ms);
    if (r->machine && !final)
        want_migratable(d, vmi, r);
    if (r->paused_reason)
        condition_set(d, "Paused", "True", r->paused_reason,
                      io_error ? "VMI was paused, low-level IO error detected" : "VMI was paused by user", r->now_ms);
    else
        condition_remove(d, "Paused");
    condition_remove(d, "Synchronized");
    if (final)
        condition_remove(d, "AgentConnected");
    else
        want_guest(d, vmi, r->guest, r->now_ms);
}

/* --- The patch --- */

static void want_all(yyjson_mut_doc *d, yyjson_val *vmi, const struct vmi_report *r)
{
    _cleanup_free_ char *pod = json_path("/status/activePods", r->pod_uid);

    want_phase(d, vmi, r);
    json_set_str(d, "/status/nodeName", r->node);
    json_set_str(d, "/metadata/labels/kubevirt.io~1nodeName", r->node);
    json_set_str(d, pod, r->node);
    if (r->phase >= VM_SUCCEEDED && r->reason)
        json_set_str(d, "/status/reason", r->reason);
    if (r->phase < VM_SUCCEEDED)
        want_interfaces(d, vmi, r);
    if (r->machine) {
        want_volumes(d, vmi, r);
        want_machine(d, vmi, r);
    }
    want_conditions(d, vmi, r);
}

/* Lists are replaced whole: whoever changed one meanwhile must not be overwritten. */
static yyjson_mut_doc *guarded(yyjson_mut_doc *patch, yyjson_val *vmi)
{
    const char *version = json_str(vmi, "/metadata/resourceVersion");

    if (patch && version &&
        (json_mut_at(patch, "/status/conditions") || json_mut_at(patch, "/status/phaseTransitionTimestamps") ||
         json_mut_at(patch, "/status/volumeStatus")))
        json_set_str(patch, "/metadata/resourceVersion", version);
    return patch;
}

yyjson_mut_doc *vmi_status_patch(yyjson_val *vmi, const struct vmi_report *r)
{
    _cleanup_mut_doc_ yyjson_mut_doc *want = json_object();

    want_all(want, vmi, r);
    return guarded(json_difference(vmi, want), vmi);
}
