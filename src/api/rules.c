#include "api/rules.h"

#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

bool rule_user_in_group(const struct rule_ctx *ctx, const char *group)
{
    for (const char *const *g = ctx->groups; g && *g; g++)
        if (streq(*g, group))
            return true;
    return false;
}

#define FORMAT(text, fmt) \
    va_list ap; \
    va_start(ap, fmt); \
    _cleanup_free_ char *text = xvasprintf(fmt, ap); \
    va_end(ap)

void field_invalid(struct gw_error *err, const char *field, const char *value, const char *fmt, ...)
{
    FORMAT(text, fmt);
    gw_error_add_cause(err, CAUSE_INVALID, field, "Invalid value: %s: %s", value, text);
}

void field_required(struct gw_error *err, const char *field, const char *fmt, ...)
{
    FORMAT(text, fmt);
    gw_error_add_cause(err, CAUSE_REQUIRED, field, "Required value%s%s", *text ? ": " : "", text);
}

void field_forbidden(struct gw_error *err, const char *field, const char *fmt, ...)
{
    FORMAT(text, fmt);
    gw_error_add_cause(err, CAUSE_FORBIDDEN, field, "Forbidden: %s", text);
}

void field_duplicate(struct gw_error *err, const char *field, const char *value)
{
    gw_error_add_cause(err, CAUSE_DUPLICATE, field, "Duplicate value: %s", value);
}

void field_unsupported(struct gw_error *err, const char *field, const char *value, const char *const *supported)
{
    _cleanup_str_ struct str list = {0};

    for (const char *const *s = supported; *s; s++)
        str_printf(&list, "%s\"%s\"", s == supported ? "" : ", ", *s);
    gw_error_add_cause(err, CAUSE_NOT_SUPPORTED, field, "Unsupported value: %s: supported values: %s", value,
                       str_text(&list));
}

char *field_quote(yyjson_val *value)
{
    char *text = value ? yyjson_val_write(value, 0, NULL) : NULL;

    return text ? text : xstrdup("null");
}
