/* Validation. Messages are those of k8s.io/kube-openapi and apimachinery's field errors, because people search for
 * them. */
#include <string.h>

#include "api/field_path.h"
#include "api/format.h"
#include "api/rules.h"
#include "api/schema.h"
#include "base/alloc.h"
#include "base/str.h"

#define CAUSE_TOO_MANY "FieldValueTooMany"
#define CAUSE_TOO_LONG "FieldValueTooLong"

/* Nobody reads more, and a hostile body must not turn into an answer many times its size. */
#define MAX_CAUSES 100

struct validator {
    struct gw_error *err;
    struct str path;
};

static const char *here(const struct validator *v)
{
    return str_text(&v->path);
}

/* The JSON type of a value in OpenAPI's words. */
static const char *type_of(yyjson_val *value)
{
    if (yyjson_is_int(value))
        return "integer";
    switch (yyjson_get_type(value)) {
    case YYJSON_TYPE_BOOL:
        return "boolean";
    case YYJSON_TYPE_NUM:
        return "number";
    case YYJSON_TYPE_STR:
        return "string";
    case YYJSON_TYPE_ARR:
        return "array";
    case YYJSON_TYPE_OBJ:
        return "object";
    default:
        return "null";
    }
}

static bool type_fits(const struct schema *s, yyjson_val *value)
{
    switch (s->type) {
    case SCHEMA_OBJECT:
        return yyjson_is_obj(value);
    case SCHEMA_ARRAY:
        return yyjson_is_arr(value);
    case SCHEMA_STRING:
        return yyjson_is_str(value);
    case SCHEMA_INTEGER:
        return yyjson_is_int(value);
    case SCHEMA_NUMBER:
        return yyjson_is_num(value);
    case SCHEMA_BOOLEAN:
        return yyjson_is_bool(value);
    case SCHEMA_INT_OR_STRING:
        return yyjson_is_int(value) || yyjson_is_str(value);
    default:
        return true;
    }
}

static void check_enum(struct validator *v, const struct schema *s, yyjson_val *value)
{
    yyjson_val *allowed = yyjson_obj_get(s->source, "enum"), *item;
    _cleanup_str_ struct str list = {0};
    size_t i;

    if (!allowed)
        return;
    json_each_at(allowed, i, item) {
        if (yyjson_equals(item, value))
            return;
        _cleanup_free_ char *text = field_quote(item);
        str_printf(&list, "%s%s", i ? ", " : "", text);
    }
    _cleanup_free_ char *text = field_quote(value);
    const char *reason = json_str(s->source, "/x-godwit-reason");
    gw_error_add_cause(v->err, CAUSE_NOT_SUPPORTED, here(v), "Unsupported value: %s: supported values: %s%s%s", text,
                       str_text(&list), reason ? ": " : "", reason ? reason : "");
}

static void check_format(struct validator *v, const struct schema *s, yyjson_val *value)
{
    _cleanup_free_ char *text = NULL;

    if (!s->format || format_fits(s->format, value))
        return;
    text = field_quote(value);
    if (streq(s->format, "quantity"))
        field_invalid(v->err, here(v), text,
                      "quantities must match the regular expression "
                      "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
    else
        field_invalid(v->err, here(v), text, "%s in body must be of type %s: %s", here(v), s->format, text);
}

/* Characters, not bytes: JSON Schema counts code points. */
static size_t characters(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void check_text(struct validator *v, const struct schema *s, yyjson_val *value)
{
    yyjson_val *min = yyjson_obj_get(s->source, "minLength"), *max = yyjson_obj_get(s->source, "maxLength");
    const char *text = yyjson_get_str(value);
    _cleanup_free_ char *quoted = NULL;

    if (strlen(text) != yyjson_get_len(value)) {
        field_invalid(v->err, here(v), "\"\\u0000\"", "must not contain NUL characters");
        return;
    }
    if (max && characters(text) > yyjson_get_uint(max))
        gw_error_add_cause(v->err, CAUSE_TOO_LONG, here(v), "Too long: may not be more than %llu bytes",
                           (unsigned long long)yyjson_get_uint(max));
    if (min && characters(text) < yyjson_get_uint(min))
        field_invalid(v->err, here(v), quoted = field_quote(value), "%s in body should be at least %llu chars long",
                      here(v), (unsigned long long)yyjson_get_uint(min));
    else if (s->pattern && regexec(s->pattern, text, 0, NULL, 0) != 0)
        field_invalid(v->err, here(v), quoted = field_quote(value), "%s in body should match '%s'", here(v),
                      yyjson_get_str(yyjson_obj_get(s->source, "pattern")));
}

static void check_number(struct validator *v, const struct schema *s, yyjson_val *value)
{
    yyjson_val *min = yyjson_obj_get(s->source, "minimum"), *max = yyjson_obj_get(s->source, "maximum");
    double number = yyjson_get_num(value);
    _cleanup_free_ char *text = NULL, *limit = NULL;

    if (min && number < yyjson_get_num(min))
        field_invalid(v->err, here(v), text = field_quote(value), "%s in body should be greater than or equal to %s",
                      here(v), limit = field_quote(min));
    else if (max && number > yyjson_get_num(max))
        field_invalid(v->err, here(v), text = field_quote(value), "%s in body should be less than or equal to %s",
                      here(v), limit = field_quote(max));
}

/* What must be unique in a set or map list, as text; NULL when an item has none of it. Freed by the caller. */
static char *item_identity(const struct schema *s, yyjson_val *item)
{
    yyjson_val *keys = yyjson_obj_get(s->source, "x-kubernetes-list-map-keys"), *key, *value;
    _cleanup_mut_doc_ yyjson_mut_doc *d = NULL;

    if (s->list_type == LIST_SET)
        return field_quote(item);
    d = json_object();
    json_each(keys, key) {
        value = yyjson_obj_get(item, yyjson_get_str(key));
        if (value)
            yyjson_mut_obj_add_val(d, d->root, yyjson_get_str(key), yyjson_val_mut_copy(d, value));
    }
    return yyjson_mut_obj_size(d->root) ? json_text(d->root) : NULL;
}

static void check_unique(struct validator *v, const struct schema *s, yyjson_val *array)
{
    _cleanup_(map_freep) struct map *seen = map_new(NULL);
    size_t i, before;
    yyjson_val *item;

    json_each_at(array, i, item) {
        _cleanup_free_ char *identity = item_identity(s, item);
        if (!identity)
            continue;
        if (map_has(seen, identity)) {
            before = field_path_enter_item(&v->path, i);
            field_duplicate(v->err, here(v), identity);
            field_path_leave(&v->path, before);
        }
        map_put(seen, identity, (void *)s);
    }
}

static void validate(struct validator *v, const struct schema *s, yyjson_val *value);

static void check_array(struct validator *v, const struct schema *s, yyjson_val *array)
{
    yyjson_val *min = yyjson_obj_get(s->source, "minItems"), *max = yyjson_obj_get(s->source, "maxItems"), *item;
    size_t i, len = yyjson_arr_size(array), before;

    if (max && len > yyjson_get_uint(max)) {
        gw_error_add_cause(v->err, CAUSE_TOO_MANY, here(v), "Too many: %zu: must have at most %llu items", len,
                           (unsigned long long)yyjson_get_uint(max));
        return;
    }
    if (min && len < yyjson_get_uint(min)) {
        _cleanup_free_ char *text = xasprintf("%zu", len);
        field_invalid(v->err, here(v), text, "%s in body should have at least %llu items", here(v),
                      (unsigned long long)yyjson_get_uint(min));
    }
    if (s->list_type != LIST_ATOMIC)
        check_unique(v, s, array);
    if (!s->items)
        return;
    json_each_at(array, i, item) {
        before = field_path_enter_item(&v->path, i);
        validate(v, s->items, item);
        field_path_leave(&v->path, before);
    }
}

/* False where a field is present but asks for nothing. */
static bool asks_for_something(yyjson_val *value)
{
    return !yyjson_is_null(value) && !yyjson_is_false(value) && !(yyjson_is_arr(value) && yyjson_arr_size(value) == 0);
}

static bool check_support(struct validator *v, const struct property *p, yyjson_val *value)
{
    if (p->support == SUPPORT_WORKS)
        return true;
    if (asks_for_something(value))
        field_forbidden(v->err, here(v), "%s%s%s", p->support == SUPPORT_LATER ? "not supported yet" : "not supported",
                        p->reason ? ": " : "", p->reason ? p->reason : "");
    return false;
}

static void check_required(struct validator *v, const struct schema *s, yyjson_val *object)
{
    yyjson_val *required = yyjson_obj_get(s->source, "required"), *name;
    size_t before;

    if (!required)
        return;
    json_each(required, name) {
        if (yyjson_obj_get(object, yyjson_get_str(name)))
            continue;
        before = field_path_enter(&v->path, yyjson_get_str(name));
        gw_error_add_cause(v->err, CAUSE_REQUIRED, here(v), "Required value");
        field_path_leave(&v->path, before);
    }
}

static void check_object(struct validator *v, const struct schema *s, yyjson_val *object)
{
    size_t before;
    yyjson_val *key, *value;

    check_required(v, s, object);
    json_each_member(object, key, value) {
        const struct property *p = schema_property(s, yyjson_get_str(key));
        const struct schema *child = p ? p->schema : s->additional;
        if (!child)
            continue;
        before = field_path_enter(&v->path, yyjson_get_str(key));
        if (!p || check_support(v, p, value))
            validate(v, child, value);
        field_path_leave(&v->path, before);
    }
}

static void validate(struct validator *v, const struct schema *s, yyjson_val *value)
{
    if ((yyjson_is_null(value) && s->nullable) || v->err->n_causes >= MAX_CAUSES)
        return;
    if (!type_fits(s, value)) {
        _cleanup_free_ char *text = xasprintf("\"%s\"", type_of(value));
        gw_error_add_cause(v->err, CAUSE_TYPE, here(v), "Invalid value: %s: %s in body must be of type %s: %s", text,
                           here(v), schema_type_string(s->type), text);
        return;
    }
    check_enum(v, s, value);
    check_format(v, s, value);
    if (yyjson_is_str(value))
        check_text(v, s, value);
    else if (yyjson_is_num(value))
        check_number(v, s, value);
    else if (yyjson_is_arr(value))
        check_array(v, s, value);
    else if (yyjson_is_obj(value))
        check_object(v, s, value);
}

void schema_validate(const struct schema *s, yyjson_val *value, const char *path, struct gw_error *err)
{
    struct validator v = {.err = err};

    str_puts(&v.path, path);
    validate(&v, s, value);
    str_done(&v.path);
}
