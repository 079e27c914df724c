/* Pods are launcher pods, made by controllers for a VirtualMachineInstance. */
#include <string.h>

#include "api/meta.h"
#include "api/rules/common.h"
#include "api/rules/kinds.h"

static void set_defaults(struct rule_ctx *ctx, yyjson_mut_doc *d, yyjson_val *old)
{
    static const char context[] =
        "/spec/securityContext"; /* Kubernetes always sets it: kubectl debug reads it unseen */

    if (!old)
        json_set_str(d, "/status/phase", "Pending");
    if (json_mut_at(d, "/spec") && !json_mut_at(d, context) && (!old || json_at(old, context)))
        json_set(d, context, yyjson_mut_obj(d));
}

static void check_create(struct rule_ctx *ctx, yyjson_val *object, struct gw_error *err)
{
    if (!rule_user_in_group(ctx, GROUP_CONTROLLERS))
        gw_error_set(err, GW_FORBIDDEN,
                     "pods \"%s\" is forbidden: Godwit runs virtual machines, not containers; the pods here "
                     "belong to VMs and are made by its controllers. Create a VirtualMachine instead",
                     meta_name(object));
    else if (!str_same(meta_label(object, "kubevirt.io"), "virt-launcher") || !meta_controller(object))
        field_required(err, "metadata.ownerReferences",
                       "a launcher pod has label kubevirt.io=virt-launcher and is controlled "
                       "by a VirtualMachineInstance");
}

/* What may be written after creation: the node, once. */
static bool only_bound(yyjson_val *spec, yyjson_val *old)
{
    yyjson_val *key, *value;

    json_each_member(spec, key, value) {
        bool node = streq(yyjson_get_str(key), "nodeName");
        if (!(node && !*json_str_or(old, "/nodeName", "")) &&
            !json_equal(value, yyjson_obj_get(old, yyjson_get_str(key))))
            return false;
    }
    json_each_member(old, key, value)
        if (!yyjson_obj_get(spec, yyjson_get_str(key)))
            return false;
    return true;
}

static void validate(struct rule_ctx *ctx, yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    if (!old)
        check_create(ctx, object, err);
    else if (!only_bound(json_at(object, "/spec"), json_at(old, "/spec")))
        field_forbidden(err, "spec", "pod updates may not change fields other than an empty `spec.nodeName`");
}

const struct rules pod_rules = {.group = "", .kind = "Pod", .set_defaults = set_defaults, .validate = validate};
