/* The defaults of KubeVirt's mutating webhook, with two differences that keep every VM migratable: an interface without
 * a binding gets masquerade (there: bridge), and so does the one that is added when there is none. */
#include <stdio.h>
#include <string.h>

#include "api/quantity.h"
#include "api/rules/kinds.h"
#include "api/rules/vmi_spec.h"
#include "base/random.h"

#define HOTPLUG_RATIO 4 /* KubeVirt's maxHotplugRatio: how many times the sockets could be plugged */
#define MAX_VCPUS 512

static yyjson_mut_val *member(yyjson_mut_doc *d, yyjson_mut_val *object, const char *name)
{
    yyjson_mut_val *v = yyjson_mut_obj_get(object, name);

    if (!v)
        yyjson_mut_obj_add_val(d, object, name, v = yyjson_mut_obj(d));
    return v;
}

static void text_default(yyjson_mut_doc *d, yyjson_mut_val *object, const char *name, const char *value)
{
    yyjson_mut_val *now = yyjson_mut_obj_get(object, name);

    if (now && !yyjson_mut_equals_str(now, ""))
        return; /* a value of another type is the schema's to refuse */
    yyjson_mut_obj_remove_key(object, name);
    yyjson_mut_obj_add_strcpy(d, object, name, value);
}

static void firmware_default(yyjson_mut_doc *d, yyjson_mut_val *domain, yyjson_val *old_spec)
{
    char uuid[UUID_TEXT];
    const char *old = json_str(old_spec, "/domain/firmware/uuid");

    text_default(d, member(d, domain, "firmware"), "uuid", old && *old ? old : random_uuid(uuid));
}

void vmi_template_defaults(struct rule_ctx *ctx, yyjson_mut_doc *d, const char *pointer, yyjson_val *old_spec)
{
    yyjson_mut_val *spec = json_mut_at(d, pointer), *domain = yyjson_mut_obj_get(spec, "domain");

    if (!yyjson_mut_is_obj(domain))
        return; /* the schema says so in better words */
    text_default(d, spec, "architecture", "amd64");
    text_default(d, member(d, domain, "machine"), "type", setting(ctx, "/configuration/machineType", NULL, "q35"));
    firmware_default(d, domain, old_spec);
}

static int64_t count(yyjson_mut_val *cpu, const char *name)
{
    return yyjson_mut_get_sint(yyjson_mut_obj_get(cpu, name));
}

static void set_count(yyjson_mut_doc *d, yyjson_mut_val *cpu, const char *name, int64_t value)
{
    yyjson_mut_val *now = yyjson_mut_obj_get(cpu, name);

    if (now && (!yyjson_mut_is_int(now) || yyjson_mut_get_sint(now) != 0))
        return;
    yyjson_mut_obj_remove_key(cpu, name);
    yyjson_mut_obj_add_sint(d, cpu, name, value);
}

/* A quantity of domain.resources, as text or number, in thousandths rounded up to whole processors; 0 when not given.
 */
static int64_t cpu_amount(yyjson_mut_val *resources, const char *list)
{
    yyjson_mut_val *v = yyjson_mut_obj_get(yyjson_mut_obj_get(resources, list), "cpu");

    if (yyjson_mut_is_int(v))
        return yyjson_mut_get_sint(v);
    int64_t milli = yyjson_mut_is_str(v) ? quantity_text_milli(yyjson_mut_get_str(v), 0) : 0;
    return milli > 0 ? (milli - 1) / 1000 + 1 : 0;
}

static bool sane(int64_t n)
{
    return n > 0 && n <= MAX_VCPUS;
}

static int64_t hotplug_sockets(int64_t sockets, int64_t cores, int64_t threads)
{
    if (!sane(sockets) || !sane(cores) || !sane(threads))
        return sockets; /* the schema refuses it */
    return MAX(sockets, MIN(sockets * HOTPLUG_RATIO, MAX_VCPUS / (cores * threads)));
}

/* Sockets are what a limit or request of processors becomes when no topology is given. */
static void cpu_defaults(struct rule_ctx *ctx, yyjson_mut_doc *d, yyjson_mut_val *domain)
{
    yyjson_mut_val *cpu = member(d, domain, "cpu"), *resources = yyjson_mut_obj_get(domain, "resources");
    int64_t wanted = cpu_amount(resources, "limits");

    if (wanted == 0)
        wanted = cpu_amount(resources, "requests");
    if (count(cpu, "cores") == 0 && count(cpu, "sockets") == 0 && count(cpu, "threads") == 0)
        set_count(d, cpu, "sockets", wanted > 0 ? MIN(wanted, MAX_VCPUS) : 1);
    set_count(d, cpu, "cores", 1);
    set_count(d, cpu, "sockets", 1);
    set_count(d, cpu, "threads", 1);
    text_default(d, cpu, "model", setting(ctx, "/configuration/cpuModel", "/defaultCPUModel", "host-model"));

    set_count(d, cpu, "maxSockets", hotplug_sockets(count(cpu, "sockets"), count(cpu, "cores"), count(cpu, "threads")));
}

static void memory_default(yyjson_mut_doc *d, yyjson_mut_val *domain)
{
    yyjson_mut_val *resources = yyjson_mut_obj_get(domain, "resources");
    yyjson_mut_val *amount = yyjson_mut_obj_get(yyjson_mut_obj_get(resources, "requests"), "memory");

    if (yyjson_mut_obj_get(yyjson_mut_obj_get(domain, "memory"), "guest"))
        return;
    if (!amount)
        amount = yyjson_mut_obj_get(yyjson_mut_obj_get(resources, "limits"), "memory");
    if (amount)
        yyjson_mut_obj_add_val(d, member(d, domain, "memory"), "guest", yyjson_mut_val_mut_copy(d, amount));
}

static void acpi_default(yyjson_mut_doc *d, yyjson_mut_val *domain)
{
    yyjson_mut_val *acpi = member(d, member(d, domain, "features"), "acpi");

    if (!yyjson_mut_obj_get(acpi, "enabled"))
        yyjson_mut_obj_add_bool(d, acpi, "enabled", true);
}

/* KubeVirt's rule: what is not pinned to a version may have changed, so it is asked for again. */
static const char *pull_policy(const char *image)
{
    const char *name = strrchr(image, '/'), *tag;

    name = name ? name + 1 : image;
    tag = strchr(name, ':');
    return strchr(name, '@') || (tag && !streq(tag, ":latest")) ? "IfNotPresent" : "Always";
}

static void image_default(yyjson_mut_doc *d, yyjson_mut_val *image)
{
    const char *name = yyjson_mut_get_str(yyjson_mut_obj_get(image, "image"));

    if (name)
        text_default(d, image, "imagePullPolicy", pull_policy(name));
}

static yyjson_mut_val *named(yyjson_mut_val *list, const char *name)
{
    yyjson_mut_val *item;
    size_t i, n;

    yyjson_mut_arr_foreach(list, i, n, item)
        if (str_same(yyjson_mut_get_str(yyjson_mut_obj_get(item, "name")), name))
            return item;
    return NULL;
}

static yyjson_mut_val *list_of(yyjson_mut_doc *d, yyjson_mut_val *object, const char *name)
{
    yyjson_mut_val *v = yyjson_mut_obj_get(object, name);

    if (!v)
        yyjson_mut_obj_add_val(d, object, name, v = yyjson_mut_arr(d));
    return v;
}

/* SATA is what KubeVirt takes where no bus is named: most guests can boot from it. */
static void disk_default(yyjson_mut_doc *d, yyjson_mut_val *disk)
{
    yyjson_mut_val *target = yyjson_mut_obj_get(disk, "cdrom");

    if (!target && !yyjson_mut_obj_get(disk, "lun"))
        target = member(d, disk, "disk");
    if (target)
        text_default(d, target, "bus", "sata");
}

static void storage_defaults(yyjson_mut_doc *d, yyjson_mut_val *spec, yyjson_mut_val *devices)
{
    yyjson_mut_val *volumes = yyjson_mut_obj_get(spec, "volumes"), *item;
    size_t i, n;

    yyjson_mut_arr_foreach(volumes, i, n, item) {
        const char *name = yyjson_mut_get_str(yyjson_mut_obj_get(item, "name"));
        yyjson_mut_val *disks = list_of(d, devices, "disks");

        image_default(d, yyjson_mut_obj_get(item, "containerDisk"));
        if (name && yyjson_mut_is_arr(disks) && !named(disks, name))
            yyjson_mut_obj_add_strcpy(d, yyjson_mut_arr_add_obj(d, disks), "name", name);
    }
    yyjson_mut_arr_foreach(yyjson_mut_obj_get(devices, "disks"), i, n, item)
        disk_default(d, item);
}

static bool empty(yyjson_mut_val *list)
{
    return !list || (yyjson_mut_is_arr(list) && yyjson_mut_arr_size(list) == 0);
}

static const char *const bindings[] = {"masquerade", "bridge", "sriov", "passtBinding", "binding", "slirp",
                                       "macvtap",    "passt",  NULL};

static void interface_default(yyjson_mut_doc *d, yyjson_mut_val *interface)
{
    for (const char *const *b = bindings; *b; b++)
        if (yyjson_mut_obj_get(interface, *b))
            return;
    (void)member(d, interface, "masquerade");
}

static void network_defaults(yyjson_mut_doc *d, yyjson_mut_val *spec, yyjson_mut_val *devices)
{
    yyjson_mut_val *interfaces = yyjson_mut_obj_get(devices, "interfaces"), *item;
    bool wanted = !yyjson_mut_is_false(yyjson_mut_obj_get(devices, "autoattachPodInterface"));
    size_t i, n;

    if (wanted && empty(interfaces) && empty(yyjson_mut_obj_get(spec, "networks"))) {
        yyjson_mut_val *network = yyjson_mut_arr_add_obj(d, list_of(d, spec, "networks"));
        yyjson_mut_obj_add_str(d, network, "name", "default");
        (void)member(d, network, "pod");
        interfaces = list_of(d, devices, "interfaces");
        yyjson_mut_obj_add_str(d, yyjson_mut_arr_add_obj(d, interfaces), "name", "default");
    }
    yyjson_mut_arr_foreach(interfaces, i, n, item)
        interface_default(d, item);
}

static bool count_to_two(void *data, _unused_ yyjson_val *node)
{
    return ++*(int *)data < 2;
}

/* HyperConverged's own default: where there is no other node, what cannot move must not be in the way. */
static const char *eviction_default(struct rule_ctx *ctx)
{
    const char *set = setting(ctx, "/configuration/evictionStrategy", "/evictionStrategy", NULL);
    int nodes = 0;

    if (set)
        return set;
    ctx->each(ctx, "", "Node", NULL, count_to_two, &nodes);
    return nodes > 1 ? "LiveMigrate" : "None";
}

void vmi_spec_defaults(struct rule_ctx *ctx, yyjson_mut_doc *d, yyjson_val *old_spec)
{
    yyjson_mut_val *spec = json_mut_at(d, "/spec"), *domain = yyjson_mut_obj_get(spec, "domain");
    yyjson_mut_val *devices = yyjson_mut_obj_get(domain, "devices");

    vmi_template_defaults(ctx, d, "/spec", old_spec);
    if (!yyjson_mut_is_obj(devices))
        return;
    cpu_defaults(ctx, d, domain);
    memory_default(d, domain);
    acpi_default(d, domain);
    image_default(d, yyjson_mut_obj_get(json_mut_at(d, "/spec/domain/firmware/kernelBoot"), "container"));
    storage_defaults(d, spec, devices);
    network_defaults(d, spec, devices);
    text_default(d, spec, "evictionStrategy", eviction_default(ctx));
}
