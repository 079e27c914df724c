/* What agent/pod.h offers to the other parts of the agent: finding a pod, and asking the core to do something with it.
 */
#include "agent/pod.h"

#include <stdarg.h>

#include "agent/core/vm.h"
#include "api/meta.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"

#define QUIT_PATIENCE_MS 5000

void agent_add_pod_hooks(struct agent *a, const struct pod_hooks *hooks, void *userdata)
{
    hook_vec_push(&a->core->hooks, (struct hook){hooks, userdata});
}

struct pod *agent_pod(struct agent *a, const char *uid)
{
    struct vm *vm = map_get(a->pods, uid);

    return vm ? &vm->pod : NULL;
}

static struct pod *find(struct agent *a, bool (*matches)(const struct pod *p, const char *text), const char *text)
{
    void *value;

    for (size_t c = 0; map_next(a->pods, &c, NULL, &value);)
        if (matches(value, text))
            return value;
    return NULL;
}

static bool is_target(const struct pod *p, const char *migration_uid)
{
    return p->step < POD_RELEASED && str_same(p->migration_uid, migration_uid);
}

static bool is_owner(const struct pod *p, const char *vmi_uid)
{
    return p->step < POD_RELEASED && p->owner && str_same(p->vmi_uid, vmi_uid);
}

struct pod *agent_target_pod(struct agent *a, const char *migration_uid)
{
    return find(a, is_target, migration_uid);
}

struct pod *agent_vmi_pod(struct agent *a, const char *vmi_uid)
{
    return find(a, is_owner, vmi_uid);
}

int pod_set_owner(struct pod *p, bool owner, struct gw_error *err)
{
    struct vm *vm = vm_of(p);
    bool before = p->owner, started = vm->started;

    p->owner = owner;
    vm->started = vm->started || owner;
    int r = vm_note_write(vm, err);
    if (r < 0) {
        p->owner = before;
        vm->started = started;
        return r;
    }
    /* A guest that arrives paused makes no event of it. */
    if (owner && !before && p->vmi && condition_true(yyjson_doc_get_root(p->vmi), "Paused"))
        p->paused_reason = "PausedByUser";
    if (owner && !before)
        pod_look(p);
    vm_touch(vm);
    vm_kick(vm);
    return 0;
}

void pod_set_guest(struct pod *p, yyjson_doc *doc)
{
    bool same = p->guest && doc && json_equal(yyjson_doc_get_root(p->guest), yyjson_doc_get_root(doc));

    yyjson_doc_free(p->guest);
    p->guest = doc;
    if (!same)
        vm_touch(vm_of(p));
}

/* In ms. A pod has more than its VM, for what comes after the guest's end: the VM's is what the guest gets, unless the
 * pod's deletion leaves it less. */
static int64_t grace_of(const struct vm *vm, int grace_s)
{
    yyjson_val *v = vm->pod.vmi ? yyjson_doc_get_root(vm->pod.vmi) : NULL;
    yyjson_val *object = vm->object ? yyjson_doc_get_root(vm->object) : NULL;
    int64_t own = json_int(v, "/spec/terminationGracePeriodSeconds", 30);

    own = MIN(own, json_int(object, "/metadata/deletionGracePeriodSeconds", own));
    return 1000 * (grace_s >= 0 ? MIN(grace_s, own) : own);
}

static bool some_hook_stops(struct vm *vm)
{
    VEC_EACH(&vm->core->hooks, h)
        if (h->hooks->stopping && h->hooks->stopping(h->userdata, &vm->pod))
            return true;
    return false;
}

void pod_stop(struct pod *p, int grace_s)
{
    struct vm *vm = vm_of(p);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    bool asked = vm->stop_wanted;

    if (p->step >= POD_ENDED)
        return;
    vm->stop_wanted = true;
    vm->stop_deferred = !asked && some_hook_stops(vm);
    if (!vm->stop_deferred)
        vm->stop_deadline_ms = env_wall_ms(p->agent->env) + grace_of(vm, grace_s);
    log_info("pod %s/%s: to stop%s", p->ns, p->name, vm->stop_deferred ? " once its migration is settled" : "");
    if (vm_note_write(vm, &err) < 0)
        log_failure(-1, &err, "pod %s/%s", p->ns, p->name);
    env_timer_cancel(p->agent->env, &vm->retry); /* whatever it waits to do again */
    vm_kick(vm);
}

void vm_hasten(struct vm *vm)
{
    int64_t deadline = env_wall_ms(vm->core->agent->env) + grace_of(vm, -1);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (!vm->stop_wanted || vm->stop_deferred || deadline >= vm->stop_deadline_ms)
        return;
    vm->stop_deadline_ms = deadline;
    log_info("pod %s/%s: has less time to stop", vm->pod.ns, vm->pod.name);
    if (vm_note_write(vm, &err) < 0)
        log_failure(-1, &err, "pod %s/%s", vm->pod.ns, vm->pod.name);
    vm_kick(vm);
}

/* A QEMU that does not even quit is killed. */
void pod_quit(struct pod *p)
{
    struct vm *vm = vm_of(p);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (p->step >= POD_ENDED)
        return;
    vm->stop_wanted = true;
    vm->stop_deferred = false;
    vm->quits = p->qmp != NULL;
    vm->stop_deadline_ms = env_wall_ms(p->agent->env) + (vm->quits ? QUIT_PATIENCE_MS : 0);
    if (p->qmp)
        qmp_command(p->qmp, "quit", NULL, NULL, NULL);
    if (vm_note_write(vm, &err) < 0)
        log_failure(-1, &err, "pod %s/%s", p->ns, p->name);
    env_timer_cancel(p->agent->env, &vm->retry);
    vm_kick(vm);
}

void pod_finish(struct pod *p, bool succeeded, const char *reason, const char *message)
{
    vm_conclude(vm_of(p), succeeded, reason, message);
}

void pod_event(struct pod *p, const char *type, const char *reason, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    _cleanup_free_ char *text = xvasprintf(fmt, ap);
    va_end(ap);
    if (p->vmi)
        event_record(p->agent->events, yyjson_doc_get_root(p->vmi), type, reason, "%s", text);
}

void pod_patch_vmi(struct pod *p, yyjson_mut_doc *patch, void (*done)(void *userdata, const struct gw_error *err),
                   void *userdata)
{
    struct vm *vm = vm_of(p);

    vm_touch(vm); /* makes the queue */
    patches_add(vm->vmi_patches, patch, done, userdata);
}
