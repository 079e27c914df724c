#include "api/names.h"
#include "api/rules/kinds.h"
#include "api/rules/vmi_spec.h"

#define TEMPLATE_SPEC "/spec/template/spec"

static void set_defaults(struct rule_ctx *ctx, yyjson_mut_doc *d, yyjson_val *old)
{
    vmi_template_defaults(ctx, d, TEMPLATE_SPEC, json_at(old, TEMPLATE_SPEC));
}

static void check_running(yyjson_val *spec, struct gw_error *err)
{
    bool running = yyjson_obj_get(spec, "running") != NULL, strategy = yyjson_obj_get(spec, "runStrategy") != NULL;

    if (running && strategy)
        gw_error_add_cause(err, CAUSE_INVALID, "spec.running",
                           "Running and RunStrategy are mutually exclusive. Note that "
                           "Running is deprecated, please use RunStrategy instead");
    else if (!running && !strategy)
        gw_error_add_cause(err, CAUSE_INVALID, "spec.runStrategy", "RunStrategy must be specified");
}

static void validate(struct rule_ctx *ctx, yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    struct where w = {.base = "spec.template", .err = err};

    if (!old)
        vm_name_check(object, err);
    if (!spec_changed(object, old))
        return;
    check_running(json_at(object, "/spec"), err);
    labels_check(at(&w, "metadata.labels"), json_at(object, "/spec/template/metadata/labels"), err);
    vmi_spec_check(json_at(object, TEMPLATE_SPEC), "spec.template.spec", err);
}

const struct rules vm_rules = {
    .group = GROUP_KUBEVIRT,
    .kind = "VirtualMachine",
    .set_defaults = set_defaults,
    .validate = validate,
};
