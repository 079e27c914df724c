/* VirtualMachineInstanceMigration. The refusals are KubeVirt's to the letter, because tools and people match on them.
 */
#include <string.h>

#include "api/meta.h"
#include "api/names.h"
#include "api/rules/common.h"
#include "api/rules/kinds.h"

#define FINALIZER "kubevirt.io/migrationJobFinalize"
#define LABEL_VMI "kubevirt.io/vmi-name"
#define CREATE_WEBHOOK "migration-create-validator.kubevirt.io"
#define UPDATE_WEBHOOK "migration-update-validator.kubevirt.io"

static void set_defaults(struct rule_ctx *ctx, yyjson_mut_doc *d, yyjson_val *old)
{
    const char *vmi = json_mut_str(d, "/spec/vmiName");

    if (old || !vmi || !*vmi)
        return;
    meta_set_label(d, LABEL_VMI, vmi);
    meta_add_finalizer(d, FINALIZER);
}

/* Adds a cause and makes it the headline. */
static void deny_field(struct gw_error *err, const char *webhook, const char *type, const char *field, const char *text)
{
    gw_error_add_cause(err, type, field, "%s", text);
    webhook_deny(err, GW_INVALID, webhook, "%s", text);
}

struct search {
    const char *vmi;
    char *uid; /* of the migration in flight */
};

static bool find_active(void *data, yyjson_val *migration)
{
    struct search *s = data;

    if (!str_same(meta_label(migration, LABEL_VMI), s->vmi) || is_final(migration))
        return true;
    s->uid = xstrdup(meta_uid(migration));
    return false;
}

static bool check_priority(struct rule_ctx *ctx, yyjson_val *migration, struct gw_error *err)
{
    if (!json_at(migration, "/spec/priority") || asked_by_system(ctx))
        return true;
    deny_field(err, CREATE_WEBHOOK, CAUSE_FORBIDDEN, "spec.migrationPriority", "priority is set by controllers only");
    return false;
}

/* A condition that is absent does not hinder: it appears with the running guest. */
static bool check_migratable(yyjson_val *vmi, struct gw_error *err)
{
    yyjson_val *condition = condition_find(vmi, "LiveMigratable");

    if (!condition || !streq(json_str_or(condition, "/status", ""), "False"))
        return true;
    webhook_deny(err, GW_BAD_REQUEST, CREATE_WEBHOOK, "Cannot migrate VMI, Reason: %s, Message: %s",
                 json_str_or(condition, "/reason", ""), json_str_or(condition, "/message", ""));
    return false;
}

static void check_vmi(struct rule_ctx *ctx, const char *name, struct gw_error *err)
{
    yyjson_val *vmi = ctx->lookup(ctx, GROUP_KUBEVIRT, "VirtualMachineInstance", ctx->namespace, name);
    struct search s = {.vmi = name};

    if (!vmi) {
        webhook_deny(err, GW_BAD_REQUEST, CREATE_WEBHOOK, "the VMI \"%s/%s\" does not exist", ctx->namespace, name);
        return;
    }
    if (is_final(vmi)) {
        webhook_deny(err, GW_BAD_REQUEST, CREATE_WEBHOOK, "Cannot migrate VMI in finalized state.");
        return;
    }
    if (!check_migratable(vmi, err))
        return;
    ctx->each(ctx, GROUP_KUBEVIRT, "VirtualMachineInstanceMigration", ctx->namespace, find_active, &s);
    if (s.uid)
        webhook_deny(err, GW_BAD_REQUEST, CREATE_WEBHOOK,
                     "in-flight migration detected. Active migration job (%s) is "
                     "currently already in progress for VMI %s.",
                     s.uid, name);
    free(s.uid);
}

static void check_update(yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    const char *now = meta_label(object, LABEL_VMI), *before = meta_label(old, LABEL_VMI);

    if (spec_changed(object, old))
        deny_field(err, UPDATE_WEBHOOK, CAUSE_NOT_SUPPORTED, "spec", "update of Migration object's spec is restricted");
    else if (before && !is_final(object) && !str_same(now, before))
        deny_field(err, UPDATE_WEBHOOK, CAUSE_NOT_SUPPORTED, "metadata.labels",
                   json_at(object, "/metadata/labels") ? "selector label can't be modified on an in-flight migration"
                                                       : "selector label can't be removed from an in-flight migration");
}

static void validate(struct rule_ctx *ctx, yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    const char *vmi = json_str_or(object, "/spec/vmiName", "");

    if (err->n_causes)
        return; /* what follows would only hide it */
    if (old)
        check_update(object, old, err);
    else if (!*vmi)
        deny_field(err, CREATE_WEBHOOK, CAUSE_REQUIRED, "spec.vmiName", "vmiName is missing");
    else if (check_priority(ctx, object, err))
        check_vmi(ctx, vmi, err);
    if (!old && !err->message)
        labels_check("spec.addedNodeSelector", json_at(object, "/spec/addedNodeSelector"), err);
}

const struct rules migration_rules = {
    .group = GROUP_KUBEVIRT,
    .kind = "VirtualMachineInstanceMigration",
    .set_defaults = set_defaults,
    .validate = validate,
};
