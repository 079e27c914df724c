/* The cluster's settings (KubeVirt, HyperConverged) and MigrationPolicies. There is one object of each of the first
 * two; others would look as if they meant something, so they are refused. */
#include <string.h>

#include "api/meta.h"
#include "api/names.h"
#include "api/quantity.h"
#include "api/rules/common.h"
#include "api/rules/kinds.h"
#include "base/str.h"

static void check_bandwidth(struct where *w, yyjson_val *settings)
{
    yyjson_val *v = yyjson_obj_get(settings, "bandwidthPerMigration");
    _cleanup_free_ char *text = field_quote(v);

    if (amount(v, 0) < 0)
        field_invalid(w->err, at(w, "bandwidthPerMigration"), text, "must not be negative");
}

static void check_only(struct rule_ctx *ctx, yyjson_val *object, const char *namespace, const char *name,
                       struct gw_error *err)
{
    if (!streq(ctx->namespace, namespace) || !streq(meta_name(object), name))
        gw_error_set(err, GW_FORBIDDEN, "only %s/%s is used; change that one", namespace, name);
}

static int keep(struct rule_ctx *ctx, yyjson_val *object, struct gw_error *err)
{
    return gw_error_set(err, GW_FORBIDDEN,
                        "%s/%s holds the settings of the cluster and cannot be deleted; remove single "
                        "settings from its spec instead",
                        ctx->namespace, meta_name(object));
}

/* Gates of what is always on need no word. */
static bool always_on(const char *gate)
{
    static const char *const gates[] = {"LiveMigration", "NonRoot", "NodeRestriction"};

    for (size_t i = 0; i < ARRAY_SIZE(gates); i++)
        if (streq(gate, gates[i]))
            return true;
    return false;
}

static void warn_gates(struct rule_ctx *ctx, yyjson_val *gates)
{
    _cleanup_str_ struct str names = {0};
    yyjson_val *gate;

    json_each(gates, gate)
        if (yyjson_is_str(gate) && !always_on(yyjson_get_str(gate)))
            str_printf(&names, "%s%s", names.len ? ", " : "", yyjson_get_str(gate));
    if (!names.len || !ctx->warn)
        return;
    _cleanup_free_ char *text =
        xasprintf("feature gates change nothing here (%s): what is built is on, and what is not is "
                  "refused where it is asked for",
                  str_text(&names));
    ctx->warn(ctx, text);
}

static void check_words(struct where *w, yyjson_val *configuration)
{
    const char *model = json_str_or(configuration, "/cpuModel", ""),
               *type = json_str_or(configuration, "/machineType", "");
    _cleanup_free_ char *model_text = xasprintf("\"%s\"", model), *type_text = xasprintf("\"%s\"", type);

    if (*model && !plain_word(model))
        field_invalid(w->err, at(w, "cpuModel"), model_text,
                      "must be host-model, host-passthrough or the name of a CPU model");
    if (*type && !streq(type, "q35") && !(str_starts(type, "pc-q35-") && plain_word(type)))
        field_invalid(w->err, at(w, "machineType"), type_text, "must be q35 or pc-q35-VERSION");
}

static void check_taint_key(struct where *w, yyjson_val *migrations)
{
    const char *key = json_str_or(migrations, "/nodeDrainTaintKey", ""), *fault;
    _cleanup_free_ char *text = xasprintf("\"%s\"", key);

    if (*key && (fault = qualified_name_fault(key)))
        field_invalid(w->err, at(w, "nodeDrainTaintKey"), text, "%s", fault);
}

static void validate_kubevirt(struct rule_ctx *ctx, yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    struct where w = {.base = "spec.configuration", .err = err},
                 m = {.base = "spec.configuration.migrations", .err = err};
    yyjson_val *configuration = json_at(object, "/spec/configuration");

    if (!old)
        check_only(ctx, object, "kubevirt", "kubevirt", err);
    if (!spec_changed(object, old))
        return;
    check_words(&w, configuration);
    check_bandwidth(&m, json_at(configuration, "/migrations"));
    check_taint_key(&m, json_at(configuration, "/migrations"));
    warn_gates(ctx, json_at(configuration, "/developerConfiguration/featureGates"));
}

static void validate_hyperconverged(struct rule_ctx *ctx, yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    struct where m = {.base = "spec.liveMigrationConfig", .err = err}, w = {.base = "spec", .err = err};
    const char *model = json_str_or(object, "/spec/defaultCPUModel", "");

    if (!old)
        check_only(ctx, object, "openshift-cnv", "kubevirt-hyperconverged", err);
    check_bandwidth(&m, json_at(object, "/spec/liveMigrationConfig"));
    if (*model && !plain_word(model)) {
        _cleanup_free_ char *text = xasprintf("\"%s\"", model);
        field_invalid(err, at(&w, "defaultCPUModel"), text,
                      "must be host-model, host-passthrough or the name of a CPU model");
    }
}

static void validate_policy(struct rule_ctx *ctx, yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    struct where w = {.base = "spec", .err = err};
    yyjson_val *spec = json_at(object, "/spec");

    check_bandwidth(&w, spec);
    labels_check(at(&w, "selectors.namespaceSelector"), json_at(spec, "/selectors/namespaceSelector"), err);
    labels_check(at(&w, "selectors.virtualMachineInstanceSelector"),
                 json_at(spec, "/selectors/virtualMachineInstanceSelector"), err);
}

const struct rules kubevirt_rules = {
    .group = GROUP_KUBEVIRT,
    .kind = "KubeVirt",
    .validate = validate_kubevirt,
    .before_delete = keep,
};

const struct rules hyperconverged_rules = {
    .group = "hco.kubevirt.io",
    .kind = "HyperConverged",
    .validate = validate_hyperconverged,
    .before_delete = keep,
};

const struct rules migrationpolicy_rules = {
    .group = "migrations.kubevirt.io",
    .kind = "MigrationPolicy",
    .validate = validate_policy,
};
