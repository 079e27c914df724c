/* Hot disks of a guest that runs here: looks, asks hotplug_next, does what it says, looks again. A disk is given to
 * QEMU as an open file (add-fd), since QEMU sees no other files than those of its start. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "agent/core/hotplug.h"
#include "agent/core/vm.h"
#include "agent/migration/script.h"
#include "agent/qemu/attach.h"
#include "api/volumes.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "migration/epoch.h"

#define UNPLUG_AGAIN_MS 5000 /* a guest that boots may miss the request */
#define RETRY_FIRST_MS 300
#define RETRY_MAX_MS 30000
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

/* --- What there is to say --- */

static struct volume_report *find_report(const struct vm *vm, const char *name)
{
    VEC_EACH(&vm->hotplug.reports, r)
        if (streq(r->name, name))
            return r;
    return NULL;
}

static struct volume_report *report_of(struct vm *vm, const char *name)
{
    if (find_report(vm, name))
        return find_report(vm, name);
    volume_report_vec_push(&vm->hotplug.reports, (struct volume_report){.name = xstrdup(name)});
    return &vm->hotplug.reports.items[vm->hotplug.reports.len - 1];
}

static void free_report(struct volume_report *r)
{
    free(r->name);
    free(r->reason);
    free(r->message);
}

static void drop_report(struct vm *vm, const char *name)
{
    struct volume_report_vec *all = &vm->hotplug.reports;

    for (size_t i = 0; i < all->len; i++)
        if (streq(all->items[i].name, name)) {
            free_report(&all->items[i]);
            volume_report_vec_remove(all, i);
            return;
        }
}

/* NULL: nothing in particular. */
static void say(struct vm *vm, const char *name, const char *reason, const char *message)
{
    struct volume_report *r = report_of(vm, name);

    if (str_same(r->reason, reason) && str_same(r->message, message))
        return;
    free(r->reason);
    free(r->message);
    r->reason = xstrdup(reason);
    r->message = xstrdup(message);
    vm_touch(vm);
}

static void again(void *userdata)
{
    struct vm *vm = userdata;

    vm->hotplug.timer = NULL;
    vm_kick(vm);
}

static void look_again(struct vm *vm, int64_t ms)
{
    env_timer_cancel(env_of(vm), &vm->hotplug.timer);
    vm->hotplug.timer = env_timer(env_of(vm), ms, again, vm);
}

/* A try that failed is tried again, later each time. */
static void say_failed(struct vm *vm, const char *name, const char *reason, const char *message)
{
    struct volume_report *r = report_of(vm, name);
    bool news = !str_same(r->message, message);

    r->failures++;
    int64_t pause = env_backoff(env_of(vm), r->failures, RETRY_FIRST_MS, RETRY_MAX_MS);
    r->again_ms = env_now(env_of(vm)) + pause;
    look_again(vm, pause);
    if (news)
        log_warn("pod %s/%s: volume %s: %s: %s", vm->pod.ns, vm->pod.name, name, reason, message);
    if (news)
        pod_event(&vm->pod, EVENT_WARNING, reason, "%s", message);
    say(vm, name, reason, message);
}

/* --- Looking --- */

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

/* A number of its own for the place, so that a descriptor that was left is found again. */
static int64_t fdset_of(const struct disk *d)
{
    return (d->target[0] == 'v' ? 2000 : 1000) + d->target[strlen(d->target) - 1];
}

struct names {
    char device[DISK_NODE_MAX + 8], node[DISK_NODE_MAX], file[DISK_NODE_MAX + 8], fdset[24];
};

static void names_of(const struct disk *d, struct names *ret)
{
    disk_device(d, 0, ret->device);
    disk_node(d, 0, ret->node);
    snprintf(ret->file, sizeof(ret->file), "%s-file", ret->node);
    snprintf(ret->fdset, sizeof(ret->fdset), "fdset:%" PRId64, fdset_of(d));
}

/* And nothing else is on its way there; if something is, it is looked at again soon. */
static bool is_told(struct vm *vm, const struct disk *d)
{
    yyjson_val *status = json_find(json_at(vmi_of(vm), "/status/volumeStatus"), "/name", d->name);
    bool told = str_same(json_str(status, "/target"), d->target) &&
                str_same(json_str(status, "/phase"), hotplug_phase_string(d->phase));

    if (told && d->phase != DISK_READY && !patches_idle(vm->vmi_patches))
        look_again(vm, SOON_MS);
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
    struct names n;

    if (!d)
        return v;
    const struct volume_report *r = find_report(vm, name);
    names_of(d, &n);
    v.phase = d->phase;
    v.told = is_told(vm, d);
    v.device = strv_has(&h->devices, n.device);
    v.nodes = strv_has(&h->nodes, n.node) || strv_has(&h->nodes, n.file) || strv_has(&h->nodes, n.fdset);
    v.failed = r && r->failed;
    v.asked_now = r && r->asked_ms && env_now(env_of(vm)) < r->asked_ms + UNPLUG_AGAIN_MS;
    return v;
}

/* --- Acts --- */

/* pod.disks was changed: QEMU may be touched only once that is noted. */
static void note(struct vm *vm)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (vm_note_write(vm, &err) < 0)
        log_failure(-1, &err, "pod %s/%s", vm->pod.ns, vm->pod.name);
    vm_touch(vm);
    vm_kick(vm);
}

static void enter(struct vm *vm, struct disk *d, enum disk_phase phase)
{
    d->phase = phase;
    note(vm);
}

static void attach_step(struct vm *vm)
{
    if (!vm->objects_complete)
        vm_get_objects(vm);
    if (vm->objects_complete && !vm->call)
        vm_prepare(vm, vm_hotplug_prepared);
}

static bool attach(struct vm *vm, const char *name)
{
    const struct volume_report *r = find_report(vm, name);

    if (r && env_now(env_of(vm)) < r->again_ms)
        return false;
    vm_forget_objects(vm);
    vm->effective = volumes_effective_one(vmi_of(vm), name);
    vm->hotplug.attaching = xstrdup(name);
    attach_step(vm);
    return true;
}

/* Its claim, as far as it was found. */
static bool claim_is_bound(const struct vm *vm, const char *name)
{
    yyjson_val *volume = spec_hot_volume(json_at(vmi_of(vm), "/spec"), name);
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

    report_of(vm, name)->bound = claim_is_bound(vm, name);
    if (!result) {
        say_failed(vm, name, report_of(vm, name)->bound ? reason : "PVCNotReady", gw_error_message(err));
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
        report_of(vm, name)->failed = false;
        say(vm, name, NULL, NULL);
        pod_event(&vm->pod, EVENT_NORMAL, "VolumeMountedToPod", "Volume %s has been mounted in virt-launcher pod",
                  name);
        note(vm);
    }
    if (fault.message)
        say_failed(vm, name, "HotplugFailed", gw_error_message(&fault));
    prepared_volumes_done(result);
}

static void on_script(void *userdata, const char *fault)
{
    struct vm *vm = userdata;
    _cleanup_free_ char *name = TAKE_PTR(vm->hotplug.acting);

    vm->hotplug.script = NULL;
    vm->hotplug.observed = false;
    if (fault) {
        report_of(vm, name)->failed = true;
        say_failed(vm, name, "HotplugFailed", fault);
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

static bool plug(struct vm *vm, const struct disk *d)
{
    _cleanup_attachment_ struct attachment a = {0};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    int r = make_attachment(vm, d, &a, &err);
    _cleanup_close_ int fd = r < 0 ? r : open_for(d, &a, &err);

    if (fd < 0) {
        report_of(vm, d->name)->failed = true;
        say_failed(vm, d->name, "HotplugFailed", gw_error_message(&err));
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

static bool unplug(struct vm *vm, const struct disk *d)
{
    struct volume_report *r = report_of(vm, d->name);
    struct script *s = script_new(vm->pod.qmp);
    struct names n;

    names_of(d, &n);
    if (r->unplug_ms)
        say(vm, d->name, "VolumeDetaching", "waits for the guest to let go of the disk");
    r->asked_ms = env_now(env_of(vm));
    r->unplug_ms = r->unplug_ms ? r->unplug_ms : r->asked_ms;
    script_try(s, "device_del", script_args("/id", n.device, NULL)); /* refused while the last one is pending */
    return run(vm, d->name, s);
}

/* The descriptor goes last: QEMU's lock on the file hangs on it. */
static bool clean(struct vm *vm, const struct disk *d)
{
    struct script *s = script_new(vm->pod.qmp);
    struct names n;

    names_of(d, &n);
    script_try(s, "blockdev-del", script_args("/node-name", n.node, NULL));
    script_try(s, "blockdev-del", script_args("/node-name", n.file, NULL));
    script_try(s, "remove-fd", fdset_args(d));
    return run(vm, d->name, s);
}

static bool make_ready(struct vm *vm, struct disk *d)
{
    drop_report(vm, d->name);
    pod_event(&vm->pod, EVENT_NORMAL, "VolumeReady", "Successfully attach hotplugged volume %s to VM", d->name);
    log_info("pod %s/%s: volume %s: plugged as %s", vm->pod.ns, vm->pod.name, d->name, d->target);
    enter(vm, d, DISK_READY);
    return true;
}

static bool detach(struct vm *vm, struct disk *d)
{
    drop_report(vm, d->name);
    enter(vm, d, DISK_DETACHING);
    return true;
}

static bool forget(struct vm *vm, struct disk *d)
{
    size_t i = (size_t)(d - vm->pod.disks.items);

    if (d->phase == DISK_DETACHING) {
        pod_event(&vm->pod, EVENT_NORMAL, "VolumeUnplugged", "Volume %s has been unplugged", d->name);
        log_info("pod %s/%s: volume %s: unplugged", vm->pod.ns, vm->pod.name, d->name);
        drop_report(vm, d->name);
    }
    disk_done(d);
    disk_vec_remove(&vm->pod.disks, i);
    note(vm);
    return true;
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
        return attach(vm, name);
    case HOTPLUG_PLUG:
        return plug(vm, d);
    case HOTPLUG_READY:
        return make_ready(vm, d);
    case HOTPLUG_AGAIN:
        return enter(vm, d, DISK_PLUGGING), true;
    case HOTPLUG_DETACH:
        return detach(vm, d);
    case HOTPLUG_KEEP:
        return enter(vm, d, DISK_READY), true;
    case HOTPLUG_UNPLUG:
        return unplug(vm, d);
    case HOTPLUG_CLEAN:
        return clean(vm, d);
    case HOTPLUG_FORGET:
        return forget(vm, d);
    default:
        return false;
    }
}

/* --- All --- */

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

/* What was waited for is not wanted any more. */
static void drop_old_reports(struct vm *vm)
{
    struct volume_report_vec *all = &vm->hotplug.reports;

    for (size_t i = all->len; i-- > 0;)
        if (!disk_find(&vm->pod.disks, all->items[i].name) &&
            !spec_hot_volume(json_at(vmi_of(vm), "/spec"), all->items[i].name)) {
            free_report(&all->items[i]);
            volume_report_vec_remove(all, i);
            vm_touch(vm);
        }
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
        attach_step(vm);
        return;
    }
    drop_old_reports(vm);
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
            struct names n;
            if (!d->hot)
                continue;
            names_of(d, &n);
            if (streq(n.device, device))
                say(vm, d->name, "VolumeDetaching", "the guest refuses to let go of the disk");
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
    VEC_EACH(&h->reports, r)
        free_report(r);
    volume_report_vec_done(&h->reports);
    strv_done(&h->devices);
    strv_done(&h->nodes);
    free(h->attaching);
}
