/* CustomResourceDefinition: what crd.h checks. */
#include "api/crd.h"
#include "api/rules/kinds.h"

static void validate(struct rule_ctx *ctx, yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    if (!ctx->subresource)
        crd_validate(object, err);
}

const struct rules crd_rules = {
    .group = "apiextensions.k8s.io",
    .kind = "CustomResourceDefinition",
    .validate = validate,
};
