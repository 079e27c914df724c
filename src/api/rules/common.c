#include "api/rules/common.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/quantity.h"
#include "api/rules/kinds.h"

const char *at(struct where *w, const char *fmt, ...)
{
    va_list ap;
    int n = snprintf(w->field, sizeof(w->field), "%s%s", w->base, *w->base ? "." : "");

    va_start(ap, fmt);
    if (n >= 0 && (size_t)n < sizeof(w->field))
        vsnprintf(w->field + n, sizeof(w->field) - (size_t)n, fmt, ap);
    va_end(ap);
    return w->field;
}

int64_t amount(yyjson_val *v, int64_t fallback)
{
    if (yyjson_is_int(v))
        return yyjson_get_sint(v);
    return yyjson_is_str(v) ? quantity_text_value(yyjson_get_str(v), fallback) : fallback;
}

int64_t amount_milli(yyjson_val *v, int64_t fallback)
{
    if (yyjson_is_int(v))
        return yyjson_get_sint(v) > INT64_MAX / 1000 ? INT64_MAX : yyjson_get_sint(v) * 1000;
    return yyjson_is_str(v) ? quantity_text_milli(yyjson_get_str(v), fallback) : fallback;
}

bool spec_changed(yyjson_val *object, yyjson_val *old)
{
    return !old || !json_equal(json_at(object, "/spec"), json_at(old, "/spec"));
}

void spec_fixed(yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    if (old && spec_changed(object, old))
        field_invalid(err, "spec", "\"...\"", "field is immutable");
}

void webhook_deny(struct gw_error *err, enum gw_reason reason, const char *webhook, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    _cleanup_free_ char *text = xvasprintf(fmt, ap);
    va_end(ap);
    gw_error_set(err, reason, "admission webhook \"%s\" denied the request: %s", webhook, text);
}

bool asked_by_system(const struct rule_ctx *ctx)
{
    return rule_user_in_group(ctx, GROUP_CONTROLLERS) || rule_user_in_group(ctx, GROUP_NODES);
}

const char *setting(struct rule_ctx *ctx, const char *kubevirt, const char *hyperconverged, const char *fallback)
{
    yyjson_val *kv = ctx->lookup(ctx, GROUP_KUBEVIRT, "KubeVirt", "kubevirt", "kubevirt");
    const char *text = kv ? json_str(json_at(kv, "/spec"), kubevirt) : NULL;

    if (!text && hyperconverged) {
        yyjson_val *hco =
            ctx->lookup(ctx, "hco.kubevirt.io", "HyperConverged", "openshift-cnv", "kubevirt-hyperconverged");
        text = hco ? json_str(json_at(hco, "/spec"), hyperconverged) : NULL;
    }
    return text && *text ? text : fallback;
}

bool plain_word(const char *text)
{
    for (const char *c = text; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("_.+-", *c))
            return false;
    return *text != '\0';
}

size_t count_of(yyjson_val *object, const char *const *names, const char **ret_last)
{
    size_t n = 0;

    for (; *names; names++)
        if (yyjson_obj_get(object, *names)) {
            n++;
            *ret_last = *names;
        }
    return n;
}
