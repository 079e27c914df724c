#include <stdio.h>
#include <string.h>

#include "api/names.h"
#include "api/quantity.h"
#include "api/rules/vmi_spec.h"
#include "base/alloc.h"
#include "base/map.h"
#include "base/str.h"

#define MIN_MEMORY 1000000     /* KubeVirt's "1M" */
#define MAX_MEMORY (1LL << 44) /* 16 TiB: more than any host that runs this has; QEMU would refuse it later */
#define MAX_VCPUS 255          /* more need an interrupt remapping unit */

static const char *text_of(yyjson_val *v, char *buf, size_t size)
{
    if (yyjson_is_str(v))
        return yyjson_get_str(v);
    snprintf(buf, size, "%lld", (long long)yyjson_get_sint(v));
    return buf;
}

/* Checks one amount of memory on its own; true if it is usable. */
static bool memory_sane(struct where *w, const char *field, yyjson_val *v)
{
    int64_t bytes = amount(v, 0);
    char buf[32];

    if (bytes < MIN_MEMORY)
        gw_error_add_cause(w->err, CAUSE_INVALID, at(w, "%s", field), "%s '%s': must be greater than or equal to 1M.",
                           w->field, text_of(v, buf, sizeof(buf)));
    else if (bytes > MAX_MEMORY)
        gw_error_add_cause(w->err, CAUSE_INVALID, at(w, "%s", field), "%s '%s': must be at most 16Ti.", w->field,
                           text_of(v, buf, sizeof(buf)));
    return bytes >= MIN_MEMORY && bytes <= MAX_MEMORY;
}

struct amounts {
    yyjson_val *guest, *request, *limit;
    bool guest_ok, request_ok, limit_ok;
};

static void memory_order(struct where *w, const struct amounts *m)
{
    char a[32], b[32];

    if (m->guest_ok && m->limit_ok && amount(m->guest, 0) > amount(m->limit, 0)) {
        const char *guest = text_of(m->guest, a, sizeof(a)), *limit = text_of(m->limit, b, sizeof(b));
        gw_error_add_cause(
            w->err, CAUSE_INVALID, at(w, "domain.memory.guest"),
            "%s '%s' must be equal to or less than the memory limit %s.domain.resources.limits.memory '%s'", w->field,
            guest, w->base, limit);
    }
    if (m->request_ok && m->limit_ok && amount(m->request, 0) > amount(m->limit, 0)) {
        const char *request = text_of(m->request, a, sizeof(a)), *limit = text_of(m->limit, b, sizeof(b));
        gw_error_add_cause(w->err, CAUSE_INVALID, at(w, "domain.resources.requests.memory"),
                           "%s '%s' is greater than %s.domain.resources.limits.memory '%s'", w->field, request, w->base,
                           limit);
    }
}

static void check_memory(yyjson_val *spec, struct where *w)
{
    struct amounts m = {
        .guest = json_at(spec, "/domain/memory/guest"),
        .request = json_at(spec, "/domain/resources/requests/memory"),
        .limit = json_at(spec, "/domain/resources/limits/memory"),
    };

    if (!m.guest && !m.request && !m.limit) {
        gw_error_add_cause(w->err, CAUSE_REQUIRED, at(w, "domain.memory.guest"),
                           "no memory requested, at least one of '%s.domain.memory.guest' or "
                           "'%s.domain.resources.requests.memory' must be set",
                           w->base, w->base);
        return;
    }
    m.guest_ok = m.guest && memory_sane(w, "domain.memory.guest", m.guest);
    m.request_ok = m.request && memory_sane(w, "domain.resources.requests.memory", m.request);
    m.limit_ok = m.limit && memory_sane(w, "domain.resources.limits.memory", m.limit);
    memory_order(w, &m);
}

static void check_resource_names(yyjson_val *spec, struct where *w, const char *list)
{
    static const char *const known[] = {"cpu", "memory", NULL};
    _cleanup_free_ char *path = xasprintf("/domain/resources/%s", list);
    yyjson_val *key, *value;

    json_each_member(json_at(spec, path), key, value) {
        _cleanup_free_ char *text = field_quote(key);
        if (!streq(yyjson_get_str(key), "cpu") && !streq(yyjson_get_str(key), "memory"))
            field_unsupported(w->err, at(w, "domain.resources.%s.%s", list, yyjson_get_str(key)), text, known);
    }
}

static void check_cpu_amounts(yyjson_val *spec, struct where *w)
{
    static const char *const lists[] = {"requests", "limits"};
    int64_t milli[ARRAY_SIZE(lists)] = {0};

    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        _cleanup_free_ char *path = xasprintf("/domain/resources/%s/cpu", lists[i]);
        yyjson_val *v = json_at(spec, path);
        char buf[32];

        milli[i] = amount_milli(v, 0);
        if (v && milli[i] <= 0)
            gw_error_add_cause(w->err, CAUSE_INVALID, at(w, "domain.resources.%s.cpu", lists[i]),
                               "%s '%s': must be greater than 0.", w->field, text_of(v, buf, sizeof(buf)));
    }
    if (milli[0] > 0 && milli[1] > 0 && milli[0] > milli[1])
        gw_error_add_cause(w->err, CAUSE_INVALID, at(w, "domain.resources.requests.cpu"),
                           "%s is greater than %s.domain.resources.limits.cpu", w->field, w->base);
}

static void check_topology(yyjson_val *cpu, struct where *w)
{
    int64_t sockets = MAX(json_int(cpu, "/sockets", 1), 1), most = json_int(cpu, "/maxSockets", 0);
    int64_t all = sockets * MAX(json_int(cpu, "/cores", 1), 1) * MAX(json_int(cpu, "/threads", 1), 1);
    _cleanup_free_ char *text = NULL;

    if (all > MAX_VCPUS) {
        text = xasprintf("%lld", (long long)all);
        field_invalid(w->err, at(w, "domain.cpu"), text, "sockets, cores and threads make more than %d processors",
                      MAX_VCPUS);
    } else if (most > 0 && sockets > most) {
        text = xasprintf("%lld", (long long)sockets);
        field_invalid(w->err, at(w, "domain.cpu.sockets"), text,
                      "Number of sockets in CPU topology is greater than the maximum sockets allowed");
    }
}

static void check_cpu_features(yyjson_val *cpu, struct where *w)
{
    _cleanup_(map_freep) struct map *seen = map_new(NULL);
    yyjson_val *features = yyjson_obj_get(cpu, "features"), *f;
    size_t i;

    json_each_at(features, i, f) {
        const char *name = json_str_or(f, "/name", "");
        _cleanup_free_ char *text = field_quote(yyjson_obj_get(f, "name"));

        if (!plain_word(name))
            field_invalid(w->err, at(w, "domain.cpu.features[%zu].name", i), text, "must be the name of a CPU feature");
        else if (map_has(seen, name))
            field_duplicate(w->err, at(w, "domain.cpu.features[%zu].name", i), text);
        map_put(seen, name, cpu);
    }
}

static void check_cpu(yyjson_val *spec, struct where *w)
{
    yyjson_val *cpu = json_at(spec, "/domain/cpu");
    const char *model = json_str(cpu, "/model");

    check_cpu_amounts(spec, w);
    if (!cpu)
        return;
    check_topology(cpu, w);
    check_cpu_features(cpu, w);
    if (model && *model && !plain_word(model)) {
        _cleanup_free_ char *text = field_quote(yyjson_obj_get(cpu, "model"));
        field_invalid(w->err, at(w, "domain.cpu.model"), text,
                      "must be host-model, host-passthrough or the name of a CPU model");
    }
}

static void check_machine(yyjson_val *spec, struct where *w)
{
    const char *type = json_str(spec, "/domain/machine/type");

    if (!type || !*type || streq(type, "q35") || (str_starts(type, "pc-q35-") && plain_word(type)))
        return;
    gw_error_add_cause(w->err, CAUSE_INVALID, at(w, "domain.machine.type"),
                       "%s is not supported: %s (allowed values: [q35 pc-q35-*])", w->field, type);
}

static void check_kernel_boot(yyjson_val *boot, struct where *w)
{
    const char *kernel = json_str_or(boot, "/container/kernelPath", ""), *args = json_str_or(boot, "/kernelArgs", "");

    if (!yyjson_obj_get(boot, "container")) {
        if (*args)
            gw_error_add_cause(w->err, CAUSE_INVALID, at(w, "domain.firmware.kernelBoot.kernelArgs"),
                               "kernel arguments cannot be provided without an external kernel");
        return;
    }
    if (!*json_str_or(boot, "/container/image", ""))
        field_required(w->err, at(w, "domain.firmware.kernelBoot.container.image"), "the image that holds the kernel");
    if (!*kernel)
        field_required(w->err, at(w, "domain.firmware.kernelBoot.container.kernelPath"),
                       "an initial RAM disk alone cannot be booted");
}

static void check_identity(yyjson_val *spec, struct where *w)
{
    const char *hostname = json_str(spec, "/hostname"), *serial = json_str(spec, "/domain/firmware/serial");
    const char *fault = hostname && *hostname ? name_fault_dns_label(hostname) : NULL;

    if (fault)
        gw_error_add_cause(w->err, CAUSE_INVALID, at(w, "hostname"),
                           "%s does not conform to the kubernetes DNS_LABEL rules : %s", w->field, fault);
    for (const char *c = serial; c && *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f || *c == ',') { /* QEMU's options end at a comma */
            field_invalid(w->err, at(w, "domain.firmware.serial"), "\"...\"",
                          "must not contain commas and control characters");
            break;
        }
}

void vmi_machine_check(yyjson_val *spec, struct where *w)
{
    yyjson_val *boot = json_at(spec, "/domain/firmware/kernelBoot");

    check_memory(spec, w);
    check_resource_names(spec, w, "requests");
    check_resource_names(spec, w, "limits");
    check_cpu(spec, w);
    check_machine(spec, w);
    if (boot)
        check_kernel_boot(boot, w);
    check_identity(spec, w);
}
