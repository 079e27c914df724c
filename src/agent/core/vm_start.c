/* From a pod bound to this node to a launcher that runs: the VMI, its volumes (vm_volumes.c), network, QEMU's command
 * line. Each part is an action of steps.h; what fails is shown in the pod's status and tried again. */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "agent/core/vm.h"
#include "agent/core/vmi_status.h"
#include "agent/core/worker.h"
#include "agent/launcher/spec.h"
#include "agent/network/pod_network.h"
#include "agent/qemu/command.h"
#include "api/quantity.h"
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/process.h"
#include "base/str.h"

#define OVERHEAD (256LL << 20) /* of QEMU beyond the guest's memory, for a memory limit */
#define CONSOLE_LOG_MAX (1 << 20)

/* --- The VMI --- */

static void on_vmi(void *userdata, struct api_answer *answer)
{
    struct vm *vm = userdata;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    vm->call = NULL;
    if (answer->err) {
        vm_fail(vm, "FailedToGetVMI", answer->err);
        return;
    }
    yyjson_doc *doc = TAKE_PTR(answer->doc);
    if (!str_same(json_str(yyjson_doc_get_root(doc), "/metadata/uid"), vm->pod.vmi_uid)) {
        gw_error_set(&err, GW_NOT_FOUND, "VMI %s is another one than the pod was made for", vm->pod.vmi_name);
        vm_fail(vm, "FailedToGetVMI", &err);
    }
    vm_set_vmi(vm, &doc);
    yyjson_doc_free(doc);
    vm_kick(vm);
}

void vm_get_vmi(struct vm *vm)
{
    vm->call = api_get(vm->core->agent->client, &API_VIRTUALMACHINEINSTANCES, vm->pod.ns, vm->pod.vmi_name, on_vmi, vm);
}

/* --- Network --- */

static size_t read_ports(yyjson_val *nic, struct pod_port *ports, size_t max)
{
    yyjson_val *port;
    size_t n = 0;

    json_each(json_at(nic, "/ports"), port) {
        if (n == max)
            break;
        bool udp = streq(json_str_or(port, "/protocol", "TCP"), "UDP");
        ports[n++] = (struct pod_port){udp ? 17 : 6, (uint16_t)json_int(port, "/port", 0)};
    }
    return n;
}

static const char *vm_address(const struct vm *vm)
{
    const char *on_vmi =
        json_key_str(yyjson_doc_get_root(vm->pod.vmi), "/metadata/annotations", "godwit.io/pod-address");
    const char *on_pod =
        vm->object ? json_key_str(yyjson_doc_get_root(vm->object), "/metadata/annotations", "godwit.io/pod-address")
                   : NULL;

    return on_vmi ? on_vmi : on_pod;
}

/* Every pod gets its namespace, also one whose VM has no interface: migration traffic uses it. */
void vm_make_network(struct vm *vm)
{
    yyjson_val *v = yyjson_doc_get_root(vm->pod.vmi), *nic = json_at(v, "/spec/domain/devices/interfaces/0");
    _cleanup_free_ char *who = xasprintf("%s/%s", vm->pod.ns, vm->pod.vmi_name);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct pod_port ports[64];
    char mac[MAC_TEXT] = "02:00:00:00:00:01";
    struct pod_network_spec spec = {
        .uid = vm->pod.uid,
        .vmi = who,
        .vm_address = vm_address(vm),
        .guest_mac = nic ? qemu_mac(v, 0, mac) : mac,
        .vm_cidr = json_str(v, "/spec/networks/0/pod/vmNetworkCIDR"),
        .tap_owner = vm->pod.qemu_uid,
        .ports = ports,
        .n_ports = read_ports(nic, ports, ARRAY_SIZE(ports)),
    };

    if (!spec.vm_address) {
        gw_error_set(&err, GW_SERVICE_UNAVAILABLE, "the VM has no address yet (annotation godwit.io/pod-address)");
        vm_refresh_vmi(vm);
        vm_fail(vm, "FailedCreatePodSandBox", &err);
    } else if (pod_network_create(vm->core->agent->network, &spec, &vm->pod.network, &err) < 0) {
        vm_fail(vm, "FailedCreatePodSandBox", &err);
    }
}

/* --- Launcher --- */

static int64_t limit(yyjson_val *v, const char *path, bool milli)
{
    const char *text = json_str(v, path);
    int64_t number = json_int(v, path, 0); /* quantities may be written as numbers too */

    return milli ? quantity_text_milli(text, number * 1000) : quantity_text_value(text, number);
}

static void fill_dhcp(struct vm *vm, yyjson_val *v, struct dhcp_config *d)
{
    const struct pod_network *n = vm->pod.network;
    char mac[MAC_TEXT];

    d->interface = xstrdup(POD_NETWORK_TAP);
    d->mac = xstrdup(qemu_mac(v, 0, mac));
    d->address = xstrdup(n->guest_address);
    d->gateway = xstrdup(n->gateway_address);
    d->prefix_len = (int)n->prefix_len;
    d->mtu = n->mtu;
    d->hostname = xstrdup(json_str_or(v, "/spec/hostname", vm->pod.vmi_name));
    for (size_t i = 0; i < vm->core->dns.len; i++)
        strv_push(&d->dns, vm->core->dns.items[i]);
}

static void fill_spec(struct vm *vm, yyjson_val *v, struct launcher_spec *s)
{
    const struct agent *a = vm->core->agent;

    s->dir = xstrdup(vm->pod.dir);
    s->run_dir = xstrdup(vm->pod.run_dir);
    s->netns = xstrdup(vm->pod.network->netns);
    s->uid = vm->pod.qemu_uid;
    s->gid = vm->pod.qemu_gid;
    s->cgroup = xasprintf("godwit/%s", vm->pod.uid);
    s->memory_max = limit(v, "/spec/domain/resources/limits/memory", false);
    s->memory_max = s->memory_max ? MAX(s->memory_max, vm->pod.memory) + OVERHEAD : 0;
    s->cpu_milli = limit(v, "/spec/domain/resources/limits/cpu", true);
    s->cpu_request_milli = limit(v, "/spec/domain/resources/requests/cpu", true);
    s->console_log_max = CONSOLE_LOG_MAX;
    for (size_t i = 0; i < vm->volumes.read_only.len; i++)
        strv_push(&s->read_only, vm->volumes.read_only.items[i]);
    for (size_t i = 0; i < vm->volumes.writable.len; i++)
        strv_push(&s->writable, vm->volumes.writable.items[i]);
    strv_push(&s->writable, vm->pod.run_dir);
    strv_push(&s->devices, "net/tun");
    if (fs_exists("/dev/userfaultfd")) /* Linux 6.1; for post-copy, which needs no privilege then */
        strv_push(&s->devices, "userfaultfd");
    if (a->qemu->kvm)
        strv_push(&s->devices, "kvm");
    if (a->qemu->kvm && network_has_vhost())
        strv_push(&s->devices, "vhost-net");
    if (json_at(v, "/spec/domain/devices/interfaces/0"))
        fill_dhcp(vm, v, &s->dhcp);
}

/* QEMU as an absolute path: the sandbox has no PATH. */
static char *absolute(const char *binary)
{
    const char *dirs = getenv("PATH");

    if (*binary == '/')
        return xstrdup(binary);
    for (const char *p = dirs ? dirs : "/usr/bin"; *p; p += strcspn(p, ":"), p += *p == ':') {
        _cleanup_free_ char *at = xasprintf("%.*s/%s", (int)strcspn(p, ":"), p, binary);
        if (access(at, X_OK) == 0)
            return TAKE_PTR(at);
    }
    return xasprintf("/usr/bin/%s", binary);
}

/* What the VM already runs with, for a target; or ran with, after a restart of the agent. */
static const char *recorded(const struct vm *vm, const char *own, const char *on_vmi)
{
    return own ? own : vm->pod.migration_uid ? on_vmi : NULL;
}

static int build_command(struct vm *vm, yyjson_val *v, struct strv *argv, struct gw_error *err)
{
    const struct qemu_facts *f = vm->core->agent->qemu;
    const struct qemu_nic nic = {POD_NETWORK_TAP, f->kvm && network_has_vhost()};
    _cleanup_free_ char *binary = absolute(f->binary), *machine = NULL, *cpu = NULL;

    int r = qemu_machine_type(f, v, recorded(vm, vm->pod.machine, json_str(v, "/status/machine/type")), &machine, err);
    if (r == 0)
        r = qemu_cpu(f, v, recorded(vm, vm->pod.cpu, json_key_str(v, "/metadata/annotations", "godwit.io/cpu")), &cpu,
                     err);
    if (r < 0)
        return r;
    free(vm->pod.machine);
    free(vm->pod.cpu);
    vm->pod.machine = TAKE_PTR(machine);
    vm->pod.cpu = TAKE_PTR(cpu);
    vm->pod.memory = qemu_guest_memory(v);
    vm->pod.has_sockets = vm->pod.migration_uid ? json_key_str(v, "/metadata/annotations", VMI_HOTPLUG_SOCKETS) != NULL
                                                : !json_bool(v, "/spec/domain/devices/disableHotplug", false);
    vm->pod.has_channel = !vm->pod.migration_uid || json_key_str(v, "/metadata/annotations", VMI_GUEST_AGENT_CHANNEL);
    const struct qemu_setup setup = {
        .binary = binary,
        .accelerator = qemu_accelerator(f),
        .machine = vm->pod.machine,
        .cpu = vm->pod.cpu,
        .disks = vm->pod.disks.items,
        .n_disks = vm->pod.disks.len,
        .nics = &nic,
        .n_nics = yyjson_arr_size(json_at(v, "/spec/domain/devices/interfaces")),
        .kernel = vm->volumes.kernel,
        .initrd = vm->volumes.initrd,
        .console_fd = LAUNCHER_CONSOLE_FD,
        .qmp_fd = LAUNCHER_QMP_FD,
        .guest_agent = vm->pod.has_channel,
        .sockets = vm->pod.has_sockets,
        .incoming = vm->pod.migration_uid != NULL,
    };
    if (setup.n_nics > 1)
        return gw_error_set(err, GW_INVALID, "spec.domain.devices.interfaces: only one interface is supported yet");
    return qemu_command(v, &setup, argv, err);
}

struct launch_job {
    struct vm *vm;
    char *program, *spec_path;
    struct gw_error err;
    int r;
};

static void launch_work(void *userdata)
{
    struct launch_job *j = userdata;
    const char *argv[] = {j->program, j->spec_path, NULL};
    struct process_options options = {.timeout_ms = 30000};

    j->r = process_run(argv, &options, NULL, &j->err);
}

/* A launcher that could not start QEMU has left exit.json, so the notes say what happened in any case. */
static void launch_done(void *userdata)
{
    struct launch_job *j = userdata;
    struct vm *vm = j->vm;

    vm->job = NULL;
    if (j->r < 0)
        log_warn("pod %s/%s: %s", vm->pod.ns, vm->pod.name, gw_error_message(&j->err));
    vm_look_at_launcher(vm);
    if (j->r < 0 && vm->launcher_state == LAUNCHER_NONE)
        vm_fail(vm, "CreateContainerError", &j->err);
    gw_error_done(&j->err);
    free(j->program);
    free(j->spec_path);
    free(j);
    vm_kick(vm);
}

/* godwit-launcher lies beside this program. */
static char *launcher_program(void)
{
    char self[PATH_MAX] = "";

    if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
        return xstrdup("godwit-launcher");
    return xasprintf("%s/godwit-launcher", dirname(self));
}

static int make_run_dir(const struct vm *vm, struct gw_error *err)
{
    int r = fs_mkdirs(vm->pod.run_dir, 0700, err);

    if (r == 0 && chown(vm->pod.run_dir, vm->pod.qemu_uid, vm->pod.qemu_gid) < 0)
        return gw_error_errno(err, errno, "%s", vm->pod.run_dir);
    return r;
}

void vm_launch(struct vm *vm)
{
    yyjson_val *v = yyjson_doc_get_root(vm->pod.vmi);
    _cleanup_launcher_spec_ struct launcher_spec spec = {0};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct launch_job *j = xnew(struct launch_job);

    j->vm = vm;
    j->program = launcher_program();
    j->spec_path = xasprintf("%s/" LAUNCHER_SPEC_FILE, vm->pod.dir);
    int r = build_command(vm, yyjson_doc_get_root(vm->effective), &spec.argv, &err);
    if (r == 0)
        r = make_run_dir(vm, &err);
    if (r == 0) {
        fill_spec(vm, v, &spec);
        r = launcher_spec_write(&spec, j->spec_path, &err);
    }
    if (r == 0)
        r = vm_note_write(vm, &err);
    if (r == 0 && !(vm->job = job_start(vm->core->agent->loop, launch_work, launch_done, j)))
        r = gw_error_errno(&err, EAGAIN, "thread");
    if (r == 0)
        return;
    free(j->program);
    free(j->spec_path);
    free(j);
    vm_fail(vm, "CreateContainerError", &err);
}
