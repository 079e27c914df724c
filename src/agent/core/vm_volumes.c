/* A pod's volumes: the objects that they name are fetched one by one, then the disks are made on a worker. */
#include <errno.h>
#include <string.h>

#include "agent/core/vm.h"
#include "agent/core/worker.h"
#include "base/alloc.h"
#include "base/fs.h"
#include "base/str.h"

/* --- Objects that its volumes name --- */

static yyjson_val *look_up(void *userdata, const char *kind, const char *name)
{
    const struct vm *vm = userdata;
    _cleanup_free_ char *key = xasprintf("%s/%s", kind, name);
    yyjson_doc *doc = map_get(vm->objects, key);

    return doc ? yyjson_doc_get_root(doc) : NULL;
}

/* The first object that is needed and was not asked for yet; NULL when all were. Absent ones are kept as NULL, so that
 * the plan can name them. */
static const char *next_missing(struct vm *vm)
{
    strv_done(&vm->missing);
    volumes_needs(yyjson_doc_get_root(vm->effective), look_up, vm, &vm->missing);
    for (size_t i = 0; i < vm->missing.len; i++)
        if (!map_has(vm->objects, vm->missing.items[i]))
            return vm->missing.items[i];
    return NULL;
}

static void on_object(void *userdata, struct api_answer *answer)
{
    struct vm *vm = userdata;
    const char *key = next_missing(vm);

    vm->call = NULL;
    if (answer->err && answer->err->reason != GW_NOT_FOUND) {
        if (vm->hotplug.attaching)
            vm_hotplug_prepared(vm, NULL, "FailedMount", answer->err);
        else
            vm_fail(vm, "FailedMount", answer->err);
        return;
    }
    if (key)
        map_put(vm->objects, key, TAKE_PTR(answer->doc));
    vm_kick(vm);
}

void vm_get_objects(struct vm *vm)
{
    if (!vm->effective)
        vm->effective = volumes_effective(yyjson_doc_get_root(vm->pod.vmi), vm->pod.migration_uid != NULL);

    const char *key = next_missing(vm);
    if (!key) {
        vm->objects_complete = true;
        return;
    }
    _cleanup_free_ char *kind = xstrndup(key, strcspn(key, "/"));
    const struct api_resource *r = api_resource_find("", kind);
    vm->call =
        api_get(vm->core->agent->client, r, r->namespaced ? vm->pod.ns : NULL, key + strlen(kind) + 1, on_object, vm);
}

/* A claim may be bound, a secret made, the VMI changed by the next time. */
void vm_forget_objects(struct vm *vm)
{
    vm->objects_complete = false;
    map_clear(vm->objects);
    yyjson_doc_free(vm->effective);
    vm->effective = NULL;
}

/* --- Volumes, on a worker --- */

struct volume_job {
    struct vm *vm;
    struct volume_place place;
    char *folder;
    vm_prepared_fn done;
    struct prepared_volumes result;
    const char *reason;
    struct gw_error err;
    int r;
};

static void prepare_work(void *userdata)
{
    struct volume_job *j = userdata;

    j->r = volumes_prepare(&j->vm->plan, &j->place, &j->result, &j->reason, &j->err);
}

static void free_job(struct volume_job *j)
{
    gw_error_done(&j->err);
    free(j->folder);
    free(j);
}

static void prepare_done(void *userdata)
{
    struct volume_job *j = userdata;
    struct vm *vm = j->vm;

    vm->job = NULL;
    if (j->r < 0)
        vm_forget_objects(vm);
    j->done(vm, j->r < 0 ? NULL : &j->result, j->reason, &j->err);
    free_job(j);
    vm_kick(vm);
}

void vm_prepare(struct vm *vm, vm_prepared_fn done)
{
    const struct agent_config *c = &vm->core->agent->config;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    const char *reason = "FailedMount";

    volume_plan_done(&vm->plan);
    int r = volumes_plan(yyjson_doc_get_root(vm->effective), look_up, vm, &vm->plan, &reason, &err);
    if (r == 0)
        r = fs_mkdirs(vm->pod.dir, 0700, &err);
    struct volume_job *j = xnew(struct volume_job);
    *j = (struct volume_job){.vm = vm, .folder = xasprintf("%s/disks", vm->pod.dir), .done = done};
    j->place = (struct volume_place){c->images_dir, j->folder, c->shared_dir, c->local_dir, c->qemu_uid, c->qemu_gid};
    if (r == 0 && !(vm->job = job_start(vm->core->agent->loop, prepare_work, prepare_done, j)))
        r = gw_error_errno(&err, EAGAIN, "thread");
    if (r == 0)
        return;
    free_job(j);
    vm_forget_objects(vm);
    done(vm, NULL, reason, &err);
}

static void all_prepared(struct vm *vm, struct prepared_volumes *result, const char *reason, const struct gw_error *err)
{
    if (!result) {
        vm_fail(vm, reason, err);
        return;
    }
    prepared_volumes_done(&vm->volumes);
    vm->volumes = *result;
    vm->has_volumes = true;
    disks_done(&vm->pod.disks);
    vm->pod.disks = vm->volumes.disks;
    vm->volumes.disks = (struct disk_vec){0};
}

void vm_prepare_volumes(struct vm *vm)
{
    vm_prepare(vm, all_prepared);
}
