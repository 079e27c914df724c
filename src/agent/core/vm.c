#include "agent/core/vm.h"

#include <string.h>

#include "agent/core/control.h"
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"

#define RETRY_FIRST_MS 500
#define RETRY_MAX_MS 30000
#define POWERDOWN_AGAIN_MS 2000
#define ENDING_LOOK_MS 100

/* --- What is known --- */

static bool may_run(const struct vm *vm)
{
    /* A target's guest is let run by whoever moves it; owner is set with the claim. */
    return vm->pod.owner && (!vm->pod.migration_uid || vm->started);
}

static struct pod_view look(const struct vm *vm)
{
    const struct env *env = vm->core->agent->env;
    int64_t now = env_now((struct env *)env);
    bool grace_over = vm->stop_deadline_ms && env_wall_ms((struct env *)env) >= vm->stop_deadline_ms;

    return (struct pod_view){
        .step = vm->pod.step,
        .object = vm->object_state,
        .busy = vm->call || vm->job || vm->retry || vm->conclude_deferred,
        .has_vmi = vm->pod.vmi != NULL,
        .has_objects = vm->objects_complete,
        .has_volumes = vm->has_volumes,
        .has_network = vm->pod.network != NULL,
        .launcher = vm->launcher_state,
        .session = vm->pod.qmp != NULL,
        .control = vm->control != NULL,
        .may_run = may_run(vm),
        .prelaunch = vm->run_state && streq(vm->run_state, "prelaunch"),
        .held = vm->held,
        .stop_wanted = vm->stop_wanted && !vm->stop_deferred,
        .powerdown_sent = vm->powerdown_ms && now < vm->powerdown_ms + POWERDOWN_AGAIN_MS,
        .grace_over = grace_over,
        .quits = vm->killed || (vm->quits && !grace_over),
        .heard = !vm->vmi_is_noted,
        .concluded = vm->concluded,
        .told = !vm->vmi_is_noted && patches_idle(vm->pod_patches) && patches_idle(vm->vmi_patches),
    };
}

/* --- Actions that are not elsewhere --- */

static void give_up(struct vm *vm)
{
    struct pod_exit *e = &vm->pod.exit;

    *e = (struct pod_exit){.known = true,
                           .reason = xstrdup("never-started"),
                           .code = -1,
                           .message =
                               xstrdup(vm->waiting_message ? vm->waiting_message : "stopped before it was started")};
}

/* Without anybody else's say: by the reason of QEMU's end. A guest that switched itself off, or was switched off by its
 * grace period, has succeeded (as KubeVirt has it); what crashed, or lost its host, has failed. */
static void conclude(struct vm *vm)
{
    static const char *const good[] = {"guest-shutdown", "host-qmp-quit", "grace-period-over", "stopped"};
    const struct pod_exit *e = &vm->pod.exit;
    bool ok = false;

    VEC_EACH(&vm->core->hooks, h)
        if (h->hooks->ended && h->hooks->ended(h->userdata, &vm->pod)) {
            vm->conclude_deferred = !vm->concluded;
            return;
        }
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        ok = ok || streq(e->reason, good[i]);
    vm_conclude(vm, ok, e->reason, e->message);
}

static void on_object_deleted(void *userdata, struct api_answer *answer)
{
    struct vm *vm = userdata;

    vm->call = NULL;
    if (!answer->err || answer->err->reason == GW_NOT_FOUND || answer->err->reason == GW_CONFLICT) {
        vm->object_state = OBJECT_GONE;
        vm_kick(vm);
        return;
    }
    vm_fail(vm, NULL, answer->err);
}

/* As a kubelet does: a pod that was being deleted goes when its processes have. */
static void delete_object(struct vm *vm)
{
    vm->call = pod_object_delete(vm->core, vm->pod.ns, vm->pod.name, vm->pod.uid, on_object_deleted, vm);
}

static void retry(void *userdata)
{
    struct vm *vm = userdata;

    vm->retry = NULL;
    if (vm->launcher_state == LAUNCHER_ALIVE && !vm->control)
        vm_look_at_launcher(vm); /* its end is told to those connected only */
    vm_kick(vm);
}

/* A QEMU whose launcher was killed takes a moment to give its memory back, and its cgroup stays as long. */
static void forget(struct vm *vm)
{
    if (!vm_remove_cgroup(vm)) {
        if (!vm->retry)
            vm->retry = env_timer(vm->core->agent->env, ENDING_LOOK_MS, retry, vm);
        return;
    }
    log_info("pod %s/%s: forgotten", vm->pod.ns, vm->pod.name);
    HOOKS_CALL(vm, gone);
    fs_remove_tree(vm->pod.dir, NULL);
    vm->gone = true;
}

static void act(struct vm *vm, const struct pod_view *view, enum pod_action action)
{
    switch (action) {
    case POD_DO_GET_VMI:
        return vm_get_vmi(vm);
    case POD_DO_GET_OBJECTS:
        return vm_get_objects(vm);
    case POD_DO_PREPARE_VOLUMES:
        return vm_prepare_volumes(vm);
    case POD_DO_MAKE_NETWORK:
        return vm_make_network(vm);
    case POD_DO_LAUNCH:
        return vm_launch(vm);
    case POD_DO_CONNECT:
        return vm_connect(vm);
    case POD_DO_RUN:
        return vm_run(vm);
    case POD_DO_GIVE_UP:
        return give_up(vm);
    case POD_DO_POWERDOWN:
        return vm_powerdown(vm);
    case POD_DO_KILL:
        return vm_kill(vm, view->grace_over ? "grace-period-over" : "stopped");
    case POD_DO_READ_EXIT:
        return vm_read_exit(vm);
    case POD_DO_CONCLUDE:
        return conclude(vm);
    case POD_DO_RELEASE:
        return vm_release(vm);
    case POD_DO_DELETE_OBJECT:
        return delete_object(vm);
    case POD_DO_FORGET:
        return forget(vm);
    default:
        return;
    }
}

/* Steps only go forward; each is noted. */
static void enter(struct vm *vm, enum pod_step step)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (step == POD_STEP_MAX || step <= vm->pod.step)
        return;
    log_info("pod %s/%s: %s", vm->pod.ns, vm->pod.name, pod_step_string(step));
    vm->pod.step = step;
    if (vm_note_write(vm, &err) < 0)
        log_failure(-1, &err, "pod %s/%s", vm->pod.ns, vm->pod.name);
}

/* What no event tells: the grace period runs, a powerdown may have to be repeated, the server has what is told. */
static bool is_ending(const struct pod_view *v)
{
    if (v->step == POD_RELEASED)
        return !v->told && v->object >= OBJECT_DELETING;
    return v->stop_wanted && v->launcher == LAUNCHER_ALIVE;
}

static void turn(void *userdata)
{
    struct vm *vm = userdata;

    vm->turn = NULL;
    if (vm->gone) {
        map_remove(vm->core->agent->pods, vm->pod.uid); /* frees it */
        return;
    }
    struct pod_view view = look(vm);
    enum pod_action action = pod_next(&view);
    if (action == POD_DO_WAIT) {
        if (is_ending(&view) && !vm->retry)
            vm->retry = env_timer(vm->core->agent->env, ENDING_LOOK_MS, retry, vm);
        vm_hotplug(vm);
        return;
    }
    log_debug("pod %s/%s: %s: %s", vm->pod.ns, vm->pod.name, pod_step_string(vm->pod.step), pod_action_string(action));
    enter(vm, pod_step_after(action));
    act(vm, &view, action);
    vm_touch(vm);
    vm_kick(vm);
}

void vm_kick(struct vm *vm)
{
    if (!vm->turn)
        vm->turn = env_timer(vm->core->agent->env, 0, turn, vm);
}

void vm_fail(struct vm *vm, const char *reason, const struct gw_error *err)
{
    struct env *env = vm->core->agent->env;
    const char *message = gw_error_message(err);

    if (reason && !str_same(vm->waiting_message, message)) {
        log_warn("pod %s/%s: %s: %s", vm->pod.ns, vm->pod.name, reason, message);
        pod_event(&vm->pod, EVENT_WARNING, reason, "%s", message);
    }
    if (reason) {
        free(vm->waiting_reason);
        free(vm->waiting_message);
        vm->waiting_reason = xstrdup(reason);
        vm->waiting_message = xstrdup(message);
    }
    vm->failures++;
    env_timer_cancel(env, &vm->retry);
    vm->retry = env_timer(env, env_backoff(env, vm->failures, RETRY_FIRST_MS, RETRY_MAX_MS), retry, vm);
    vm_touch(vm);
}

/* --- Its end --- */

void vm_conclude(struct vm *vm, bool succeeded, const char *reason, const char *message)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (vm->concluded)
        return;
    vm->concluded = true;
    vm->conclude_deferred = false;
    vm->succeeded = succeeded;
    vm->end_reason = xstrdup(reason);
    vm->end_message = xstrdup(message);
    vm->ended_ms = vm->ended_ms ? vm->ended_ms : env_wall_ms(vm->core->agent->env);
    if (vm_note_write(vm, &err) < 0)
        log_failure(-1, &err, "pod %s/%s", vm->pod.ns, vm->pod.name);
    if (vm->pod.owner && succeeded)
        pod_event(&vm->pod, EVENT_NORMAL, "Stopped", "The VirtualMachineInstance was shut down (%s).", reason);
    else if (vm->pod.owner)
        pod_event(&vm->pod, EVENT_WARNING, "Stopped", "The VirtualMachineInstance crashed (%s): %s", reason, message);
    vm_touch(vm);
    vm_kick(vm);
}

/* --- Life --- */

struct vm *vm_new(struct core *core, const char *uid, const char *ns, const char *name)
{
    struct vm *vm = xnew(struct vm);
    const struct agent_config *c = &core->agent->config;

    vm->core = core;
    vm->pod.agent = core->agent;
    vm->pod.uid = xstrdup(uid);
    vm->pod.ns = xstrdup(ns);
    vm->pod.name = xstrdup(name);
    vm->pod.dir = xasprintf("%s/pods/%s", c->state_dir, uid);
    vm->pod.run_dir = xasprintf("%s/run", vm->pod.dir);
    vm->pod.qemu_uid = c->qemu_uid;
    vm->pod.qemu_gid = c->qemu_gid;
    vm->objects = map_new((void (*)(void *))yyjson_doc_free);
    map_put(core->agent->pods, uid, vm);
    return vm;
}

void vm_free(struct vm *vm)
{
    struct env *env = vm->core->agent->env;

    vm_disconnect(vm);
    control_close(vm->control);
    api_cancel(vm->call);
    api_cancel(vm->vmi_call);
    env_timer_cancel(env, &vm->retry);
    env_timer_cancel(env, &vm->turn);
    patches_free(vm->pod_patches);
    patches_free(vm->vmi_patches);
    vm_hotplug_done(vm);
    map_free(vm->objects);
    yyjson_doc_free(vm->effective);
    strv_done(&vm->missing);
    volume_plan_done(&vm->plan);
    prepared_volumes_done(&vm->volumes);
    launcher_note_done(&vm->launcher);
    disks_done(&vm->pod.disks);
    yyjson_doc_free(vm->object);
    yyjson_doc_free(vm->pod.vmi);
    yyjson_doc_free(vm->pod.guest);
    char *texts[] = {vm->pod.uid,           vm->pod.ns,           vm->pod.name,    vm->pod.vmi_name, vm->pod.vmi_uid,
                     vm->pod.migration_uid, vm->pod.dir,          vm->pod.run_dir, vm->pod.machine,  vm->pod.cpu,
                     vm->pod.exit.reason,   vm->pod.exit.message, vm->run_state,   vm->end_reason,   vm->end_message,
                     vm->waiting_reason,    vm->waiting_message};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        free(texts[i]);
    free(vm);
}
