/* VirtualMachine: creates and deletes the VirtualMachineInstance of the same name, as the run strategy says
 * (vm_plan.c), keeps its hot volumes as the VM has them (vm_volumes.c), and reports (vm_status.c). Deletion of a VM
 * waits for its instance: the guest is shut down first. */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"
#include "controllers/kubevirt.h"
#include "controllers/vm_plan.h"
#include "controllers/vm_status.h"
#include "controllers/vm_template.h"

#define FINALIZER "kubevirt.io/virtualMachineControllerFinalize"

/* A start that was asked for with "paused" (KubeVirt: StartOptions). */
static bool asked_paused(yyjson_val *vm)
{
    yyjson_val *start = json_find(json_at(vm, "/status/stateChangeRequests"), "/action", "Start");

    return streq(json_str_or(start, "/data/paused", ""), "true");
}

/* --- the instance --- */

static void copy(yyjson_mut_doc *d, const char *to, yyjson_val *value)
{
    if (value)
        json_set(d, to, yyjson_val_mut_copy(d, value));
}

static yyjson_mut_doc *new_instance(yyjson_val *vm)
{
    yyjson_mut_doc *d = json_object();
    char digest[TEMPLATE_DIGEST_MAX];

    json_set_str(d, "/metadata/name", meta_name(vm));
    json_set_str(d, "/metadata/namespace", meta_namespace(vm));
    copy(d, "/metadata/labels", json_at(vm, "/spec/template/metadata/labels"));
    copy(d, "/metadata/annotations", json_at(vm, "/spec/template/metadata/annotations"));
    meta_set_annotation(d, ANNOTATION_TEMPLATE, template_digest(vm, digest));
    meta_set_annotation(d, ANNOTATION_ADDRESS, NULL); /* who may write VMs may not choose other VMs' addresses */
    meta_add_owner(d, vm, true, true);
    copy(d, "/spec", json_at(vm, "/spec/template/spec"));
    if (asked_paused(vm))
        json_set_str(d, "/spec/startStrategy", "Paused");
    return d;
}

/* An instance that lost its VM (deleted with --cascade=orphan) belongs to the new one. */
static void adopt(struct task *t, yyjson_val *vm, yyjson_val *vmi)
{
    yyjson_mut_doc *patch = json_object();
    yyjson_val *have = json_at(vmi, "/metadata/ownerReferences");

    copy(patch, "/metadata/ownerReferences", have);
    meta_add_owner(patch, vm, true, true);
    task_patch(t, &API_VIRTUALMACHINEINSTANCES, vmi, NULL, true, patch);
}

/* --- requests --- */

static bool asked(yyjson_val *vm, const char *action, const char *uid)
{
    yyjson_val *item;

    json_each(json_at(vm, "/status/stateChangeRequests"), item)
        if (streq(json_str_or(item, "/action", ""), action) && (!uid || str_same(json_str(item, "/uid"), uid)))
            return true;
    return false;
}

static void ask_start(struct task *t, yyjson_val *vm)
{
    yyjson_mut_doc *patch = json_object();
    yyjson_val *have = json_at(vm, "/status/stateChangeRequests");
    yyjson_mut_val *list = have ? yyjson_val_mut_copy(patch, have) : yyjson_mut_arr(patch);

    yyjson_mut_obj_add_str(patch, yyjson_mut_arr_add_obj(patch, list), "action", "Start");
    json_set(patch, "/status/stateChangeRequests", list);
    task_patch(t, &API_VIRTUALMACHINES, vm, "status", true, patch);
}

/* --- acts --- */

static void start(struct task *t, yyjson_val *vm)
{
    const char *retry = json_str(vm, "/status/startFailure/retryAfterTimestamp");
    int64_t wait = retry ? clock_parse(retry) - task_wall_ms(t) : 0;

    if (wait > 0) {
        task_requeue(t, wait);
        return;
    }
    task_create(t, &API_VIRTUALMACHINEINSTANCES, meta_namespace(vm), new_instance(vm));
    task_event(t, vm, EVENT_NORMAL, "SuccessfulCreate",
               "Started the virtual machine by creating the new virtual machine instance %s", meta_name(vm));
}

static void stop(struct task *t, yyjson_val *vm, yyjson_val *vmi)
{
    task_delete(t, &API_VIRTUALMACHINEINSTANCES, vmi, NULL);
    task_event(t, vm, EVENT_NORMAL, "SuccessfulDelete",
               "Stopped the virtual machine by deleting the virtual machine instance %s", meta_uid(vmi));
}

static void turn_on(struct task *t, yyjson_val *vm)
{
    yyjson_mut_doc *patch = json_object();

    if (json_str(vm, "/spec/runStrategy"))
        json_set_str(patch, "/spec/runStrategy", "Always");
    else
        json_set_bool(patch, "/spec/running", true);
    task_patch(t, &API_VIRTUALMACHINES, vm, NULL, true, patch);
}

/* One of the instance that has a target pod, or is about to have one. */
static yyjson_val *active_migration(struct task *t, yyjson_val *vmi)
{
    _cleanup_val_vec_ struct val_vec all = {0};
    char key[OBJECT_KEY_MAX];

    task_select(t, &API_MIGRATIONS, INDEX_VMI, object_key_of(meta_namespace(vmi), meta_name(vmi), key), &all);
    VEC_EACH(&all, m)
        if (!is_final(*m) && json_str(*m, "/status/phase") && !phase_is(*m, "Pending"))
            return *m;
    return NULL;
}

/* The target of a migration is made ready with the volumes that the instance has: others wait for its end. */
static void sync_volumes(struct task *t, yyjson_val *vm, yyjson_val *vmi)
{
    yyjson_mut_doc *patch = vmi ? vm_volumes_patch(vm, vmi) : NULL;
    yyjson_val *migration = patch ? active_migration(t, vmi) : NULL;

    if (migration) {
        yyjson_mut_doc_free(patch);
        task_event(t, vm, EVENT_NORMAL, "VolumesWaitForMigration",
                   "Volumes are plugged and unplugged after the end of migration %s", meta_name(migration));
    } else if (patch) {
        task_patch(t, &API_VIRTUALMACHINEINSTANCES, vmi, NULL, true, patch);
    }
}

static void act(struct task *t, yyjson_val *vm, yyjson_val *vmi, enum vm_action action)
{
    switch (action) {
    case VM_KEEP:
        sync_volumes(t, vm, vmi);
        break;
    case VM_START:
        start(t, vm);
        break;
    case VM_RERUN:
        if (!asked(vm, "Start", NULL))
            ask_start(t, vm);
        else
            stop(t, vm, vmi);
        break;
    case VM_STOP:
        stop(t, vm, vmi);
        break;
    case VM_TURN_ON:
        turn_on(t, vm);
        break;
    case VM_RELEASE:
        task_remove_finalizer(t, &API_VIRTUALMACHINES, vm, FINALIZER);
        break;
    default:
        break;
    }
}

/* --- reconcile --- */

static struct vm_view see(yyjson_val *vm, yyjson_val *vmi)
{
    struct vm_view v = {
        .strategy = run_strategy_of(vm),
        .instance = instance_state_of(vmi),
        .start_asked = asked(vm, "Start", NULL),
        .stop_asked = vmi && asked(vm, "Stop", meta_uid(vmi)),
        .deleting = meta_deleting(vm),
    };

    v.strategy_new = !str_same(json_str(vm, "/status/runStrategy"), run_strategy_string(v.strategy));
    return v;
}

/* Returns whether status had to be written: what follows is decided on what it says then. */
static bool report(struct task *t, yyjson_val *vm, yyjson_val *vmi, const struct vm_view *v, enum vm_action action)
{
    const struct gw_error *err = task_error(t);
    struct vm_report r = {.vm = vm, .vmi = vmi, .now_ms = task_wall_ms(t)};

    if (action != VM_START)
        r.run_strategy = run_strategy_string(v->strategy);
    else if (err)
        r.failure = gw_error_message(err);
    yyjson_mut_doc *patch = vm_status_patch(&r);
    if (patch)
        task_patch(t, &API_VIRTUALMACHINES, vm, "status", true, patch);
    return patch != NULL;
}

static void reconcile(struct task *t, const char *key)
{
    yyjson_val *vm = task_get(t, &API_VIRTUALMACHINES, key);
    yyjson_val *vmi = task_get(t, &API_VIRTUALMACHINEINSTANCES, key);

    if (!vm)
        return;
    if (!meta_deleting(vm) && !meta_has_finalizer(vm, FINALIZER)) {
        task_add_finalizer(t, &API_VIRTUALMACHINES, vm, FINALIZER);
        return;
    }
    if (vmi && !meta_owned_by(vmi, meta_uid(vm))) {
        if (meta_controller(vmi) || meta_deleting(vmi) || meta_deleting(vm)) {
            if (meta_deleting(vm)) /* somebody else's, or left to itself */
                act(t, vm, NULL, VM_RELEASE);
            return;
        }
        adopt(t, vm, vmi);
        return;
    }
    if (meta_deleting(vm) && meta_has_finalizer(vm, "orphan")) {
        act(t, vm, vmi, VM_RELEASE);
        return;
    }
    struct vm_view v = see(vm, vmi);
    enum vm_action action = vm_next(&v);
    if (action == VM_RELEASE || !report(t, vm, vmi, &v, action) || action == VM_START)
        act(t, vm, vmi, action);
}

/* One that ends: volumes may have waited for it. */
static void map_migration(struct keys *out, yyjson_val *old, yyjson_val *obj)
{
    yyjson_val *any = obj ? obj : old;

    if (!obj || is_final(obj))
        keys_add_ns(out, meta_namespace(any), json_str_or(any, "/spec/vmiName", ""));
}

static const char *const migration_keep[] = {"/spec/vmiName", "/status/phase", NULL};

/* Only what has the key of a VM is of interest, and most instances have one. */
const struct controller vm_controller = {
    .name = "virtualmachine",
    .reconcile = reconcile,
    .watches =
        (const struct controller_watch[]){{.resource = &API_VIRTUALMACHINES},
                                          {.resource = &API_VIRTUALMACHINEINSTANCES},
                                          {.resource = &API_MIGRATIONS,
                                           .map = map_migration,
                                           .keep = migration_keep,
                                           .indexes = (const struct informer_index[]){{INDEX_VMI, index_vmi}, {0}}},
                                          {0}},
};
