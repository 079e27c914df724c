/* The pods of this node as a whole: taking over what runs after a restart, and following the server. */
#include "agent/core/core.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <string.h>

#include "agent/core/vm.h"
#include "agent/network/pod_network.h"
#include "api/meta.h"
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"

#define TICK_MS 2000

/* --- The server's pods --- */

/* Whether the agent has anything to do with it: launcher pods of VMIs, not yet final. */
static bool is_ours(yyjson_val *pod)
{
    return json_key_str(pod, "/metadata/labels", "kubevirt.io/created-by") && !is_final(pod);
}

static struct vm *adopt_object(struct core *core, yyjson_val *pod)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct vm *vm = vm_new(core, json_str(pod, "/metadata/uid"), json_str(pod, "/metadata/namespace"),
                           json_str(pod, "/metadata/name"));

    vm->pod.vmi_uid = xstrdup(json_key_str(pod, "/metadata/labels", "kubevirt.io/created-by"));
    vm->pod.vmi_name = xstrdup(json_key_str(pod, "/metadata/annotations", "kubevirt.io/domain"));
    if (!vm->pod.vmi_name)
        vm->pod.vmi_name = xstrdup(json_str_or(pod, "/metadata/ownerReferences/0/name", ""));
    vm->pod.migration_uid = xstrdup(json_key_str(pod, "/metadata/labels", "kubevirt.io/migrationJobUID"));
    vm->pod.owner = vm->pod.migration_uid == NULL;
    log_info("pod %s/%s: bound here", vm->pod.ns, vm->pod.name);
    if (vm_note_write(vm, &err) < 0)
        vm_fail(vm, "CreateContainerError", &err);
    return vm;
}

/* A final or vanishing pod that we know nothing about has nothing on this node; but a deleted one still waits for us.
 */
static void delete_stranger(struct core *core, yyjson_val *pod)
{
    if (!json_str(pod, "/metadata/deletionTimestamp"))
        return;
    pod_object_delete(core, json_str(pod, "/metadata/namespace"), json_str(pod, "/metadata/name"),
                      json_str(pod, "/metadata/uid"), NULL, NULL);
}

static void on_pod(void *userdata, const char *key, yyjson_val *old, yyjson_val *obj)
{
    struct core *core = userdata;
    yyjson_val *pod = obj ? obj : old;
    const char *uid = json_str_or(pod, "/metadata/uid", "");
    struct vm *vm = map_get(core->agent->pods, uid);

    /* One name can have had another uid before. */
    if (old && obj && !str_same(json_str(old, "/metadata/uid"), uid)) {
        struct vm *before = map_get(core->agent->pods, json_str_or(old, "/metadata/uid", ""));
        if (before)
            vm_set_object(before, NULL);
    }
    if (!vm && obj && is_ours(obj) && !json_str(obj, "/metadata/deletionTimestamp"))
        vm = adopt_object(core, obj);
    if (vm)
        vm_set_object(vm, obj);
    else if (obj)
        delete_stranger(core, obj);
}

/* --- The server's VMIs --- */

static void give_vmi(struct vm *vm, yyjson_val *obj)
{
    _cleanup_mut_doc_ yyjson_mut_doc *copy = json_copy(obj);
    yyjson_doc *doc = yyjson_mut_doc_imut_copy(copy, NULL);

    vm_set_vmi(vm, &doc);
    yyjson_doc_free(doc);
}

/* One that leaves our selection may have moved to another node, and its pod here must learn that. */
static void on_vmi(void *userdata, const char *key, yyjson_val *old, yyjson_val *obj)
{
    struct core *core = userdata;
    const char *uid = json_str_or(obj ? obj : old, "/metadata/uid", "");
    void *value;

    for (size_t c = 0; map_next(core->agent->pods, &c, NULL, &value);) {
        struct vm *vm = value;
        if (!str_same(vm->pod.vmi_uid, uid))
            continue;
        if (obj)
            give_vmi(vm, obj);
        else
            vm_refresh_vmi(vm);
    }
}

/* VMIs whose labels do not name this node (yet, or any more) are looked at now and then while they have a pod here. */
static bool is_followed(const struct core *core, const struct vm *vm)
{
    yyjson_val *v = vm->pod.vmi_name ? informer_get_ns(core->vmis, vm->pod.ns, vm->pod.vmi_name) : NULL;

    if (!v && vm->pod.vmi_name)
        v = informer_get_ns(core->arriving, vm->pod.ns, vm->pod.vmi_name);
    return v != NULL;
}

static void heed_absent_pods(struct core *core, struct vm *vm)
{
    yyjson_val *pod = informer_get_ns(core->pods, vm->pod.ns, vm->pod.name);
    bool there = pod && str_same(json_str(pod, "/metadata/uid"), vm->pod.uid);

    if (informer_has_synced(core->pods) && !there && vm->object_state != OBJECT_GONE)
        vm_set_object(vm, NULL);
}

static void tick(void *userdata)
{
    struct core *core = userdata;
    void *value;

    core->tick = env_timer(core->agent->env, TICK_MS, tick, core);
    for (size_t c = 0; map_next(core->agent->pods, &c, NULL, &value);) {
        struct vm *vm = value;
        heed_absent_pods(core, vm);
        if (vm->vmi_is_noted ||
            (vm->pod.step > POD_NEW && (vm->pod.step < POD_ENDED || !patches_idle(vm->vmi_patches)) &&
             !is_followed(core, vm)))
            vm_refresh_vmi(vm);
        if (vm_hotplug_waits(vm))
            vm_kick(vm);
    }
}

/* --- After a restart --- */

static void adopt_note(struct core *core, const char *uid)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct vm *vm;

    if (vm_note_read(core, uid, &vm, &err) < 0) {
        log_failure(-1, &err, "notes of pod %s", uid);
        return;
    }
    vm_look_at_launcher(vm);
    vm->pod.network = pod_network_find(core->agent->network, uid);
    if (vm->pod.step >= POD_ENDED)
        vm_read_exit(vm);
    if (vm->pod.step >= POD_RELEASED) /* the step is noted first: the last life may have got no further */
        vm_release(vm);
    log_info("pod %s/%s: taken over (%s, %s)", vm->pod.ns, vm->pod.name, pod_step_string(vm->pod.step),
             vm->launcher_state == LAUNCHER_ALIVE ? "running" : "not running");
    if (vm->vmi_is_noted)
        vm_refresh_vmi(vm);
    vm_kick(vm);
}

static int adopt_all(struct core *core, struct gw_error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/pods", core->agent->config.state_dir);
    struct dirent *e;
    int r = fs_mkdirs(path, 0711, err);
    DIR *d = r < 0 ? NULL : opendir(path);

    while (d && (e = readdir(d)))
        if (*e->d_name != '.')
            adopt_note(core, e->d_name);
    if (d)
        closedir(d);
    return r;
}

/* --- The node's resolvers, for guests: those that a guest can reach too --- */

static void read_resolvers(struct strv *ret)
{
    _cleanup_free_ char *text = NULL;
    char *rest, *line, address[64];
    struct in_addr a;

    if (fs_read("/etc/resolv.conf", 1 << 16, &text, NULL, NULL) < 0)
        return;
    for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        if (sscanf(line, " nameserver %63s", address) == 1 && inet_pton(AF_INET, address, &a) == 1 &&
            ntohl(a.s_addr) >> 24 != 127)
            strv_push(ret, address);
}

static struct informer *follow(struct core *core, const struct api_resource *r, const char *labels, const char *fields,
                               informer_fn fn)
{
    const struct informer_config c = {.resource = r, .label_selector = labels, .field_selector = fields};
    struct informer *inf = informer_new(core->agent->env, &c);

    informer_add_handler(inf, fn, core);
    return inf;
}

int core_start(struct agent *a, struct gw_error *err)
{
    _cleanup_free_ char *bound = xasprintf("spec.nodeName=%s", a->config.node);
    _cleanup_free_ char *here = xasprintf("kubevirt.io/nodeName=%s", a->config.node);
    _cleanup_free_ char *arriving = xasprintf("kubevirt.io/migrationTargetNodeName=%s", a->config.node);
    struct core *core = a->core;

    read_resolvers(&core->dns);
    int r = adopt_all(core, err);
    if (r < 0)
        return r;
    core->vmis = follow(core, &API_VIRTUALMACHINEINSTANCES, here, NULL, on_vmi);
    core->arriving = follow(core, &API_VIRTUALMACHINEINSTANCES, arriving, NULL, on_vmi);
    core->pods = follow(core, &API_PODS, NULL, bound, on_pod);
    core->tick = env_timer(a->env, TICK_MS, tick, core);
    return 0;
}

static void free_vm(void *value)
{
    vm_free(value);
}

void core_prepare(struct agent *a)
{
    a->core = xnew(struct core);
    a->core->agent = a;
    a->pods = map_new(free_vm);
}

void core_stop(struct agent *a)
{
    struct core *core = a->core;

    if (!core)
        return;
    env_timer_cancel(a->env, &core->tick);
    informer_free(core->pods);
    informer_free(core->vmis);
    informer_free(core->arriving);
    map_free(a->pods);
    hook_vec_done(&core->hooks);
    strv_done(&core->dns);
    free(core);
    a->core = NULL;
}
