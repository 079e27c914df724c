/* The v2 document as protobuf. Its messages are the tables below, with the field numbers of gnostic's OpenAPIv2.proto;
 * a row says which member of the JSON object goes where. "" stands for the value itself: such messages only wrap. */
#include <string.h>

#include "apiserver/openapi_v2.h"
#include "base/str.h"

enum form {
    TEXT,
    FLAG,     /* bool */
    COUNT,    /* int64 */
    NUMBER,   /* double */
    YAML,     /* Any, as its YAML text */
    MESSAGE,  /* one, or a list of them */
    NAMED,    /* an object whose members are messages: each is {1: name, 2: value} */
    EXTENSION /* all members that begin with "x-" */
};

struct field {
    const char *key;
    unsigned number;
    enum form form;
    const struct field *message; /* its rows, ended by one without a number */
    const char *in;              /* only for values whose member "in" says this */
};

static const struct field schema[];

static const struct field additional[] = {{"", 1, MESSAGE, schema, NULL}, {0}};
static const struct field type_item[] = {{"", 1, TEXT, NULL, NULL}, {0}};
static const struct field items_item[] = {{"", 1, MESSAGE, schema, NULL}, {0}};
static const struct field properties[] = {{"", 1, NAMED, schema, NULL}, {0}};

static const struct field schema[] = {
    {"$ref", 1, TEXT, NULL, NULL},
    {"format", 2, TEXT, NULL, NULL},
    {"title", 3, TEXT, NULL, NULL},
    {"description", 4, TEXT, NULL, NULL},
    {"default", 5, YAML, NULL, NULL},
    {"maximum", 7, NUMBER, NULL, NULL},
    {"minimum", 9, NUMBER, NULL, NULL},
    {"maxLength", 11, COUNT, NULL, NULL},
    {"minLength", 12, COUNT, NULL, NULL},
    {"pattern", 13, TEXT, NULL, NULL},
    {"maxItems", 14, COUNT, NULL, NULL},
    {"minItems", 15, COUNT, NULL, NULL},
    {"required", 19, TEXT, NULL, NULL},
    {"enum", 20, YAML, NULL, NULL},
    {"additionalProperties", 21, MESSAGE, additional, NULL},
    {"type", 22, MESSAGE, type_item, NULL},
    {"items", 23, MESSAGE, items_item, NULL},
    {"properties", 25, MESSAGE, properties, NULL},
    {"x-", 31, EXTENSION, NULL, NULL},
    {0},
};

static const struct field body_parameter[] = {
    {"description", 1, TEXT, NULL, NULL}, {"name", 2, TEXT, NULL, NULL},        {"in", 3, TEXT, NULL, NULL},
    {"required", 4, FLAG, NULL, NULL},    {"schema", 5, MESSAGE, schema, NULL}, {0},
};
static const struct field query_parameter[] = {
    {"required", 1, FLAG, NULL, NULL}, {"in", 2, TEXT, NULL, NULL},   {"description", 3, TEXT, NULL, NULL},
    {"name", 4, TEXT, NULL, NULL},     {"type", 6, TEXT, NULL, NULL}, {0},
};
static const struct field path_parameter[] = {
    {"required", 1, FLAG, NULL, NULL}, {"in", 2, TEXT, NULL, NULL},   {"description", 3, TEXT, NULL, NULL},
    {"name", 4, TEXT, NULL, NULL},     {"type", 5, TEXT, NULL, NULL}, {0},
};
static const struct field non_body[] = {
    {"", 3, MESSAGE, query_parameter, "query"}, {"", 4, MESSAGE, path_parameter, "path"}, {0}};
static const struct field parameter[] = {
    {"", 1, MESSAGE, body_parameter, "body"},
    {"", 2, MESSAGE, non_body, "query"},
    {"", 2, MESSAGE, non_body, "path"},
    {0},
};
static const struct field parameters_item[] = {{"", 1, MESSAGE, parameter, NULL}, {0}};

static const struct field schema_item[] = {{"", 1, MESSAGE, schema, NULL}, {0}};
static const struct field response[] = {
    {"description", 1, TEXT, NULL, NULL}, {"schema", 2, MESSAGE, schema_item, NULL}, {0}};
static const struct field response_value[] = {{"", 1, MESSAGE, response, NULL}, {0}};
static const struct field responses[] = {{"", 1, NAMED, response_value, NULL}, {0}};

static const struct field operation[] = {
    {"operationId", 5, TEXT, NULL, NULL},
    {"produces", 6, TEXT, NULL, NULL},
    {"consumes", 7, TEXT, NULL, NULL},
    {"parameters", 8, MESSAGE, parameters_item, NULL},
    {"responses", 9, MESSAGE, responses, NULL},
    {"x-", 13, EXTENSION, NULL, NULL},
    {0},
};
static const struct field path_item[] = {
    {"get", 2, MESSAGE, operation, NULL},
    {"put", 3, MESSAGE, operation, NULL},
    {"post", 4, MESSAGE, operation, NULL},
    {"delete", 5, MESSAGE, operation, NULL},
    {"patch", 8, MESSAGE, operation, NULL},
    {"parameters", 9, MESSAGE, parameters_item, NULL},
    {0},
};
static const struct field paths[] = {{"", 2, NAMED, path_item, NULL}, {0}};
static const struct field definitions[] = {{"", 1, NAMED, schema, NULL}, {0}};
static const struct field info[] = {{"title", 1, TEXT, NULL, NULL}, {"version", 2, TEXT, NULL, NULL}, {0}};

static const struct field document[] = {
    {"swagger", 1, TEXT, NULL, NULL},
    {"info", 2, MESSAGE, info, NULL},
    {"paths", 8, MESSAGE, paths, NULL},
    {"definitions", 9, MESSAGE, definitions, NULL},
    {0},
};

/* --- The wire --- */

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2 };

static void put_varint(struct str *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        str_putc(out, (char)(0x80 | (value & 0x7f)));
    str_putc(out, (char)value);
}

static void put_tag(struct str *out, unsigned number, enum wire wire)
{
    put_varint(out, (uint64_t)number << 3 | wire);
}

static void put_bytes(struct str *out, unsigned number, const void *data, size_t len)
{
    put_tag(out, number, WIRE_BYTES);
    put_varint(out, len);
    str_add(out, data, len);
}

static void put_text(struct str *out, unsigned number, yyjson_mut_val *v)
{
    if (yyjson_mut_is_str(v))
        put_bytes(out, number, yyjson_mut_get_str(v), yyjson_mut_get_len(v));
}

static void put_number(struct str *out, unsigned number, yyjson_mut_val *v)
{
    double value = yyjson_mut_get_num(v);

    put_tag(out, number, WIRE_64);
    str_add(out, &value, sizeof(value)); /* little-endian, as this machine is */
}

/* Any{2: yaml}; JSON is YAML. */
static void put_yaml(struct str *out, unsigned number, yyjson_mut_val *v)
{
    _cleanup_blob_ struct blob *text = json_encode(v);
    _cleanup_str_ struct str any = {0};

    put_bytes(&any, 2, text->data, text->len);
    put_bytes(out, number, any.data, any.len);
}

static void put_message(struct str *out, const struct field *f, yyjson_mut_val *v);

static void put_one(struct str *out, const struct field *f, yyjson_mut_val *v)
{
    _cleanup_str_ struct str body = {0};

    switch (f->form) {
    case TEXT:
        put_text(out, f->number, v);
        break;
    case FLAG:
    case COUNT:
        put_tag(out, f->number, WIRE_VARINT);
        put_varint(out, f->form == FLAG ? yyjson_mut_get_bool(v) : (uint64_t)yyjson_mut_get_sint(v));
        break;
    case NUMBER:
        put_number(out, f->number, v);
        break;
    case YAML:
        put_yaml(out, f->number, v);
        break;
    case MESSAGE:
        put_message(&body, f->message, v);
        put_bytes(out, f->number, body.data, body.len);
        break;
    case NAMED:
    case EXTENSION:
        break;
    }
}

static void put_members(struct str *out, const struct field *f, yyjson_mut_val *object)
{
    const struct field value = {"", 2, f->form == NAMED ? MESSAGE : YAML, f->message, NULL};
    yyjson_mut_val *key, *member;
    size_t i, n;

    yyjson_mut_obj_foreach(object, i, n, key, member) {
        _cleanup_str_ struct str named = {0};

        if (f->form == EXTENSION && !str_starts(yyjson_mut_get_str(key), f->key))
            continue;
        put_text(&named, 1, key);
        put_one(&named, &value, member);
        put_bytes(out, f->number, named.data, named.len);
    }
}

static void put_field(struct str *out, const struct field *f, yyjson_mut_val *object)
{
    yyjson_mut_val *value = *f->key ? yyjson_mut_obj_get(object, f->key) : object, *item;
    size_t i, n;

    if (f->in && !yyjson_mut_equals_str(yyjson_mut_obj_get(object, "in"), f->in))
        return;
    if (f->form == EXTENSION || f->form == NAMED)
        put_members(out, f, object);
    else if (yyjson_mut_is_arr(value) && !streq(f->key, "default"))
        yyjson_mut_arr_foreach(value, i, n, item)
            put_one(out, f, item);
    else if (value)
        put_one(out, f, value);
}

static void put_message(struct str *out, const struct field *f, yyjson_mut_val *v)
{
    for (; f->number; f++)
        put_field(out, f, v);
}

struct blob *openapi_v2_encode(yyjson_mut_val *v)
{
    _cleanup_str_ struct str out = {0};

    put_message(&out, document, v);
    return blob_new(out.data, out.len);
}
