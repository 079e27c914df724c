/* Turns a message into JSON along a schema.
 *
 * Kubernetes' generated encoders write every field that is no pointer, also when it is empty: an empty string and an
 * empty time mean "absent" then, as `omitempty` makes of them in JSON. Numbers and booleans are kept, because zero and
 * false can have been said on purpose, unless the schema says that they can't (x-protobuf-omitempty). Where Go embeds
 * one struct in another, the wire has a message of its own and JSON has not: its fields have two numbers. */
#include <string.h>

#include "api/protobuf.h"
#include "api/protobuf_wire.h"
#include "base/alloc.h"
#include "base/base64.h"
#include "base/clock.h"

#define DEPTH_MAX 64

static bool has_format(const struct schema *s, const char *format)
{
    return s->format && streq(s->format, format);
}

/* --- Values --- */

/* A text that JSON can hold: yyjson checks UTF-8 only when it writes, so it is checked here. */
static int text_value(yyjson_mut_doc *d, struct wire_reader b, yyjson_mut_val **ret, struct gw_error *err)
{
    size_t len = (size_t)(b.end - b.at);
    yyjson_mut_val *v = yyjson_mut_strncpy(d, (const char *)b.at, len);
    char *probe = yyjson_mut_val_write(v, 0, NULL);

    if (!probe)
        return gw_error_set(err, GW_BAD_REQUEST, "the protobuf body has a string that is not UTF-8");
    free(probe);
    *ret = len ? v : NULL;
    return 0;
}

static yyjson_mut_val *bytes_value(yyjson_mut_doc *d, struct wire_reader b)
{
    _cleanup_free_ char *text = base64_encode(b.at, (size_t)(b.end - b.at));

    return yyjson_mut_strcpy(d, text);
}

/* The small messages that JSON writes as one value: their fields 1 to 3. */
struct small {
    uint64_t numbers[4];
    struct wire_reader texts[4];
};

static int read_small(struct wire_reader b, struct small *ret, struct gw_error *err)
{
    struct wire_field f;
    int r;

    *ret = (struct small){0};
    while ((r = wire_next(&b, &f, err)) > 0) {
        if (f.number > 3)
            continue;
        ret->numbers[f.number] = f.value;
        ret->texts[f.number] = f.bytes;
    }
    return r;
}

static int time_value(yyjson_mut_doc *d, const struct schema *s, struct wire_reader b, yyjson_mut_val **ret,
                      struct gw_error *err)
{
    char text[CLOCK_TEXT_MAX];
    struct small m;
    int r = read_small(b, &m, err);
    int64_t seconds = (int64_t)m.numbers[1], nanos = (int64_t)m.numbers[2];

    if (r < 0)
        return r;
    *ret = NULL;
    if (b.at == b.end)
        return 0;
    if (seconds < -62135596800 || seconds > 253402300799 || nanos < 0 || nanos > 999999999) /* years 1 to 9999 */
        return gw_error_set(err, GW_BAD_REQUEST, "the protobuf body has a time out of range");
    if (has_format(s, "micro-time"))
        clock_format_micro(seconds * 1000000 + nanos / 1000, text);
    else
        clock_format(seconds * 1000, text);
    *ret = yyjson_mut_strcpy(d, text);
    return 0;
}

static int quantity_value(yyjson_mut_doc *d, struct wire_reader b, yyjson_mut_val **ret, struct gw_error *err)
{
    struct small m;
    int r = read_small(b, &m, err);

    return r < 0 ? r : text_value(d, m.texts[1], ret, err);
}

static int int_or_string_value(yyjson_mut_doc *d, struct wire_reader b, yyjson_mut_val **ret, struct gw_error *err)
{
    struct small m;
    int r = read_small(b, &m, err);

    if (r < 0 || m.numbers[1] == 1)
        return r < 0 ? r : text_value(d, m.texts[3], ret, err);
    *ret = yyjson_mut_sint(d, (int64_t)m.numbers[2]);
    return 0;
}

static int message_value(yyjson_mut_doc *d, const struct schema *s, struct wire_reader b, unsigned depth,
                         yyjson_mut_val **ret, struct gw_error *err);

static int string_value(yyjson_mut_doc *d, const struct schema *s, struct wire_reader b, yyjson_mut_val **ret,
                        struct gw_error *err)
{
    if (has_format(s, "date-time") || has_format(s, "micro-time"))
        return time_value(d, s, b, ret, err);
    if (has_format(s, "quantity"))
        return quantity_value(d, b, ret, err);
    if (!has_format(s, "byte"))
        return text_value(d, b, ret, err);
    *ret = bytes_value(d, b);
    return 0;
}

static int number_value(yyjson_mut_doc *d, const struct schema *s, const struct wire_field *f, yyjson_mut_val **ret)
{
    double number;
    float narrow;

    if (s->type == SCHEMA_BOOLEAN) {
        *ret = yyjson_mut_bool(d, f->value != 0);
    } else if (s->type == SCHEMA_NUMBER && f->type == WIRE_64) {
        memcpy(&number, &f->value, sizeof(number));
        *ret = number - number == 0 ? yyjson_mut_real(d, number) : NULL; /* infinities are none of JSON's */
    } else if (s->type == SCHEMA_NUMBER && f->type == WIRE_32) {
        memcpy(&narrow, &f->value, sizeof(narrow));
        *ret = narrow - narrow == 0 ? yyjson_mut_real(d, (double)narrow) : NULL;
    } else {
        *ret = yyjson_mut_sint(d, (int64_t)f->value);
    }
    return 0;
}

/* The values of maps of lists (ExtraValue) are messages of their own: {1: item, 1: item, ...}. */
static int list_value(yyjson_mut_doc *d, const struct schema *s, struct wire_reader b, unsigned depth,
                      yyjson_mut_val **ret, struct gw_error *err);

/* *ret NULL: absent. A field whose wire type does not fit its schema is malformed. */
static int field_value(yyjson_mut_doc *d, const struct schema *s, const struct wire_field *f, unsigned depth,
                       yyjson_mut_val **ret, struct gw_error *err)
{
    bool scalar = s->type == SCHEMA_INTEGER || s->type == SCHEMA_NUMBER || s->type == SCHEMA_BOOLEAN;

    *ret = NULL;
    if (scalar != (f->type != WIRE_BYTES))
        return wire_malformed(err);
    switch (s->type) {
    case SCHEMA_STRING:
        return string_value(d, s, f->bytes, ret, err);
    case SCHEMA_INT_OR_STRING:
        return has_format(s, "quantity") ? quantity_value(d, f->bytes, ret, err)
                                         : int_or_string_value(d, f->bytes, ret, err);
    case SCHEMA_OBJECT:
        return message_value(d, s, f->bytes, depth + 1, ret, err);
    case SCHEMA_ARRAY:
        return list_value(d, s, f->bytes, depth, ret, err);
    case SCHEMA_INTEGER:
    case SCHEMA_NUMBER:
    case SCHEMA_BOOLEAN:
        return number_value(d, s, f, ret);
    default:
        return 0; /* free-form JSON has no place in these messages */
    }
}

static int list_value(yyjson_mut_doc *d, const struct schema *s, struct wire_reader b, unsigned depth,
                      yyjson_mut_val **ret, struct gw_error *err)
{
    yyjson_mut_val *list = yyjson_mut_arr(d);
    struct wire_field f;
    int r = 0;

    while (r >= 0 && (r = wire_next(&b, &f, err)) > 0) {
        yyjson_mut_val *v = NULL;

        if (f.number != 1 || !s->items)
            continue;
        r = field_value(d, s->items, &f, depth, &v, err);
        yyjson_mut_arr_append(list, v ? v : yyjson_mut_str(d, ""));
    }
    *ret = list;
    return r;
}

/* --- Fields of a message --- */

/* Field number of the message, or of the one within it that has number `in`. */
static const struct property *property_of(const struct schema *s, unsigned in, unsigned number)
{
    for (size_t i = 0; i < s->n_properties; i++)
        if (s->properties[i].protobuf == number && s->properties[i].protobuf_in == in)
            return &s->properties[i];
    return NULL;
}

static bool has_within(const struct schema *s, unsigned in)
{
    for (size_t i = 0; i < s->n_properties; i++)
        if (s->properties[i].protobuf_in == in)
            return true;
    return false;
}

/* The value below name, made by make when it is not there yet. */
static yyjson_mut_val *container(yyjson_mut_doc *d, yyjson_mut_val *object, const char *name,
                                 yyjson_mut_val *(*make)(yyjson_mut_doc *))
{
    yyjson_mut_val *v = yyjson_mut_obj_get(object, name);

    if (v)
        return v;
    v = make(d);
    yyjson_mut_obj_add(object, yyjson_mut_strcpy(d, name), v);
    return v;
}

/* Numbers of a list may be packed into one field. */
static int add_packed(yyjson_mut_doc *d, const struct schema *item, struct wire_reader b, yyjson_mut_val *list,
                      struct gw_error *err)
{
    while (b.at < b.end) {
        struct wire_field f = {.type = WIRE_VARINT};
        yyjson_mut_val *v = NULL;

        if (!wire_varint(&b, &f.value))
            return wire_malformed(err);
        number_value(d, item, &f, &v);
        yyjson_mut_arr_append(list, v);
    }
    return 0;
}

static int add_item(yyjson_mut_doc *d, const struct property *p, const struct wire_field *f, unsigned depth,
                    yyjson_mut_val *object, struct gw_error *err)
{
    const struct schema *item = p->schema->items;
    yyjson_mut_val *list = container(d, object, p->name, yyjson_mut_arr), *v = NULL;
    int r;

    if (!item)
        return 0;
    if (f->type == WIRE_BYTES && (item->type == SCHEMA_INTEGER || item->type == SCHEMA_BOOLEAN))
        return add_packed(d, item, f->bytes, list, err);
    r = field_value(d, item, f, depth, &v, err);
    if (r < 0)
        return r;
    yyjson_mut_arr_append(list, v ? v : yyjson_mut_strcpy(d, "")); /* in a list even an empty string is one */
    return 0;
}

/* An entry of a map is a message {1: key, 2: value}. */
static int add_entry(yyjson_mut_doc *d, const struct property *p, const struct wire_field *f, unsigned depth,
                     yyjson_mut_val *object, struct gw_error *err)
{
    yyjson_mut_val *map = container(d, object, p->name, yyjson_mut_obj), *key = NULL, *value = NULL;
    struct wire_reader b = f->bytes;
    struct wire_field part;
    int r = f->type == WIRE_BYTES ? 0 : wire_malformed(err);

    while (r == 0 && (r = wire_next(&b, &part, err)) > 0) {
        if (part.number == 1 && part.type == WIRE_BYTES)
            r = text_value(d, part.bytes, &key, err);
        else if (part.number == 2)
            r = field_value(d, p->schema->additional, &part, depth, &value, err);
        else
            r = 0;
    }
    if (r < 0)
        return r;
    yyjson_mut_obj_put(map, key ? key : yyjson_mut_str(d, ""), value ? value : yyjson_mut_str(d, ""));
    return 0;
}

static int add_field(yyjson_mut_doc *d, const struct property *p, const struct wire_field *f, unsigned depth,
                     yyjson_mut_val *object, struct gw_error *err)
{
    yyjson_mut_val *v = NULL;
    int r;

    if (p->schema->type == SCHEMA_ARRAY)
        return add_item(d, p, f, depth, object, err);
    if (p->schema->type == SCHEMA_OBJECT && p->schema->additional)
        return add_entry(d, p, f, depth, object, err);
    if (p->protobuf_omitempty && f->type != WIRE_BYTES && f->value == 0)
        return 0;
    r = field_value(d, p->schema, f, depth, &v, err);
    if (r == 0 && v)
        yyjson_mut_obj_put(object, yyjson_mut_strcpy(d, p->name), v);
    return r;
}

/* in: as for property_of */
static int add_fields(yyjson_mut_doc *d, const struct schema *s, unsigned in, struct wire_reader b, unsigned depth,
                      yyjson_mut_val *object, struct gw_error *err)
{
    struct wire_field f;
    int r;

    while ((r = wire_next(&b, &f, err)) > 0) {
        const struct property *p = property_of(s, in, f.number);

        if (p)
            r = add_field(d, p, &f, depth, object, err);
        else if (!in && f.type == WIRE_BYTES && has_within(s, f.number))
            r = add_fields(d, s, f.number, f.bytes, depth, object, err);
        if (r < 0)
            return r;
    }
    return r;
}

static int message_value(yyjson_mut_doc *d, const struct schema *s, struct wire_reader b, unsigned depth,
                         yyjson_mut_val **ret, struct gw_error *err)
{
    if (depth > DEPTH_MAX)
        return gw_error_set(err, GW_BAD_REQUEST, "the protobuf body is nested too deeply");
    *ret = yyjson_mut_obj(d);
    return add_fields(d, s, 0, b, depth, *ret, err);
}

int protobuf_decode_message(const struct schema *schema, const uint8_t *data, size_t len, yyjson_mut_doc **ret,
                            struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    yyjson_mut_val *root = NULL;
    int r = message_value(d, schema, (struct wire_reader){data, data + len}, 0, &root, err);

    if (r < 0)
        return r;
    yyjson_mut_doc_set_root(d, root);
    *ret = TAKE_PTR(d);
    return 0;
}
