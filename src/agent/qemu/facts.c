#include "agent/qemu/facts.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

const char *qemu_accelerator(const struct qemu_facts *f)
{
    return f->kvm ? "kvm" : "tcg";
}

const char *qemu_migration_blocker(const struct qemu_facts *f)
{
    if (f->kvm || f->major >= 10)
        return NULL;
    return "QEMU before version 10 corrupts busy guests in migration when it emulates the CPU (TCG); use QEMU 10 or "
           "newer";
}

const struct cpu_model *qemu_model(const struct qemu_facts *f, const char *name)
{
    VEC_EACH(&f->models, m)
        if (streq(m->name, name))
            return m;
    return NULL;
}

struct qemu_facts *qemu_facts_free(struct qemu_facts *f)
{
    if (!f)
        return NULL;
    VEC_EACH(&f->models, m) {
        free(m->name);
        strv_done(&m->missing);
    }
    cpu_model_vec_done(&f->models);
    strv_done(&f->machines);
    strv_done(&f->features);
    strv_done(&f->host_features);
    free(f->binary);
    free(f->version);
    free(f->kvm_reason);
    free(f->machine);
    free(f->host_model);
    free(f->vendor);
    free(f);
    return NULL;
}

static void read_list(yyjson_val *list, struct strv *ret)
{
    yyjson_val *item;

    json_each(list, item)
        if (yyjson_is_str(item))
            strv_push(ret, yyjson_get_str(item));
}

static void read_models(yyjson_val *list, struct cpu_model_vec *ret)
{
    yyjson_val *item;

    json_each(list, item) {
        struct cpu_model m = {.name = xstrdup(json_str_or(item, "/name", ""))};
        read_list(json_at(item, "/missing"), &m.missing);
        m.usable = m.missing.len == 0;
        cpu_model_vec_push(ret, m);
    }
}

int qemu_facts_read(yyjson_val *v, struct qemu_facts **ret, struct gw_error *err)
{
    const char *version = json_str(v, "/version"), *machine = json_str(v, "/machine");

    if (!version || !machine || !json_str(v, "/hostModel"))
        return gw_error_set(err, GW_INVALID, "the notes about QEMU lack version, machine or hostModel");
    struct qemu_facts *f = xnew(struct qemu_facts);
    f->binary = xstrdup(json_str_or(v, "/binary", ""));
    f->version = xstrdup(version);
    (void)sscanf(version, "%d.%d", &f->major, &f->minor);
    f->kvm = json_bool(v, "/kvm", false);
    f->kvm_reason = xstrdup(json_str_or(v, "/kvmReason", ""));
    f->machine = xstrdup(machine);
    f->host_model = xstrdup(json_str(v, "/hostModel"));
    f->vendor = xstrdup(json_str_or(v, "/vendor", ""));
    read_list(json_at(v, "/machines"), &f->machines);
    read_list(json_at(v, "/features"), &f->features);
    read_list(json_at(v, "/hostFeatures"), &f->host_features);
    read_models(json_at(v, "/models"), &f->models);
    *ret = f;
    return 0;
}
