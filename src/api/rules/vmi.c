/* VirtualMachineInstance: its spec is fixed at creation, but for volumes that are hotpluggable, which controllers and
 * the server itself (subresource addvolume) change. Status has no subresource of its own, so it is written through
 * the object; which agent may write which part is the API server's matter (docs/handover.md). */
#include <string.h>

#include "api/meta.h"
#include "api/names.h"
#include "api/rules/kinds.h"
#include "api/rules/vmi_spec.h"
#include "base/clock.h"

#define FINALIZER "kubevirt.io/foregroundDeleteVirtualMachine"
#define ANNOTATION_ADDRESS "godwit.io/pod-address" /* docs/architecture.md */
#define RUNTIME_USER 107                           /* the user that KubeVirt's launchers run QEMU as */

void vm_name_check(yyjson_val *object, struct gw_error *err)
{
    const char *name = meta_name(object);
    _cleanup_free_ char *text = xasprintf("\"%s\"", name);

    if (strlen(name) > VM_NAME_MAX)
        field_invalid(err, "metadata.name", text, "must be no more than %d characters, because it becomes a label",
                      VM_NAME_MAX);
}

void vmi_spec_check(yyjson_val *spec, const char *base, struct gw_error *err)
{
    struct where w = {.base = base, .err = err};

    vmi_machine_check(spec, &w);
    vmi_storage_check(spec, &w);
    vmi_network_check(spec, &w);
    vmi_scheduling_check(spec, &w);
}

static void copy(yyjson_mut_doc *d, const char *from, const char *to)
{
    yyjson_mut_val *v = json_mut_at(d, from);

    if (v)
        json_set(d, to, yyjson_mut_val_mut_copy(d, v));
}

static void first_status(struct rule_ctx *ctx, yyjson_mut_doc *d)
{
    char now[CLOCK_TEXT_MAX];
    yyjson_mut_val *transitions = yyjson_mut_arr(d), *t = yyjson_mut_arr_add_obj(d, transitions);

    json_remove(d, "/status");
    json_set_str(d, "/status/phase", "Pending");
    yyjson_mut_obj_add_str(d, t, "phase", "Pending");
    yyjson_mut_obj_add_strcpy(d, t, "phaseTransitionTimestamp", clock_format(ctx->now, now));
    json_set(d, "/status/phaseTransitionTimestamps", transitions);
    copy(d, "/spec/domain/cpu/cores", "/status/currentCPUTopology/cores");
    copy(d, "/spec/domain/cpu/sockets", "/status/currentCPUTopology/sockets");
    copy(d, "/spec/domain/cpu/threads", "/status/currentCPUTopology/threads");
    copy(d, "/spec/domain/memory/guest", "/status/memory/guestAtBoot");
    copy(d, "/spec/domain/memory/guest", "/status/memory/guestCurrent");
    copy(d, "/spec/domain/memory/guest", "/status/memory/guestRequested");
    json_set_int(d, "/status/runtimeUser", RUNTIME_USER);
}

static bool may_report(const struct rule_ctx *ctx)
{
    return asked_by_system(ctx) || rule_user_in_group(ctx, GROUP_MASTERS);
}

/* Who owns the guest and where it is to go stands in status, which is no subresource here: people who may change the
 * object keep it as it was, or they could migrate without being allowed to. */
static void keep_status(yyjson_mut_doc *d, yyjson_val *old)
{
    yyjson_val *status = json_at(old, "/status");

    if (status)
        json_set(d, "/status", yyjson_val_mut_copy(d, status));
    else
        json_remove(d, "/status");
}

/* It may be the manifest that the object was made of, by replace or a server-side apply: with its defaults it is the
 * same again. */
static bool is_other_spec(yyjson_mut_doc *d, yyjson_val *old)
{
    _cleanup_doc_ yyjson_doc *spec = yyjson_mut_val_imut_copy(json_mut_at(d, "/spec"), NULL);

    return !json_equal(yyjson_doc_get_root(spec), json_at(old, "/spec"));
}

static void set_defaults(struct rule_ctx *ctx, yyjson_mut_doc *d, yyjson_val *old)
{
    if (old && !may_report(ctx))
        keep_status(d, old);
    if (old && !asked_by_system(ctx) && is_other_spec(d, old))
        vmi_spec_defaults(ctx, d, json_at(old, "/spec"));
    if (old)
        return;
    vmi_spec_defaults(ctx, d, NULL);
    first_status(ctx, d);
    meta_add_finalizer(d, FINALIZER);
}

/* Labels that tell controllers where a VM is; a person's would mislead them. */
static void check_reserved(struct rule_ctx *ctx, yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    static const char *const reserved[] = {"kubevirt.io/created-by", "kubevirt.io/migrationJobUID",
                                           "kubevirt.io/nodeName", "kubevirt.io/migrationTargetNodeName"};

    if (asked_by_system(ctx))
        return;
    if (!rule_user_in_group(ctx, GROUP_MASTERS) &&
        !str_same(meta_annotation(object, ANNOTATION_ADDRESS), old ? meta_annotation(old, ANNOTATION_ADDRESS) : NULL))
        gw_error_add_cause(err, CAUSE_FORBIDDEN, "metadata.annotations",
                           "Forbidden: " ANNOTATION_ADDRESS " is set by the cluster");
    for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
        if (!str_same(meta_label(object, reserved[i]), old ? meta_label(old, reserved[i]) : NULL))
            gw_error_add_cause(err, CAUSE_NOT_SUPPORTED, "metadata.labels",
                               "%s of the following reserved kubevirt.io/ labels on a VMI object is prohibited: %s",
                               old ? "modification" : "creation", reserved[i]);
}

static void validate(struct rule_ctx *ctx, yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    check_reserved(ctx, object, old, err);
    if (!old) {
        vm_name_check(object, err);
        vmi_spec_check(json_at(object, "/spec"), "spec", err);
    } else if (spec_changed(object, old) && may_report(ctx)) {
        vmi_hotplug_check(json_at(object, "/spec"), json_at(old, "/spec"), err);
    } else if (spec_changed(object, old)) {
        gw_error_add_cause(err, CAUSE_NOT_SUPPORTED, "spec", "update of VMI object is restricted");
    }
}

const struct rules vmi_rules = {
    .group = GROUP_KUBEVIRT,
    .kind = "VirtualMachineInstance",
    .set_defaults = set_defaults,
    .validate = validate,
};
