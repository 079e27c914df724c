#include "agent/qemu/command.h"

#include <string.h>

#include "api/quantity.h"
#include "base/alloc.h"
#include "base/str.h"

int qemu_machine_type(const struct qemu_facts *f, yyjson_val *vmi, const char *recorded, char **ret,
                      struct gw_error *err)
{
    const char *asked = json_str_or(vmi, "/spec/domain/machine/type", "q35");
    const char *type = recorded ? recorded : *asked == '\0' || streq(asked, "q35") ? f->machine : asked;

    if (!strv_has(&f->machines, type))
        return gw_error_set(err, GW_INVALID, "spec.domain.machine.type: QEMU %s on this node has no machine type %s",
                            f->version, type);
    *ret = xstrdup(type);
    return 0;
}

/* ",+a,-b" for spec.domain.cpu.features; the policies are libvirt's. */
static int add_policies(const struct qemu_facts *f, yyjson_val *vmi, struct str *out, struct gw_error *err)
{
    yyjson_val *item;

    json_each(json_at(vmi, "/spec/domain/cpu/features"), item) {
        const char *name = json_str_or(item, "/name", ""), *policy = json_str_or(item, "/policy", "require");
        bool here = strv_has(&f->features, name);
        if (streq(policy, "require") && !here)
            return gw_error_set(err, GW_INVALID, "spec.domain.cpu.features: this node cannot give feature %s", name);
        if (streq(policy, "forbid") && here)
            return gw_error_set(err, GW_INVALID, "spec.domain.cpu.features: this node has the forbidden feature %s",
                                name);
        if (streq(policy, "disable"))
            str_printf(out, ",-%s", name);
        else if (streq(policy, "force") || streq(policy, "require") || (streq(policy, "optional") && here))
            str_printf(out, ",+%s", name);
    }
    return 0;
}

static void add_host_model(const struct qemu_facts *f, struct str *out)
{
    if (!f->kvm) {
        str_puts(out, QEMU_TCG_MODEL);
        return;
    }
    str_puts(out, f->host_model);
    for (size_t i = 0; i < f->host_features.len; i++)
        str_printf(out, ",+%s", f->host_features.items[i]);
}

static int add_named(const struct qemu_facts *f, const char *name, struct str *out, struct gw_error *err)
{
    const struct cpu_model *m = qemu_model(f, name);

    if (!m)
        return gw_error_set(err, GW_INVALID, "spec.domain.cpu.model: QEMU %s knows no model %s", f->version, name);
    if (!m->usable) {
        _cleanup_free_ char *missing = strv_join(&m->missing, ", ");
        return gw_error_set(err, GW_INVALID, "spec.domain.cpu.model: this node lacks features of %s: %s", name,
                            missing);
    }
    str_puts(out, name);
    return 0;
}

int qemu_cpu(const struct qemu_facts *f, yyjson_val *vmi, const char *recorded, char **ret, struct gw_error *err)
{
    const char *model = json_str_or(vmi, "/spec/domain/cpu/model", "host-model");
    _cleanup_str_ struct str out = {0};
    int r = 0;

    if (recorded) {
        *ret = xstrdup(recorded);
        return 0;
    }
    if (streq(model, "host-passthrough"))
        str_puts(&out, f->kvm ? "host" : "max");
    else if (streq(model, "host-model") || *model == '\0')
        add_host_model(f, &out);
    else
        r = add_named(f, model, &out, err);
    if (r == 0)
        r = add_policies(f, vmi, &out, err);
    if (r < 0)
        return r;
    if (f->kvm)
        str_puts(&out, ",enforce");
    *ret = str_take(&out);
    return 0;
}

/* A quantity, which may be written as a number too. */
static int64_t amount_at(yyjson_val *v, const char *path, int64_t fallback)
{
    return quantity_text_value(json_str(v, path), json_int(v, path, fallback));
}

struct cpu_topology qemu_topology(yyjson_val *vmi)
{
    yyjson_val *cpu = json_at(vmi, "/spec/domain/cpu");
    struct cpu_topology t = {(int)json_int(cpu, "/sockets", 0), (int)json_int(cpu, "/cores", 0),
                             (int)json_int(cpu, "/threads", 0)};

    if (t.sockets == 0 && t.cores == 0 && t.threads == 0) {
        const char *limits = "/spec/domain/resources/limits/cpu", *requests = "/spec/domain/resources/requests/cpu";
        t.sockets = (int)amount_at(vmi, json_at(vmi, limits) ? limits : requests, 1);
    }
    return (struct cpu_topology){MAX(t.sockets, 1), MAX(t.cores, 1), MAX(t.threads, 1)};
}

int64_t qemu_guest_memory(yyjson_val *vmi)
{
    static const char *const places[] = {"/spec/domain/memory/guest", "/spec/domain/resources/requests/memory",
                                         "/spec/domain/resources/limits/memory"};

    for (size_t i = 0; i < ARRAY_SIZE(places); i++)
        if (json_at(vmi, places[i]))
            return amount_at(vmi, places[i], 0);
    return 0;
}

char *qemu_mac(yyjson_val *vmi, size_t i, char *buf)
{
    yyjson_val *nic = yyjson_arr_get(json_at(vmi, "/spec/domain/devices/interfaces"), i);
    const char *given = json_str(nic, "/macAddress");

    if (given) {
        snprintf(buf, MAC_TEXT, "%s", given);
        for (char *c = buf; *c; c++)
            *c = *c == '-' ? ':' : *c;
        return buf;
    }
    _cleanup_free_ char *from = xasprintf("%s/%s/%s", json_str_or(vmi, "/metadata/namespace", ""),
                                          json_str_or(vmi, "/metadata/name", ""), json_str_or(nic, "/name", ""));
    uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */
    for (const char *c = from; *c; c++)
        hash = (hash ^ (uint8_t)*c) * 0x100000001b3;
    hash ^= hash >> 40;
    /* 02: locally administered, unicast */
    snprintf(buf, MAC_TEXT, "02:%02x:%02x:%02x:%02x:%02x", (unsigned)(hash >> 32) & 255, (unsigned)(hash >> 24) & 255,
             (unsigned)(hash >> 16) & 255, (unsigned)(hash >> 8) & 255, (unsigned)hash & 255);
    return buf;
}
