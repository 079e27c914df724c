/* Secret and ConfigMap. */
#include <ctype.h>
#include <string.h>

#include "api/meta.h"
#include "api/rules/common.h"
#include "api/rules/kinds.h"
#include "base/alloc.h"
#include "base/str.h"

#define DATA_MAX (1024 * 1024) /* Kubernetes' limit for all values of one object */

static char *base64(const unsigned char *data, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct str out = {0};

    for (size_t i = 0; i < len; i += 3) {
        unsigned v = (unsigned)data[i] << 16 | (i + 1 < len ? data[i + 1] : 0u) << 8 | (i + 2 < len ? data[i + 2] : 0u);
        str_putc(&out, digits[v >> 18]);
        str_putc(&out, digits[v >> 12 & 63]);
        str_putc(&out, i + 1 < len ? digits[v >> 6 & 63] : '=');
        str_putc(&out, i + 2 < len ? digits[v & 63] : '=');
    }
    return str_take(&out);
}

/* stringData is for writing only: its values go to data, over what is there. */
static void secret_defaults(struct rule_ctx *ctx, yyjson_mut_doc *d, yyjson_val *old)
{
    yyjson_mut_val *texts = yyjson_mut_obj_get(d->root, "stringData"), *key, *value;
    const char *type = json_mut_str(d, "/type");
    size_t i, n;

    if (!type || !*type)
        json_set_str(d, "/type", "Opaque");
    yyjson_mut_obj_foreach(texts, i, n, key, value) {
        if (!yyjson_mut_is_str(value))
            return; /* the schema refuses it */
        _cleanup_free_ char *path = json_path("/data", yyjson_mut_get_str(key));
        _cleanup_free_ char *text = base64((const unsigned char *)yyjson_mut_get_str(value), yyjson_mut_get_len(value));
        json_set_str(d, path, text);
    }
    json_remove(d, "/stringData");
}

static bool data_key(const char *key)
{
    size_t len = strlen(key);

    for (const char *c = key; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("-._", *c))
            return false;
    return len > 0 && len <= 253 && !streq(key, ".") && !streq(key, "..");
}

/* Checks the keys of one map; returns the length of its values. */
static size_t check_keys(const char *field, yyjson_val *data, struct gw_error *err)
{
    yyjson_val *key, *value;
    size_t total = 0;

    json_each_member(data, key, value) {
        _cleanup_free_ char *text = field_quote(key), *path = xasprintf("%s[%s]", field, yyjson_get_str(key));
        total += yyjson_get_len(value);
        if (!data_key(yyjson_get_str(key)))
            field_invalid(err, path, text,
                          "a valid config key must consist of alphanumeric characters, '-', '_' or '.'");
    }
    return total;
}

static void check_size(size_t total, struct gw_error *err)
{
    if (total > DATA_MAX)
        gw_error_add_cause(err, "FieldValueTooLong", "data", "Too long: may not be more than %d bytes", DATA_MAX);
}

static void check_immutable(yyjson_val *object, yyjson_val *old, const char *const *fields, struct gw_error *err)
{
    if (!json_bool(old, "/immutable", false))
        return;
    if (!json_bool(object, "/immutable", false))
        field_forbidden(err, "immutable", "field is immutable when `immutable` is set");
    for (; *fields; fields++)
        if (!json_equal(yyjson_obj_get(object, *fields), yyjson_obj_get(old, *fields)))
            field_forbidden(err, *fields, "field is immutable when `immutable` is set");
}

static void validate_secret(struct rule_ctx *ctx, yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    static const char *const fields[] = {"data", NULL};
    _cleanup_free_ char *type = field_quote(yyjson_obj_get(object, "type"));

    check_size(check_keys("data", yyjson_obj_get(object, "data"), err) / 4 * 3, err);
    check_immutable(object, old, fields, err);
    if (old && !str_same(json_str(object, "/type"), json_str(old, "/type")))
        field_invalid(err, "type", type, "field is immutable");
    if (streq(json_str_or(object, "/type", ""), "kubernetes.io/service-account-token") &&
        !meta_annotation(object, "kubernetes.io/service-account.name"))
        field_required(err, "metadata.annotations[kubernetes.io/service-account.name]", "%s", "");
}

static void validate_configmap(struct rule_ctx *ctx, yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    static const char *const fields[] = {"data", "binaryData", NULL};
    yyjson_val *data = yyjson_obj_get(object, "data"), *binary = yyjson_obj_get(object, "binaryData"), *key, *value;

    check_size(check_keys("data", data, err) + check_keys("binaryData", binary, err) / 4 * 3, err);
    check_immutable(object, old, fields, err);
    json_each_member(binary, key, value)
        if (yyjson_obj_get(data, yyjson_get_str(key))) {
            _cleanup_free_ char *text = field_quote(key);
            field_invalid(err, "binaryData", text, "duplicate of key present in data");
        }
}

const struct rules secret_rules = {
    .group = "", .kind = "Secret", .set_defaults = secret_defaults, .validate = validate_secret};
const struct rules configmap_rules = {.group = "", .kind = "ConfigMap", .validate = validate_configmap};
