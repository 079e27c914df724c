/* A pod whose launcher runs: the sessions with launcher and QEMU, letting the guest run, its end, and what is cleaned
 * up. */
#include <errno.h>
#include <string.h>

#include "agent/core/control.h"
#include "agent/core/vm.h"
#include "agent/launcher/cgroup.h"
#include "agent/launcher/ending.h"
#include "agent/network/pod_network.h"
#include "agent/qemu/command.h"
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/str.h"

#define SESSION_TIMEOUT_MS 15000

/* --- The launcher --- */

/* Both must be gone: a launcher that was killed takes QEMU with it, but that takes a moment. */
void vm_look_at_launcher(struct vm *vm)
{
    char boot[40];

    launcher_note_done(&vm->launcher);
    if (launcher_note_read(vm->pod.dir, &vm->launcher, NULL) < 0) {
        struct ending e = {0};
        bool failed = ending_read(vm->pod.dir, &e, NULL) == 0;
        ending_done(&e);
        vm->launcher_state = failed ? LAUNCHER_DEAD : LAUNCHER_NONE;
        return;
    }
    bool this_boot = streq(vm->launcher.boot_id, boot_id(boot));
    bool alive = this_boot && process_is(&vm->launcher.launcher);
    vm->pod.qemu_pid = vm->launcher.qemu.pid;
    vm->launcher_state = alive || (this_boot && process_is(&vm->launcher.qemu)) ? LAUNCHER_ALIVE : LAUNCHER_DEAD;
}

static void look_again(void *userdata)
{
    struct vm *vm = userdata;

    vm->retry = NULL;
    vm_look_at_launcher(vm);
    if (vm->launcher_state == LAUNCHER_ALIVE)
        vm->retry = env_timer(vm->core->agent->env, 10, look_again, vm);
    vm_kick(vm);
}

/* The connection has ended: the launcher is going, or gone. */
static void on_launcher_ended(void *userdata)
{
    struct vm *vm = userdata;

    vm->control = control_close(vm->control);
    env_timer_cancel(vm->core->agent->env, &vm->retry);
    look_again(vm);
}

/* --- QMP --- */

static void set_run_state(struct vm *vm, const char *state)
{
    const char *reason = vm->pod.paused_reason;

    if (!str_same(vm->run_state, state)) {
        free(vm->run_state);
        vm->run_state = xstrdup(state);
        vm_touch(vm);
    }
    if (streq(state, "running")) {
        vm->pod.paused_reason = NULL;
    } else if ((streq(state, "paused") && vm->started) || (streq(state, "prelaunch") && vm->held)) {
        vm->pod.paused_reason = "PausedByUser";
    } else if (streq(state, "io-error")) {
        vm->pod.paused_reason = "PausedIOError";
    }
    if (vm->pod.paused_reason != reason)
        vm_touch(vm);
}

static void on_status(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    struct vm *vm = userdata;
    bool first = vm->pod.qmp == NULL;

    if (fault)
        return;
    set_run_state(vm, json_str_or(result, "/status", ""));
    vm->pod.qmp = vm->session;
    if (first) {
        env_timer_cancel(vm->core->agent->env, &vm->retry);
        HOOKS_CALL(vm, attached);
    }
    vm_touch(vm);
    vm_kick(vm);
}

void pod_look(struct pod *p)
{
    struct vm *vm = vm_of(p);

    if (vm->session)
        qmp_command(vm->session, "query-status", NULL, on_status, vm);
}

/* Events only say that something changed. During a migration STOP is its doing. */
static void on_event(void *userdata, const char *name, yyjson_val *data, int64_t time_us)
{
    static const char *const about_state[] = {"STOP",           "RESUME",  "BLOCK_IO_ERROR",
                                              "GUEST_PANICKED", "SUSPEND", "WAKEUP"};
    struct vm *vm = userdata;

    HOOKS_CALL(vm, event, name, data, time_us);
    if (!vm->session)
        return;
    vm_hotplug_event(vm, name, data);
    for (size_t i = 0; i < ARRAY_SIZE(about_state); i++)
        if (streq(name, about_state[i]))
            qmp_command(vm->session, "query-status", NULL, on_status, vm);
}

static void on_ready(void *userdata, yyjson_val *greeting)
{
    struct vm *vm = userdata;

    qmp_command(vm->session, "query-status", NULL, on_status, vm);
}

static void on_closed(void *userdata, const char *why)
{
    struct vm *vm = userdata;

    vm->pod.qmp = NULL;
    vm->session = qmp_free(vm->session);
    vm_hotplug_lost(vm);
    log_debug("pod %s/%s: QMP: %s", vm->pod.ns, vm->pod.name, why);
    vm_touch(vm);
    vm_kick(vm);
}

static const struct qmp_handlers handlers = {on_ready, on_event, on_closed};

void vm_disconnect(struct vm *vm)
{
    vm->pod.qmp = NULL;
    vm->session = qmp_free(vm->session);
    vm_hotplug_lost(vm);
}

static void again(void *userdata)
{
    struct vm *vm = userdata;

    vm->retry = NULL;
    vm_look_at_launcher(vm);
    vm_kick(vm);
}

/* Opens what is not open; until the session is ready there is nothing to do but to look now and then. */
void vm_connect(struct vm *vm)
{
    struct agent *a = vm->core->agent;
    _cleanup_free_ char *path = xasprintf("%s/" QEMU_QMP_SOCKET, vm->pod.run_dir);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (!vm->control && control_open(a->loop, vm->pod.dir, on_launcher_ended, vm, &vm->control, &err) < 0)
        log_debug("pod %s/%s: %s", vm->pod.ns, vm->pod.name, gw_error_message(&err));
    if (!vm->session && qmp_new(a->loop, path, SESSION_TIMEOUT_MS, &handlers, vm, &vm->session, &err) < 0)
        log_failure(-1, &err, "pod %s/%s", vm->pod.ns, vm->pod.name);
    vm->retry = env_timer(a->env, vm->control ? 200 : 10, again, vm);
}

/* --- Run --- */

static void on_cont(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    struct vm *vm = userdata;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (!fault) {
        qmp_command(vm->session, "query-status", NULL, on_status, vm);
        return;
    }
    gw_error_set(&err, GW_INTERNAL_ERROR, "QEMU does not let the guest run: %s", fault->desc);
    vm_fail(vm, "FailedToRun", &err);
}

/* Such a guest is never let go by us: QEMU stays as -S leaves it (prelaunch), through migrations too, until its user's
 * `cont`. So nobody can be killed between two commands and leave it running. */
static bool starts_paused(const struct vm *vm)
{
    return streq(json_str_or(yyjson_doc_get_root(vm->pod.vmi), "/spec/startStrategy", ""), "Paused");
}

static void hold(struct vm *vm)
{
    vm->held = true;
    set_run_state(vm, "prelaunch"); /* which is a pause from now on */
}

static void let_go(struct vm *vm)
{
    free(vm->run_state);
    vm->run_state = xstrdup("starting"); /* until the answer: not prelaunch any more */
    qmp_command(vm->session, "cont", NULL, on_cont, vm);
}

/* The guest's address is announced and the fact noted before the first instruction, so that no guest has run without a
 * trace of it. A target only gets up: what its migration did not run has arrived paused before its first instruction.
 */
void vm_run(struct vm *vm)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    bool prelaunch = vm->run_state && streq(vm->run_state, "prelaunch");

    vm->failures = 0;
    vm->started_ms = vm->started_ms ? vm->started_ms : env_wall_ms(vm->core->agent->env);
    if (!prelaunch || !vm->pod.owner)
        return;
    if (vm->pod.migration_uid) {
        hold(vm);
        return;
    }
    bool first = !vm->started;
    vm->started = true;
    int r = vm_note_write(vm, &err);
    if (r == 0 && vm->pod.network)
        r = pod_network_activate(vm->core->agent->network, vm->pod.uid, 0, &err);
    if (r < 0) {
        vm_fail(vm, "FailedToRun", &err);
        return;
    }
    if (starts_paused(vm))
        hold(vm);
    else
        let_go(vm);
    if (first) {
        pod_event(&vm->pod, EVENT_NORMAL, "Created", "VirtualMachineInstance defined.");
        pod_event(&vm->pod, EVENT_NORMAL, "Started", "VirtualMachineInstance started.");
    }
}

/* --- End --- */

void vm_powerdown(struct vm *vm)
{
    if (!vm->powerdown_ms)
        pod_event(&vm->pod, EVENT_NORMAL, "ShuttingDown", "Signaled Graceful Shutdown");
    vm->powerdown_ms = env_now(vm->core->agent->env);
    if (vm->pod.qmp)
        qmp_command(vm->pod.qmp, "system_powerdown", NULL, NULL, NULL);
    else if (vm->control)
        control_powerdown(vm->control);
}

void vm_kill(struct vm *vm, const char *reason)
{
    if (!vm->control) {
        vm_connect(vm);
        return;
    }
    vm->killed = true;
    control_kill(vm->control, reason);
}

static void set_exit(struct vm *vm, const char *reason, int code, int signal, const char *message)
{
    struct pod_exit *e = &vm->pod.exit;

    free(e->reason);
    free(e->message);
    *e = (struct pod_exit){true, xstrdup(reason), code, signal, xstrdup(message)};
}

void vm_read_exit(struct vm *vm)
{
    struct ending e = {0};
    char boot[40];

    vm_disconnect(vm);
    vm->control = control_close(vm->control);
    if (ending_read(vm->pod.dir, &e, NULL) == 0) {
        _cleanup_free_ char *plain = e.signal
                                         ? xasprintf("QEMU was ended by signal %d (%s)", e.signal, strsignal(e.signal))
                                         : xasprintf("QEMU ended with code %d", e.code);
        set_exit(vm, e.reason, e.code, e.signal, *e.message ? e.message : plain);
        vm->ended_ms = e.at_ms;
    } else if (!*vm->launcher.boot_id) {
        set_exit(vm, "never-started", -1, 0, "stopped before it was started");
    } else if (!streq(vm->launcher.boot_id, boot_id(boot))) {
        set_exit(vm, "node-rebooted", -1, 0, "the node was restarted while the VM ran");
    } else {
        set_exit(vm, "launcher-killed", -1, 9, "the launcher of the VM was killed, and QEMU with it");
    }
    ending_done(&e);
    log_info("pod %s/%s: QEMU ended: %s (code %d, signal %d) %s", vm->pod.ns, vm->pod.name, vm->pod.exit.reason,
             vm->pod.exit.code, vm->pod.exit.signal, vm->pod.exit.message);
}

bool vm_remove_cgroup(struct vm *vm)
{
    _cleanup_free_ char *group = xasprintf("godwit/%s", vm->pod.uid);

    return cgroup_remove(group);
}

/* Idempotent; a cgroup that cannot be removed yet is tried again before the pod is forgotten. */
void vm_release(struct vm *vm)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_free_ char *disks = xasprintf("%s/disks", vm->pod.dir);
    const char *const folders[] = {disks, vm->pod.run_dir};

    if (pod_network_destroy(vm->core->agent->network, vm->pod.uid, &err) < 0)
        log_failure(-1, &err, "pod %s/%s: network", vm->pod.ns, vm->pod.name);
    vm->pod.network = NULL;
    (void)vm_remove_cgroup(vm);
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
        fs_remove_tree(folders[i], NULL);
}
