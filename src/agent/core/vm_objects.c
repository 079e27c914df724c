/* A pod's two objects at the server: the newest Pod and VMI that were heard, what follows from them, and what is told.
 */
#include "agent/core/vm.h"
#include "base/alloc.h"
#include "base/str.h"

static bool is_newer(yyjson_doc *have, yyjson_doc *got)
{
    return !have || object_version(yyjson_doc_get_root(got)) > object_version(yyjson_doc_get_root(have));
}

/* A pod, or a VMI whose guest is here, that is being deleted is stopped. Not before the VMI as it is now has been
 * heard: hooks may have to put the stop off, and tell by it. */
static void heed(struct vm *vm)
{
    yyjson_val *v = vm->pod.vmi ? yyjson_doc_get_root(vm->pod.vmi) : NULL;
    bool leaves = vm->pod.owner && json_str(v, "/metadata/deletionTimestamp");

    if (vm->vmi_is_noted || vm->pod.step >= POD_ENDED)
        return;
    if (vm->stop_wanted)
        vm_hasten(vm);
    else if (vm->object_state >= OBJECT_DELETING || leaves)
        pod_stop(&vm->pod, -1);
}

void vm_set_vmi(struct vm *vm, yyjson_doc **doc)
{
    yyjson_val *v = yyjson_doc_get_root(*doc);

    if (!str_same(json_str(v, "/metadata/uid"), vm->pod.vmi_uid))
        return;
    bool first = vm->vmi_is_noted, newer = is_newer(vm->pod.vmi, *doc);
    vm->vmi_is_noted = false;
    if (newer) {
        yyjson_doc_free(vm->pod.vmi);
        vm->pod.vmi = TAKE_PTR(*doc);
    } else if (!first) {
        return;
    }
    heed(vm);
    HOOKS_CALL(vm, vmi_changed);
    vm_touch(vm);
    vm_kick(vm);
}

/* What vmi.json says is the last that will be known. */
static void vmi_is_gone(struct vm *vm)
{
    if (!vm->vmi_is_noted)
        return;
    vm->vmi_is_noted = false;
    heed(vm);
    vm_kick(vm);
}

static void on_vmi(void *userdata, struct api_answer *answer)
{
    struct vm *vm = userdata;

    vm->vmi_call = NULL;
    if (answer->doc) {
        yyjson_doc *doc = TAKE_PTR(answer->doc);
        bool other = !str_same(json_str(yyjson_doc_get_root(doc), "/metadata/uid"), vm->pod.vmi_uid);
        vm_set_vmi(vm, &doc);
        yyjson_doc_free(doc);
        if (other)
            vmi_is_gone(vm);
    } else if (answer->err && answer->err->reason == GW_NOT_FOUND) {
        vmi_is_gone(vm);
    }
}

void vm_refresh_vmi(struct vm *vm)
{
    if (!vm->vmi_call && vm->pod.vmi_name)
        vm->vmi_call =
            api_get(vm->core->agent->client, &API_VIRTUALMACHINEINSTANCES, vm->pod.ns, vm->pod.vmi_name, on_vmi, vm);
}

void vm_set_object(struct vm *vm, yyjson_val *object)
{
    if (!object) {
        vm->object_state = OBJECT_GONE;
        heed(vm);
        vm_touch(vm); /* the VMI may have to be told yet */
        vm_kick(vm);
        return;
    }
    _cleanup_mut_doc_ yyjson_mut_doc *copy = json_copy(object);
    yyjson_doc *doc = yyjson_mut_doc_imut_copy(copy, NULL);
    if (!is_newer(vm->object, doc)) {
        yyjson_doc_free(doc);
        return;
    }
    yyjson_doc_free(vm->object);
    vm->object = doc;
    bool deleting = json_str(object, "/metadata/deletionTimestamp") != NULL;
    vm->object_state = deleting ? OBJECT_DELETING : OBJECT_PRESENT;
    heed(vm);
    vm_touch(vm);
    vm_kick(vm);
}

static void pod_written(void *userdata, yyjson_doc **doc)
{
    struct vm *vm = userdata;

    if (*doc)
        vm_set_object(vm, yyjson_doc_get_root(*doc));
}

static void vmi_written(void *userdata, yyjson_doc **doc)
{
    struct vm *vm = userdata;

    if (*doc)
        vm_set_vmi(vm, doc);
}

static void vmi_stale(void *userdata)
{
    vm_refresh_vmi(userdata);
}

void vm_touch(struct vm *vm)
{
    struct env *env = vm->core->agent->env;

    if (!vm->pod_patches)
        vm->pod_patches = patches_new(&(struct patches_config){env, &API_PODS, "status", vm->pod.ns, vm->pod.name,
                                                               vm_wanted_pod, pod_written, NULL, vm});
    patches_touch(vm->pod_patches);
    if (!vm->vmi_patches && vm->pod.vmi_name)
        vm->vmi_patches =
            patches_new(&(struct patches_config){env, &API_VIRTUALMACHINEINSTANCES, NULL, vm->pod.ns, vm->pod.vmi_name,
                                                 vm_wanted_vmi, vmi_written, vmi_stale, vm});
    if (vm->vmi_patches)
        patches_touch(vm->vmi_patches);
}

/* As a kubelet does: a pod that was being deleted goes when its processes have. */
struct api_call *pod_object_delete(struct core *core, const char *ns, const char *name, const char *uid,
                                   api_done_fn done, void *userdata)
{
    _cleanup_free_ char *path = api_path(&API_PODS, ns, name, NULL, NULL);
    _cleanup_free_ char *text = xasprintf("{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"gracePeriodSeconds\":0,"
                                          "\"preconditions\":{\"uid\":\"%s\"}}",
                                          uid);
    _cleanup_blob_ struct blob *body = blob_text(text);

    return api_request(core->agent->client, "DELETE", path, "application/json", body, 0, done, userdata);
}
