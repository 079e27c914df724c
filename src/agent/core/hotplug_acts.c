/* The acts on hot disks, one for each action of hotplug_next. A disk is given to QEMU as an open file (add-fd), since
 * QEMU sees no other files than those of its start. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "agent/core/vm_hotplug.h"
#include "agent/migration/script.h"
#include "agent/qemu/attach.h"
#include "api/volumes.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"

/* A number of its own for the place, so that a descriptor that was left is found again. */
static int64_t fdset_of(const struct disk *d)
{
    return (d->target[0] == 'v' ? 2000 : 1000) + d->target[strlen(d->target) - 1];
}

void hotplug_names(const struct disk *d, struct hotplug_names *ret)
{
    disk_device(d, 0, ret->device);
    disk_node(d, 0, ret->node);
    snprintf(ret->file, sizeof(ret->file), "%s-file", ret->node);
    snprintf(ret->fdset, sizeof(ret->fdset), "fdset:%" PRId64, fdset_of(d));
}

/* pod.disks was changed: QEMU may be touched only once that is noted. */
static void note(struct vm *vm)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (vm_note_write(vm, &err) < 0)
        log_failure(-1, &err, "pod %s/%s", vm->pod.ns, vm->pod.name);
    vm_touch(vm);
    vm_kick(vm);
}

void hotplug_enter(struct vm *vm, struct disk *d, enum disk_phase phase)
{
    d->phase = phase;
    note(vm);
}

void hotplug_attach_step(struct vm *vm)
{
    if (!vm->objects_complete)
        vm_get_objects(vm);
    if (vm->objects_complete && !vm->call)
        vm_prepare(vm, vm_hotplug_prepared);
}

bool hotplug_attach(struct vm *vm, const char *name)
{
    const struct volume_report *r = hotplug_report_find(vm, name);

    if (r && env_now(vm->core->agent->env) < r->again_ms)
        return false;
    vm_forget_objects(vm);
    vm->effective = volumes_effective_one(yyjson_doc_get_root(vm->pod.vmi), name);
    vm->hotplug.attaching = xstrdup(name);
    hotplug_attach_step(vm);
    return true;
}

/* Its claim, as far as it was found. */
static bool claim_is_bound(const struct vm *vm, const char *name)
{
    yyjson_val *volume = spec_hot_volume(json_at(yyjson_doc_get_root(vm->pod.vmi), "/spec"), name);
    _cleanup_free_ char *key =
        xasprintf("PersistentVolumeClaim/%s", volume && volume_claim(volume) ? volume_claim(volume) : "");
    yyjson_doc *claim = map_get(vm->objects, key);

    return claim && json_str(yyjson_doc_get_root(claim), "/spec/volumeName");
}

/* The place is chosen among all that this QEMU has now. */
static int take_place(struct vm *vm, struct disk *d, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *definition = NULL;
    char target[DISK_TARGET_MAX];
    int r = json_parse(d->definition, strlen(d->definition), &definition, err);

    if (r == 0)
        r = attachment_find_place(json_at(yyjson_doc_get_root(definition), "/disk"), &vm->pod.disks, target, err);
    if (r < 0)
        return r;
    free(d->target);
    d->target = xstrdup(target);
    return 0;
}

void vm_hotplug_prepared(struct vm *vm, struct prepared_volumes *result, const char *reason, const struct gw_error *err)
{
    _cleanup_free_ char *name = TAKE_PTR(vm->hotplug.attaching);
    _cleanup_error_ struct gw_error fault = GW_ERROR_INIT;

    hotplug_report(vm, name)->bound = claim_is_bound(vm, name);
    if (!result) {
        hotplug_say_failed(vm, name, hotplug_report(vm, name)->bound ? reason : "PVCNotReady", gw_error_message(err));
        return;
    }
    struct disk *d = result->disks.items;
    if (!vm->pod.has_sockets)
        gw_error_set(&fault, GW_INVALID,
                     "the VM was started without places for it: it must be restarted, without "
                     "spec.domain.devices.disableHotplug");
    else if (take_place(vm, d, &fault) == 0) {
        d->phase = DISK_PLUGGING;
        disk_vec_push(&vm->pod.disks, *d);
        result->disks.len = 0;
        hotplug_report(vm, name)->failed = false;
        hotplug_say(vm, name, NULL, NULL);
        pod_event(&vm->pod, EVENT_NORMAL, "VolumeMountedToPod", "Volume %s has been mounted in virt-launcher pod",
                  name);
        note(vm);
    }
    if (fault.message)
        hotplug_say_failed(vm, name, "HotplugFailed", gw_error_message(&fault));
    prepared_volumes_done(result);
}

static void on_script(void *userdata, const char *fault)
{
    struct vm *vm = userdata;
    _cleanup_free_ char *name = TAKE_PTR(vm->hotplug.acting);

    vm->hotplug.script = NULL;
    vm->hotplug.observed = false;
    if (fault) {
        hotplug_report(vm, name)->failed = true;
        hotplug_say_failed(vm, name, "HotplugFailed", fault);
    }
    vm_kick(vm);
}

static bool run(struct vm *vm, const char *name, struct script *s)
{
    vm->hotplug.script = s;
    vm->hotplug.acting = xstrdup(name);
    script_run(s, on_script, vm);
    return true;
}

static yyjson_mut_doc *fdset_args(const struct disk *d)
{
    yyjson_mut_doc *args = json_object();

    json_set_int(args, "/fdset-id", fdset_of(d));
    return args;
}

static int make_attachment(const struct vm *vm, const struct disk *d, struct attachment *ret, struct gw_error *err)
{
    struct attachment_places places = attachment_cold_places(&vm->pod.disks);
    _cleanup_doc_ yyjson_doc *definition = NULL;
    _cleanup_free_ char *path = xasprintf("/dev/fdset/%" PRId64, fdset_of(d));
    struct disk in_qemu = *d;
    int r = json_parse(d->definition, strlen(d->definition), &definition, err);

    in_qemu.path = path;
    return r < 0 ? r
                 : attachment_make(json_at(yyjson_doc_get_root(definition), "/disk"), &in_qemu, 0, &places, ret, err);
}

/* QEMU takes a descriptor only for what it is: its access and O_DIRECT must be those that the node asks for. */
static int open_for(const struct disk *d, const struct attachment *a, struct gw_error *err)
{
    yyjson_mut_val *direct = json_mut_at(a->nodes[0], "/cache/direct");
    int flags = (d->read_only ? O_RDONLY : O_RDWR) | (yyjson_mut_is_true(direct) ? O_DIRECT : 0);
    int fd = open(d->path, flags | O_CLOEXEC);

    return fd < 0 ? gw_error_errno(err, errno, "%s", d->path) : fd;
}

bool hotplug_plug(struct vm *vm, const struct disk *d)
{
    _cleanup_attachment_ struct attachment a = {0};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    int r = make_attachment(vm, d, &a, &err);
    _cleanup_close_ int fd = r < 0 ? r : open_for(d, &a, &err);

    if (fd < 0) {
        hotplug_report(vm, d->name)->failed = true;
        hotplug_say_failed(vm, d->name, "HotplugFailed", gw_error_message(&err));
        vm_kick(vm);
        return true;
    }
    struct script *s = script_new(vm->pod.qmp);
    qmp_command(vm->pod.qmp, "remove-fd", fdset_args(d), NULL, NULL); /* of an agent that was killed here */
    qmp_command_fd(vm->pod.qmp, "add-fd", fdset_args(d), fd, NULL, NULL);
    for (size_t i = 0; i < a.n_nodes; i++)
        script_add(s, "blockdev-add", TAKE_PTR(a.nodes[i]));
    script_add(s, "device_add", TAKE_PTR(a.device));
    return run(vm, d->name, s);
}

bool hotplug_unplug(struct vm *vm, const struct disk *d)
{
    struct volume_report *r = hotplug_report(vm, d->name);
    struct script *s = script_new(vm->pod.qmp);
    struct hotplug_names n;

    hotplug_names(d, &n);
    if (r->unplug_ms)
        hotplug_say(vm, d->name, "VolumeDetaching", "waits for the guest to let go of the disk");
    r->asked_ms = env_now(vm->core->agent->env);
    r->unplug_ms = r->unplug_ms ? r->unplug_ms : r->asked_ms;
    script_try(s, "device_del", script_args("/id", n.device, NULL)); /* refused while the last one is pending */
    return run(vm, d->name, s);
}

/* The descriptor goes last: QEMU's lock on the file hangs on it. */
bool hotplug_clean(struct vm *vm, const struct disk *d)
{
    struct script *s = script_new(vm->pod.qmp);
    struct hotplug_names n;

    hotplug_names(d, &n);
    script_try(s, "blockdev-del", script_args("/node-name", n.node, NULL));
    script_try(s, "blockdev-del", script_args("/node-name", n.file, NULL));
    script_try(s, "remove-fd", fdset_args(d));
    return run(vm, d->name, s);
}

bool hotplug_make_ready(struct vm *vm, struct disk *d)
{
    hotplug_report_drop(vm, d->name);
    pod_event(&vm->pod, EVENT_NORMAL, "VolumeReady", "Successfully attach hotplugged volume %s to VM", d->name);
    log_info("pod %s/%s: volume %s: plugged as %s", vm->pod.ns, vm->pod.name, d->name, d->target);
    hotplug_enter(vm, d, DISK_READY);
    return true;
}

bool hotplug_detach(struct vm *vm, struct disk *d)
{
    hotplug_report_drop(vm, d->name);
    hotplug_enter(vm, d, DISK_DETACHING);
    return true;
}

bool hotplug_forget(struct vm *vm, struct disk *d)
{
    size_t i = (size_t)(d - vm->pod.disks.items);

    if (d->phase == DISK_DETACHING) {
        pod_event(&vm->pod, EVENT_NORMAL, "VolumeUnplugged", "Volume %s has been unplugged", d->name);
        log_info("pod %s/%s: volume %s: unplugged", vm->pod.ns, vm->pod.name, d->name);
        hotplug_report_drop(vm, d->name);
    }
    disk_done(d);
    disk_vec_remove(&vm->pod.disks, i);
    note(vm);
    return true;
}
