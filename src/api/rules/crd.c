/* CustomResourceDefinition: its finalizer, what crd.h checks, and what is not served of it. */
#include "api/crd.h"
#include "api/meta.h"
#include "api/rules/kinds.h"

#define FINALIZER "customresourcecleanup.apiextensions.k8s.io"

/* From the beginning: a definition that is deleted at once waits for its objects too. */
static void set_defaults(struct rule_ctx *ctx, yyjson_mut_doc *d, yyjson_val *old)
{
    if (!old)
        meta_add_finalizer(d, FINALIZER);
}

/* Definitions from elsewhere often have it, and work without. */
static void warn_scale(struct rule_ctx *ctx, yyjson_val *object)
{
    yyjson_val *version;

    json_each(json_at(object, "/spec/versions"), version)
        if (ctx->warn && json_at(version, "/subresources/scale")) {
            ctx->warn(
                ctx,
                "spec.versions[*].subresources.scale is not served: set the number of replicas in the object itself, "
                "instead of by kubectl scale or an autoscaler");
            return;
        }
}

static void validate(struct rule_ctx *ctx, yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    if (ctx->subresource)
        return;
    crd_validate(object, err);
    if (!old)
        warn_scale(ctx, object);
}

const struct rules crd_rules = {
    .group = "apiextensions.k8s.io",
    .kind = "CustomResourceDefinition",
    .set_defaults = set_defaults,
    .validate = validate,
};
