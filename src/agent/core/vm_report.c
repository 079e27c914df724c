/* What is true of a pod and its VM, in the words of the API. */
#include "agent/core/pod_status.h"
#include "agent/core/vm.h"
#include "agent/core/vmi_status.h"
#include "agent/network/pod_network.h"
#include "api/meta.h"
#include "base/str.h"

static const char *pod_phase(const struct vm *vm)
{
    if (vm->concluded)
        return vm->succeeded ? "Succeeded" : "Failed";
    return vm->pod.step >= POD_UP ? "Running" : "Pending";
}

yyjson_mut_doc *vm_wanted_pod(void *userdata)
{
    struct vm *vm = userdata;
    const struct pod_network *n = vm->pod.network;
    struct pod_report r = {
        .phase = pod_phase(vm),
        .waiting_reason = vm->waiting_reason,
        .waiting_message = vm->waiting_message,
        .ready = vm->pod.step >= POD_UP && vm->pod.step < POD_ENDED && vm->started_ms && !vm->concluded,
        .reason = vm->end_reason,
        .message = vm->end_message,
        .exit_code = vm->pod.exit.code,
        .signal = vm->pod.exit.signal,
        .host_ip = vm->core->agent->config.address,
        .pod_ip = n ? vm->pod.owner ? n->vm_address : n->pod_address : NULL,
        .started_ms = vm->started_ms,
        .finished_ms = vm->ended_ms,
        .now_ms = env_wall_ms(vm->core->agent->env),
        .version = "godwit://" GODWIT_VERSION,
    };

    if (!vm->object || vm->object_state == OBJECT_GONE)
        return NULL;
    return pod_status_patch(yyjson_doc_get_root(vm->object), &r);
}

static enum vm_phase vmi_phase(const struct vm *vm)
{
    if (vm->concluded)
        return vm->succeeded ? VM_SUCCEEDED : VM_FAILED;
    return vm->started ? VM_RUNNING : VM_SCHEDULED;
}

/* As long as QEMU has not said how the guest is, or says where a migration has left it (a restarted agent finds it so),
 * a pause is what the VMI says. */
static const char *paused_reason(const struct vm *vm, yyjson_val *v)
{
    const char *state = vm->run_state;
    bool unclear = !state || streq(state, "postmigrate") || streq(state, "finish-migrate");

    if (vm->concluded || vm->pod.paused_reason || !unclear || !condition_true(v, "Paused"))
        return vm->concluded ? NULL : vm->pod.paused_reason;
    return streq(json_str_or(condition_find(v, "Paused"), "/reason", ""), "PausedIOError") ? "PausedIOError"
                                                                                           : "PausedByUser";
}

/* The owner's words only, on the VMI as the server has it now; a final phase is the last. Before the pod is up the
 * controllers speak for the VM. While QEMU moves the guest, the states that it goes through are the migration's
 * business and do not make the VM less ready. */
yyjson_mut_doc *vm_wanted_vmi(void *userdata)
{
    struct vm *vm = userdata;
    yyjson_val *v = vm->pod.vmi ? yyjson_doc_get_root(vm->pod.vmi) : NULL;
    const char *state = vm->run_state ? vm->run_state : "", *paused = NULL;

    if (!v || vm->vmi_is_noted || !vm->pod.owner || is_final(v) || (vm->pod.step < POD_UP && !vm->concluded))
        return NULL;
    paused = paused_reason(vm, v);
    struct vmi_report r = {
        .node = vm->core->agent->config.node,
        .pod_uid = vm->pod.uid,
        .phase = vmi_phase(vm),
        .reason = vm->end_reason,
        .message = vm->end_message,
        .ready = vm->started && !vm->concluded && (!vm->pod.qmp || !streq(state, "prelaunch")) && !paused &&
                 vm->pod.step < POD_ENDED,
        .paused_reason = paused,
        .vm_address = vm->pod.network ? vm->pod.network->vm_address : NULL,
        .machine = vm->pod.machine,
        .cpu = vm->pod.cpu,
        .kernel_digest = vm->volumes.kernel_digest,
        .has_sockets = vm->pod.has_sockets,
        .has_channel = vm->pod.has_channel,
        .guest = vm->pod.guest ? yyjson_doc_get_root(vm->pod.guest) : NULL,
        .disks = &vm->pod.disks,
        .digests = &vm->volumes.digests,
        .volumes = &vm->hotplug.reports,
        .facts = vm->core->agent->qemu,
        .memory = vm->pod.memory,
        .monotonic_ms = env_now(vm->core->agent->env),
        .now_ms = env_wall_ms(vm->core->agent->env),
        .version = GODWIT_VERSION,
    };
    return vmi_status_patch(v, &r);
}
