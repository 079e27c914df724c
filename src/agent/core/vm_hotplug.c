/* Hot disks of a guest that runs here: looks, asks hotplug_next, does what it says (hotplug_acts.c), looks again. */
#include "agent/core/vm_hotplug.h"

#include <inttypes.h>
#include <string.h>

#include "agent/migration/script.h"
#include "api/volumes.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "migration/epoch.h"

#define UNPLUG_AGAIN_MS 5000 /* a guest that boots may miss the request */
#define SOON_MS 10
#define PERIPHERAL "/machine/peripheral"

static yyjson_val *vmi_of(const struct vm *vm)
{
    return yyjson_doc_get_root(vm->pod.vmi);
}

static struct env *env_of(const struct vm *vm)
{
    return vm->core->agent->env;
}

/* Of one that was not answered nothing is known; it is asked again by and by. */
static void answered(struct vm *vm, const struct qmp_fault *fault)
{
    struct hotplug *h = &vm->hotplug;

    h->blind = h->blind || fault;
    h->observed = --h->replies == 0 && !h->blind;
    if (h->observed)
        vm_kick(vm);
}

static void on_devices(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    struct vm *vm = userdata;
    yyjson_val *item;

    json_each(result, item)
        strv_push(&vm->hotplug.devices, json_str_or(item, "/name", ""));
    answered(vm, fault);
}

static void on_nodes(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    struct vm *vm = userdata;
    yyjson_val *item;

    json_each(result, item)
        strv_push(&vm->hotplug.nodes, json_str_or(item, "/node-name", ""));
    answered(vm, fault);
}

static void on_fdsets(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    struct vm *vm = userdata;
    yyjson_val *item;

    json_each(result, item)
        strv_printf(&vm->hotplug.nodes, "fdset:%" PRId64, json_int(item, "/fdset-id", 0));
    answered(vm, fault);
}

static void observe(struct vm *vm)
{
    yyjson_mut_doc *flat = json_object();

    json_set_bool(flat, "/flat", true);
    strv_done(&vm->hotplug.devices);
    strv_done(&vm->hotplug.nodes);
    vm->hotplug.blind = false;
    vm->hotplug.replies = 3;
    qmp_command_str(vm->pod.qmp, "qom-list", on_devices, vm, "path", PERIPHERAL, NULL);
    qmp_command(vm->pod.qmp, "query-named-block-nodes", flat, on_nodes, vm);
    qmp_command(vm->pod.qmp, "query-fdsets", NULL, on_fdsets, vm);
}

/* And nothing else is on its way there; if something is, it is looked at again soon. */
static bool is_told(struct vm *vm, const struct disk *d)
{
    yyjson_val *status = json_find(json_at(vmi_of(vm), "/status/volumeStatus"), "/name", d->name);
    bool told = str_same(json_str(status, "/target"), d->target) &&
                str_same(json_str(status, "/phase"), hotplug_phase_string(d->phase));

    if (told && d->phase != DISK_READY && !patches_idle(vm->vmi_patches))
        hotplug_look_again(vm, SOON_MS);
    return told && patches_idle(vm->vmi_patches);
}

static bool is_moving(const struct vm *vm)
{
    struct epoch epoch;

    epoch_read(vmi_of(vm), &epoch);
    return !epoch_settled(epoch.state);
}

static struct hotplug_view see(struct vm *vm, const char *name, const struct disk *d)
{
    const struct hotplug *h = &vm->hotplug;
    struct hotplug_view v = {
        .wanted = spec_hot_volume(json_at(vmi_of(vm), "/spec"), name) && spec_disk(json_at(vmi_of(vm), "/spec"), name),
        .noted = d != NULL,
        .moving = is_moving(vm),
    };
    struct hotplug_names n;

    if (!d)
        return v;
    const struct volume_report *r = hotplug_report_find(vm, name);
    hotplug_names(d, &n);
    v.phase = d->phase;
    v.told = is_told(vm, d);
    v.device = strv_has(&h->devices, n.device);
    v.nodes = strv_has(&h->nodes, n.node) || strv_has(&h->nodes, n.file) || strv_has(&h->nodes, n.fdset);
    v.failed = r && r->failed;
    v.asked_now = r && r->asked_ms && env_now(env_of(vm)) < r->asked_ms + UNPLUG_AGAIN_MS;
    return v;
}

/* True: something was begun or changed, and all is looked at again. */
static bool act(struct vm *vm, const char *name, struct disk *d)
{
    struct hotplug_view v = see(vm, name, d);
    enum hotplug_action action = hotplug_next(&v);

    if (action != HOTPLUG_WAIT)
        log_debug("pod %s/%s: volume %s: %s", vm->pod.ns, vm->pod.name, name, hotplug_action_string(action));
    switch (action) {
    case HOTPLUG_ATTACH:
        return hotplug_attach(vm, name);
    case HOTPLUG_PLUG:
        return hotplug_plug(vm, d);
    case HOTPLUG_READY:
        return hotplug_make_ready(vm, d);
    case HOTPLUG_AGAIN:
        return hotplug_enter(vm, d, DISK_PLUGGING), true;
    case HOTPLUG_DETACH:
        return hotplug_detach(vm, d);
    case HOTPLUG_KEEP:
        return hotplug_enter(vm, d, DISK_READY), true;
    case HOTPLUG_UNPLUG:
        return hotplug_unplug(vm, d);
    case HOTPLUG_CLEAN:
        return hotplug_clean(vm, d);
    case HOTPLUG_FORGET:
        return hotplug_forget(vm, d);
    default:
        return false;
    }
}

static bool is_running_here(const struct vm *vm)
{
    return vm->pod.qmp && vm->pod.step == POD_UP && vm->pod.owner && vm->started && !vm->stop_wanted && !vm->quits &&
           !vm->concluded && vm->pod.vmi && !vm->vmi_is_noted;
}

static bool any_hot(const struct vm *vm)
{
    yyjson_val *volume;

    VEC_EACH(&vm->pod.disks, d)
        if (d->hot)
            return true;
    json_each(json_at(vmi_of(vm), "/spec/volumes"), volume)
        if (volume_is_hot(volume))
            return true;
    return false;
}

static bool act_on_any(struct vm *vm)
{
    yyjson_val *volume;

    VEC_EACH(&vm->pod.disks, d)
        if (d->hot && act(vm, d->name, d))
            return true;
    json_each(json_at(vmi_of(vm), "/spec/volumes"), volume) {
        const char *name = json_str_or(volume, "/name", "");
        if (volume_is_hot(volume) && !disk_find(&vm->pod.disks, name) && act(vm, name, NULL))
            return true;
    }
    return false;
}

void vm_hotplug(struct vm *vm)
{
    struct hotplug *h = &vm->hotplug;

    if (!is_running_here(vm) || vm->call || vm->job || h->script || h->replies)
        return;
    if (h->attaching) {
        hotplug_attach_step(vm);
        return;
    }
    hotplug_reports_sweep(vm);
    if (!any_hot(vm))
        return;
    if (!h->observed)
        observe(vm);
    else
        (void)act_on_any(vm);
}

/* Events of QEMU are hints to look: they may have been lost. */
bool vm_hotplug_waits(struct vm *vm)
{
    struct hotplug *h = &vm->hotplug;
    yyjson_val *volume;

    if (!is_running_here(vm))
        return false;
    bool waits = h->reports.len > 0;
    VEC_EACH(&vm->pod.disks, d) {
        if (d->hot && d->phase == DISK_DETACHING && !h->script && !h->replies)
            h->observed = false;
        waits =
            waits || (d->hot && (d->phase != DISK_READY || !spec_hot_volume(json_at(vmi_of(vm), "/spec"), d->name)));
    }
    json_each(json_at(vmi_of(vm), "/spec/volumes"), volume)
        waits = waits || (volume_is_hot(volume) && !disk_find(&vm->pod.disks, json_str_or(volume, "/name", "")));
    return waits;
}

void vm_hotplug_event(struct vm *vm, const char *name, yyjson_val *data)
{
    const char *device = json_str_or(data, "/device", "");

    if (!str_starts(device, "hot-"))
        return;
    if (streq(name, "DEVICE_UNPLUG_GUEST_ERROR"))
        VEC_EACH(&vm->pod.disks, d) {
            struct hotplug_names n;
            if (!d->hot)
                continue;
            hotplug_names(d, &n);
            if (streq(n.device, device))
                hotplug_say(vm, d->name, "VolumeDetaching", "the guest refuses to let go of the disk");
        }
    if (!vm->hotplug.replies)
        vm->hotplug.observed = false;
    vm_kick(vm);
}

void vm_hotplug_lost(struct vm *vm)
{
    struct hotplug *h = &vm->hotplug;

    h->script = script_drop(h->script);
    free(h->acting);
    h->acting = NULL;
    h->replies = 0;
    h->observed = false;
}

void vm_hotplug_done(struct vm *vm)
{
    struct hotplug *h = &vm->hotplug;

    vm_hotplug_lost(vm);
    env_timer_cancel(env_of(vm), &h->timer);
    hotplug_reports_done(vm);
    strv_done(&h->devices);
    strv_done(&h->nodes);
    free(h->attaching);
}
