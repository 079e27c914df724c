/* STATE/pods/<uid>/pod.json is what the agent must remember though the server may be away when it restarts; vmi.json is
 * the VMI as the pod was started with. */
#include <string.h>

#include "agent/core/hotplug.h"
#include "agent/core/vm.h"
#include "base/alloc.h"
#include "base/fs.h"

static void put(yyjson_mut_doc *d, const char *path, const char *value)
{
    if (value)
        json_set_str(d, path, value);
}

static yyjson_mut_val *disk_list(yyjson_mut_doc *d, const struct vm *vm)
{
    yyjson_mut_val *list = yyjson_mut_arr(d);

    for (size_t i = 0; i < vm->pod.disks.len; i++) {
        const struct disk *disk = &vm->pod.disks.items[i];
        yyjson_mut_val *item = yyjson_mut_arr_add_obj(d, list);
        yyjson_mut_obj_add_strcpy(d, item, "name", disk->name);
        yyjson_mut_obj_add_strcpy(d, item, "path", disk->path);
        yyjson_mut_obj_add_strcpy(d, item, "format", disk->format);
        if (disk->backing) {
            yyjson_mut_obj_add_strcpy(d, item, "backing", disk->backing);
            yyjson_mut_obj_add_strcpy(d, item, "backingFormat", disk->backing_format);
        }
        yyjson_mut_obj_add_int(d, item, "size", disk->size);
        yyjson_mut_obj_add_bool(d, item, "readOnly", disk->read_only);
        yyjson_mut_obj_add_bool(d, item, "shared", disk->shared);
        yyjson_mut_obj_add_bool(d, item, "direct", disk->direct);
        if (disk->target)
            yyjson_mut_obj_add_strcpy(d, item, "target", disk->target);
        if (disk->hot) {
            yyjson_mut_obj_add_strcpy(d, item, "phase", hotplug_phase_string(disk->phase));
            yyjson_mut_obj_add_strcpy(d, item, "definition", disk->definition);
        }
        if (i < vm->volumes.digests.len)
            yyjson_mut_obj_add_strcpy(d, item, "digest", vm->volumes.digests.items[i]);
    }
    return list;
}

static int write_json(const struct vm *vm, const char *name, const yyjson_mut_doc *d, struct gw_error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", vm->pod.dir, name);

    return json_save(path, d, 0600, err);
}

static int write_vmi(const struct vm *vm, struct gw_error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/vmi.json", vm->pod.dir);

    if (!vm->pod.vmi || fs_exists(path))
        return 0;
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_copy(yyjson_doc_get_root(vm->pod.vmi));
    return write_json(vm, "vmi.json", d, err);
}

int vm_note_write(struct vm *vm, struct gw_error *err)
{
    const struct pod *p = &vm->pod;
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();

    put(d, "/uid", p->uid);
    put(d, "/namespace", p->ns);
    put(d, "/name", p->name);
    put(d, "/vmiName", p->vmi_name);
    put(d, "/vmiUid", p->vmi_uid);
    put(d, "/migrationUid", p->migration_uid);
    put(d, "/step", pod_step_string(p->step));
    json_set_bool(d, "/owner", p->owner);
    put(d, "/machine", p->machine);
    put(d, "/cpu", p->cpu);
    json_set_bool(d, "/hotplugSockets", p->has_sockets);
    json_set_bool(d, "/guestAgentChannel", p->has_channel);
    put(d, "/kernelDigest", vm->volumes.kernel_digest);
    json_set_int(d, "/memory", p->memory);
    json_set_bool(d, "/started", vm->started);
    json_set_int(d, "/startedMs", vm->started_ms);
    json_set_int(d, "/endedMs", vm->ended_ms);
    /* A stop that a hook has put off is not noted: the server says it again, and the hook must be asked again. */
    json_set_bool(d, "/stopWanted", vm->stop_wanted && !vm->stop_deferred);
    json_set_int(d, "/stopDeadlineMs", vm->stop_deadline_ms);
    if (vm->concluded) {
        json_set_bool(d, "/end/succeeded", vm->succeeded);
        put(d, "/end/reason", vm->end_reason);
        put(d, "/end/message", vm->end_message);
    }
    json_set(d, "/disks", disk_list(d, vm));
    int r = fs_mkdirs(p->dir, 0700, err);
    if (r == 0)
        r = write_vmi(vm, err);
    return r < 0 ? r : write_json(vm, "pod.json", d, err);
}

static char *get(yyjson_val *v, const char *path)
{
    return xstrdup(json_str(v, path));
}

static enum disk_phase phase_from(const char *name)
{
    for (enum disk_phase p = DISK_READY; p < DISK_PHASE_MAX; p++)
        if (streq(hotplug_phase_string(p), name))
            return p;
    return DISK_READY;
}

static void read_disks(yyjson_val *list, struct vm *vm)
{
    yyjson_val *item;

    json_each(list, item) {
        disk_vec_push(&vm->pod.disks, (struct disk){
                                          .name = get(item, "/name"),
                                          .path = get(item, "/path"),
                                          .format = get(item, "/format"),
                                          .backing = get(item, "/backing"),
                                          .backing_format = get(item, "/backingFormat"),
                                          .size = json_int(item, "/size", 0),
                                          .read_only = json_bool(item, "/readOnly", false),
                                          .shared = json_bool(item, "/shared", false),
                                          .direct = json_bool(item, "/direct", false),
                                          .target = get(item, "/target"),
                                          .hot = json_str(item, "/definition") != NULL,
                                          .phase = phase_from(json_str_or(item, "/phase", "")),
                                          .definition = get(item, "/definition"),
                                      });
        strv_push(&vm->volumes.digests, json_str_or(item, "/digest", ""));
    }
}

static enum pod_step step_from(const char *name)
{
    for (enum pod_step s = POD_NEW; s < POD_STEP_MAX; s++)
        if (streq(pod_step_string(s), name))
            return s;
    return POD_NEW;
}

static int read_json(const char *dir, const char *name, yyjson_doc **ret, struct gw_error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", dir, name);

    return json_load(path, 0, ret, err);
}

/* Preparations are done again after a restart (they can be repeated); what runs is found by its launcher. */
static void take_note(struct vm *vm, yyjson_val *v)
{
    struct pod *p = &vm->pod;

    p->vmi_name = get(v, "/vmiName");
    p->vmi_uid = get(v, "/vmiUid");
    p->migration_uid = get(v, "/migrationUid");
    p->step = step_from(json_str_or(v, "/step", ""));
    p->owner = json_bool(v, "/owner", false);
    p->machine = get(v, "/machine");
    p->cpu = get(v, "/cpu");
    p->has_sockets = json_bool(v, "/hotplugSockets", false);
    p->has_channel = json_bool(v, "/guestAgentChannel", false);
    p->memory = json_int(v, "/memory", 0);
    vm->volumes.kernel_digest = get(v, "/kernelDigest");
    vm->started = json_bool(v, "/started", false);
    vm->started_ms = json_int(v, "/startedMs", 0);
    vm->ended_ms = json_int(v, "/endedMs", 0);
    vm->stop_wanted = json_bool(v, "/stopWanted", false);
    vm->stop_deadline_ms = json_int(v, "/stopDeadlineMs", 0);
    if (json_at(v, "/end")) {
        vm->concluded = true;
        vm->succeeded = json_bool(v, "/end/succeeded", false);
        vm->end_reason = get(v, "/end/reason");
        vm->end_message = get(v, "/end/message");
    }
    read_disks(json_at(v, "/disks"), vm);
}

int vm_note_read(struct core *core, const char *uid, struct vm **ret, struct gw_error *err)
{
    _cleanup_free_ char *dir = xasprintf("%s/pods/%s", core->agent->config.state_dir, uid);
    _cleanup_doc_ yyjson_doc *doc = NULL;

    int r = read_json(dir, "pod.json", &doc, err);
    if (r < 0)
        return r;
    yyjson_val *v = yyjson_doc_get_root(doc);
    if (!json_str(v, "/namespace") || !json_str(v, "/name"))
        return gw_error_set(err, GW_INVALID, "%s/pod.json lacks namespace or name", dir);
    struct vm *vm = vm_new(core, uid, json_str(v, "/namespace"), json_str(v, "/name"));
    take_note(vm, v);
    vm->vmi_is_noted = read_json(dir, "vmi.json", &vm->pod.vmi, NULL) == 0;
    *ret = vm;
    return 0;
}
