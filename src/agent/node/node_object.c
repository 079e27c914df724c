#include "agent/node/node_object.h"

#include <string.h>

#include "agent/core/difference.h"
#include "api/meta.h"
#include "api/quantity.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"

/* Kept for the system and this program. */
#define RESERVED_MEMORY (512LL << 20)
#define MAX_PODS 500
#define KVM_DEVICES 1000 /* as many VMs as KubeVirt's device plugin offers */

static void set(yyjson_mut_doc *d, const char *path, const char *key, const char *value)
{
    _cleanup_free_ char *at = json_path(path, key);

    json_set_str(d, at, value);
}

/* A label "prefix/name" = "true"; names that are no label (none known so far) are left out. */
static void set_label(yyjson_mut_doc *d, const char *prefix, const char *name)
{
    _cleanup_free_ char *key = xasprintf("%s/%s", prefix, name);

    if (*name && strlen(name) <= 63)
        set(d, "/metadata/labels", key, "true");
}

static const char *const labelled[] = {
    "cpu-model.node.kubevirt.io",      "cpu-model-migration.node.kubevirt.io",          "cpu-feature.node.kubevirt.io",
    "host-model-cpu.node.kubevirt.io", "host-model-required-features.node.kubevirt.io", "cpu-vendor.node.kubevirt.io",
    "machine-type.node.kubevirt.io",
};

/* Labels of ours that are there but were not set anew. */
static void drop_stale(yyjson_mut_doc *d, yyjson_val *old)
{
    yyjson_val *key, *value;

    json_each_member(json_at(old, "/metadata/labels"), key, value) {
        const char *name = yyjson_get_str(key);
        _cleanup_free_ char *path = json_path("/metadata/labels", name);
        size_t prefix = strcspn(name, "/");
        for (size_t i = 0; i < ARRAY_SIZE(labelled) && !json_mut_at(d, path); i++)
            if (strlen(labelled[i]) == prefix && memcmp(labelled[i], name, prefix) == 0)
                json_set(d, path, yyjson_mut_null(d));
    }
}

static void set_cpu_labels(yyjson_mut_doc *d, const struct qemu_facts *q)
{
    VEC_EACH(&q->models, m) {
        set_label(d, "cpu-model-migration.node.kubevirt.io", m->name);
        if (m->usable)
            set_label(d, "cpu-model.node.kubevirt.io", m->name);
    }
    for (size_t i = 0; i < q->features.len; i++)
        set_label(d, "cpu-feature.node.kubevirt.io", q->features.items[i]);
    for (size_t i = 0; i < q->host_features.len; i++)
        set_label(d, "host-model-required-features.node.kubevirt.io", q->host_features.items[i]);
    set_label(d, "host-model-cpu.node.kubevirt.io", q->host_model);
    set_label(d, "cpu-vendor.node.kubevirt.io", q->vendor);
    for (size_t i = 0; i < q->machines.len; i++)
        set_label(d, "machine-type.node.kubevirt.io", q->machines.items[i]);
}

yyjson_mut_doc *node_metadata(const struct host_facts *h, const struct qemu_facts *q, yyjson_val *old, int64_t now_ms)
{
    yyjson_mut_doc *d = json_object();
    char now[CLOCK_TEXT_MAX];

    set(d, "/metadata/labels", "kubernetes.io/hostname", h->node);
    set(d, "/metadata/labels", "kubernetes.io/arch", "amd64");
    set(d, "/metadata/labels", "kubernetes.io/os", "linux");
    set(d, "/metadata/labels", "kubevirt.io/schedulable", "true");
    set_cpu_labels(d, q);
    if (old)
        drop_stale(d, old);
    set(d, "/metadata/annotations", "kubevirt.io/heartbeat", clock_format(now_ms, now));
    set(d, "/metadata/annotations", "godwit.io/qemu-version", q->version);
    set(d, "/metadata/annotations", "godwit.io/accelerator", qemu_accelerator(q));
    if (!q->kvm)
        set(d, "/metadata/annotations", "godwit.io/no-kvm", q->kvm_reason);
    if (h->shared_dir)
        set(d, "/metadata/annotations", "godwit.io/shared-directory", h->shared_dir);
    if (h->local_dir)
        set(d, "/metadata/annotations", "godwit.io/node-directory", h->local_dir);
    if (h->authorities)
        set(d, "/metadata/annotations", "godwit.io/authorities", h->authorities);
    return d;
}

static void set_amount(yyjson_mut_doc *d, const char *list, const char *name, int64_t value,
                       enum quantity_format format)
{
    _cleanup_free_ char *path = xasprintf("/status/%s", list);
    struct quantity q = quantity_from(value, format);
    char text[QUANTITY_TEXT_MAX];

    set(d, path, name, quantity_format(&q, text));
}

static void set_resources(yyjson_mut_doc *d, const char *list, const struct host_facts *h, const struct qemu_facts *q,
                          int64_t memory)
{
    set_amount(d, list, "cpu", h->cpus, QUANTITY_DECIMAL_SI);
    set_amount(d, list, "memory", memory, QUANTITY_BINARY_SI);
    set_amount(d, list, "ephemeral-storage", h->disk, QUANTITY_BINARY_SI);
    set_amount(d, list, "pods", MAX_PODS, QUANTITY_DECIMAL_SI);
    set_amount(d, list, "devices.kubevirt.io/kvm", q->kvm ? KVM_DEVICES : 0, QUANTITY_DECIMAL_SI);
    set_amount(d, list, "devices.kubevirt.io/tun", KVM_DEVICES, QUANTITY_DECIMAL_SI);
}

static void add_address(yyjson_mut_doc *d, yyjson_mut_val *list, const char *type, const char *address)
{
    yyjson_mut_val *item = yyjson_mut_arr_add_obj(d, list);

    yyjson_mut_obj_add_strcpy(d, item, "type", type);
    yyjson_mut_obj_add_strcpy(d, item, "address", address);
}

static void set_info(yyjson_mut_doc *d, const struct host_facts *h, const struct qemu_facts *q)
{
    _cleanup_free_ char *runtime = xasprintf("qemu://%s", q->version), *version = xasprintf("v%s", h->version);
    const struct {
        const char *key, *value;
    } rows[] = {
        {"machineID", h->machine_id}, {"systemUUID", h->system_uuid}, {"bootID", h->boot_id},
        {"kernelVersion", h->kernel}, {"osImage", h->os_image},       {"containerRuntimeVersion", runtime},
        {"kubeletVersion", version},  {"kubeProxyVersion", version},  {"operatingSystem", "linux"},
        {"architecture", "amd64"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        set(d, "/status/nodeInfo", rows[i].key, rows[i].value ? rows[i].value : "");
}

static void set_conditions(yyjson_mut_doc *d, yyjson_val *old, int64_t now_ms)
{
    static const struct {
        const char *type, *status, *reason, *message;
    } rows[] = {
        {"MemoryPressure", "False", "AgentHasSufficientMemory", "the agent has sufficient memory available"},
        {"DiskPressure", "False", "AgentHasNoDiskPressure", "the agent has no disk pressure"},
        {"PIDPressure", "False", "AgentHasSufficientPID", "the agent has sufficient PIDs available"},
        {"Ready", "True", "AgentReady", "the agent is posting ready status"},
    };
    yyjson_mut_val *item;
    char now[CLOCK_TEXT_MAX];

    keep_conditions(d, old);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        condition_set(d, rows[i].type, rows[i].status, rows[i].reason, rows[i].message, now_ms);
    yyjson_mut_arr_iter it = yyjson_mut_arr_iter_with(json_mut_at(d, "/status/conditions"));
    while ((item = yyjson_mut_arr_iter_next(&it)))
        yyjson_mut_obj_put(item, yyjson_mut_str(d, "lastHeartbeatTime"),
                           yyjson_mut_strcpy(d, clock_format(now_ms, now)));
}

yyjson_mut_doc *node_status(const struct host_facts *h, const struct qemu_facts *q, yyjson_val *old, int64_t now_ms)
{
    yyjson_mut_doc *d = json_object();
    yyjson_mut_val *addresses = yyjson_mut_arr(d);

    set_resources(d, "capacity", h, q, h->memory);
    set_resources(d, "allocatable", h, q, MAX(h->memory - RESERVED_MEMORY, 0));
    add_address(d, addresses, "InternalIP", h->address);
    add_address(d, addresses, "Hostname", h->node);
    json_set(d, "/status/addresses", addresses);
    if (h->port)
        json_set_int(d, "/status/daemonEndpoints/kubeletEndpoint/Port", h->port);
    set_info(d, h, q);
    set_conditions(d, old, now_ms);
    return d;
}
