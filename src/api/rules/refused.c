/* Kinds that clients ask for, list and watch, but of which nobody may make one: it would be accepted and do nothing. */
#include <string.h>

#include "api/meta.h"
#include "api/rules.h"
#include "base/str.h"

/* Whether anything but metadata is other than in old. */
static bool is_changed(yyjson_val *object, yyjson_val *old)
{
    yyjson_val *key, *value;

    json_each_member(object, key, value)
        if (!yyjson_equals_str(key, "metadata") && !json_equal(value, yyjson_obj_get(old, yyjson_get_str(key))))
            return true;
    return yyjson_obj_size(object) != yyjson_obj_size(old);
}

static void validate(struct rule_ctx *ctx, yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    if (!streq(ctx->user, USER_SERVER) && (!old || is_changed(object, old)))
        gw_error_set(err, GW_FORBIDDEN, "%s \"%s\" is forbidden: %s", ctx->kind->resource, meta_name(object),
                     ctx->kind->refused);
}

const struct rules refused_rules = {.validate = validate};
