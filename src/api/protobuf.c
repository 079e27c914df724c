/* Reads the wire format (https://protobuf.dev/programming-guides/encoding) along a schema.
 *
 * Kubernetes' generated encoders write every field that is no pointer, also when it is empty: an empty string and an
 * empty time mean "absent" then, as `omitempty` makes of them in JSON. Numbers and booleans are kept, because zero and
 * false can have been said on purpose. */
#include "api/protobuf.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/clock.h"

#define DEPTH_MAX 64

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct reader {
    const uint8_t *at, *end;
};

/* One field as it lies there: a number, or bytes. */
struct field {
    unsigned number;
    enum wire_type type;
    uint64_t value;
    struct reader bytes;
};

static bool read_varint(struct reader *r, uint64_t *ret)
{
    *ret = 0;
    for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        uint8_t b = *r->at++;

        *ret |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return true;
    }
    return false;
}

static bool read_fixed(struct reader *r, size_t n, uint64_t *ret)
{
    *ret = 0;
    if ((size_t)(r->end - r->at) < n)
        return false;
    for (size_t i = 0; i < n; i++)
        *ret |= (uint64_t)r->at[i] << (8 * i);
    r->at += n;
    return true;
}

static bool read_bytes(struct reader *r, struct reader *ret)
{
    uint64_t len;

    if (!read_varint(r, &len) || len > (uint64_t)(r->end - r->at))
        return false;
    *ret = (struct reader){r->at, r->at + len};
    r->at += len;
    return true;
}

static int malformed(struct gw_error *err)
{
    return gw_error_set(err, GW_BAD_REQUEST, "the protobuf body is malformed");
}

/* 1: a field; 0: the end. */
static int next_field(struct reader *r, struct field *ret, struct gw_error *err)
{
    uint64_t tag;
    bool good;

    if (r->at == r->end)
        return 0;
    if (!read_varint(r, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
        return malformed(err);
    *ret = (struct field){.number = (unsigned)(tag >> 3), .type = (enum wire_type)(tag & 7)};
    switch (ret->type) {
    case WIRE_VARINT:
        good = read_varint(r, &ret->value);
        break;
    case WIRE_64:
        good = read_fixed(r, 8, &ret->value);
        break;
    case WIRE_32:
        good = read_fixed(r, 4, &ret->value);
        break;
    case WIRE_BYTES:
        good = read_bytes(r, &ret->bytes);
        break;
    default:
        good = false; /* groups: never used by Kubernetes */
    }
    return good ? 1 : malformed(err);
}

static bool has_format(const struct schema *s, const char *format)
{
    return s->format && streq(s->format, format);
}

/* --- Values --- */

/* A text that JSON can hold: yyjson checks UTF-8 only when it writes, so it is checked here. */
static int text_value(yyjson_mut_doc *d, struct reader b, yyjson_mut_val **ret, struct gw_error *err)
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

static yyjson_mut_val *bytes_value(yyjson_mut_doc *d, struct reader b)
{
    _cleanup_free_ char *text = base64_encode(b.at, (size_t)(b.end - b.at));

    return yyjson_mut_strcpy(d, text);
}

/* The small messages that JSON writes as one value: their fields 1 to 3. */
struct small {
    uint64_t numbers[4];
    struct reader texts[4];
};

static int read_small(struct reader b, struct small *ret, struct gw_error *err)
{
    struct field f;
    int r;

    *ret = (struct small){0};
    while ((r = next_field(&b, &f, err)) > 0) {
        if (f.number > 3)
            continue;
        ret->numbers[f.number] = f.value;
        ret->texts[f.number] = f.bytes;
    }
    return r;
}

static int time_value(yyjson_mut_doc *d, const struct schema *s, struct reader b, yyjson_mut_val **ret,
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

static int quantity_value(yyjson_mut_doc *d, struct reader b, yyjson_mut_val **ret, struct gw_error *err)
{
    struct small m;
    int r = read_small(b, &m, err);

    return r < 0 ? r : text_value(d, m.texts[1], ret, err);
}

static int int_or_string_value(yyjson_mut_doc *d, struct reader b, yyjson_mut_val **ret, struct gw_error *err)
{
    struct small m;
    int r = read_small(b, &m, err);

    if (r < 0 || m.numbers[1] == 1)
        return r < 0 ? r : text_value(d, m.texts[3], ret, err);
    *ret = yyjson_mut_sint(d, (int64_t)m.numbers[2]);
    return 0;
}

static int message_value(yyjson_mut_doc *d, const struct schema *s, struct reader b, unsigned depth,
                         yyjson_mut_val **ret, struct gw_error *err);

static int string_value(yyjson_mut_doc *d, const struct schema *s, struct reader b, yyjson_mut_val **ret,
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

static int number_value(yyjson_mut_doc *d, const struct schema *s, const struct field *f, yyjson_mut_val **ret)
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
static int list_value(yyjson_mut_doc *d, const struct schema *s, struct reader b, unsigned depth, yyjson_mut_val **ret,
                      struct gw_error *err);

/* *ret NULL: absent. A field whose wire type does not fit its schema is malformed. */
static int field_value(yyjson_mut_doc *d, const struct schema *s, const struct field *f, unsigned depth,
                       yyjson_mut_val **ret, struct gw_error *err)
{
    bool scalar = s->type == SCHEMA_INTEGER || s->type == SCHEMA_NUMBER || s->type == SCHEMA_BOOLEAN;

    *ret = NULL;
    if (scalar != (f->type != WIRE_BYTES))
        return malformed(err);
    switch (s->type) {
    case SCHEMA_STRING:
        return string_value(d, s, f->bytes, ret, err);
    case SCHEMA_INT_OR_STRING:
        return int_or_string_value(d, f->bytes, ret, err);
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

static int list_value(yyjson_mut_doc *d, const struct schema *s, struct reader b, unsigned depth, yyjson_mut_val **ret,
                      struct gw_error *err)
{
    yyjson_mut_val *list = yyjson_mut_arr(d);
    struct field f;
    int r = 0;

    while (r >= 0 && (r = next_field(&b, &f, err)) > 0) {
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

static const struct property *property_of(const struct schema *s, unsigned number)
{
    for (size_t i = 0; i < s->n_properties; i++)
        if (s->properties[i].protobuf == number)
            return &s->properties[i];
    return NULL;
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
static int add_packed(yyjson_mut_doc *d, const struct schema *item, struct reader b, yyjson_mut_val *list,
                      struct gw_error *err)
{
    while (b.at < b.end) {
        struct field f = {.type = WIRE_VARINT};
        yyjson_mut_val *v = NULL;

        if (!read_varint(&b, &f.value))
            return malformed(err);
        number_value(d, item, &f, &v);
        yyjson_mut_arr_append(list, v);
    }
    return 0;
}

static int add_item(yyjson_mut_doc *d, const struct property *p, const struct field *f, unsigned depth,
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
static int add_entry(yyjson_mut_doc *d, const struct property *p, const struct field *f, unsigned depth,
                     yyjson_mut_val *object, struct gw_error *err)
{
    yyjson_mut_val *map = container(d, object, p->name, yyjson_mut_obj), *key = NULL, *value = NULL;
    struct reader b = f->bytes;
    struct field part;
    int r = f->type == WIRE_BYTES ? 0 : malformed(err);

    while (r == 0 && (r = next_field(&b, &part, err)) > 0) {
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

static int add_field(yyjson_mut_doc *d, const struct property *p, const struct field *f, unsigned depth,
                     yyjson_mut_val *object, struct gw_error *err)
{
    yyjson_mut_val *v = NULL;
    int r;

    if (p->schema->type == SCHEMA_ARRAY)
        return add_item(d, p, f, depth, object, err);
    if (p->schema->type == SCHEMA_OBJECT && p->schema->additional)
        return add_entry(d, p, f, depth, object, err);
    r = field_value(d, p->schema, f, depth, &v, err);
    if (r == 0 && v)
        yyjson_mut_obj_put(object, yyjson_mut_strcpy(d, p->name), v);
    return r;
}

static int message_value(yyjson_mut_doc *d, const struct schema *s, struct reader b, unsigned depth,
                         yyjson_mut_val **ret, struct gw_error *err)
{
    yyjson_mut_val *object = yyjson_mut_obj(d);
    struct field f;
    int r;

    if (depth > DEPTH_MAX)
        return gw_error_set(err, GW_BAD_REQUEST, "the protobuf body is nested too deeply");
    while ((r = next_field(&b, &f, err)) > 0) {
        const struct property *p = property_of(s, f.number);

        r = p ? add_field(d, p, &f, depth, object, err) : 0;
        if (r < 0)
            return r;
    }
    *ret = object;
    return r;
}

/* --- Bodies --- */

static const char magic[4] = {'k', '8', 's', '\0'};

bool protobuf_is_envelope(const void *data, size_t len)
{
    return len >= sizeof(magic) && memcmp(data, magic, sizeof(magic)) == 0;
}

static int copy_text(struct reader b, char *buf, size_t size, struct gw_error *err)
{
    size_t len = (size_t)(b.end - b.at);

    if (len >= size || memchr(b.at, '\0', len))
        return malformed(err);
    memcpy(buf, b.at, len);
    buf[len] = '\0';
    return 0;
}

static int read_type(struct reader b, struct protobuf_envelope *e, struct gw_error *err)
{
    struct field f;
    int r;

    while ((r = next_field(&b, &f, err)) > 0) {
        if (f.type != WIRE_BYTES)
            continue;
        if (f.number == 1)
            r = copy_text(f.bytes, e->api_version, sizeof(e->api_version), err);
        else if (f.number == 2)
            r = copy_text(f.bytes, e->kind, sizeof(e->kind), err);
        if (r < 0)
            return r;
    }
    return r;
}

static int read_part(const struct field *f, struct protobuf_envelope *e, struct gw_error *err)
{
    if (f->type != WIRE_BYTES)
        return 0;
    switch (f->number) {
    case 1:
        return read_type(f->bytes, e, err);
    case 2:
        e->raw = f->bytes.at;
        e->raw_len = (size_t)(f->bytes.end - f->bytes.at);
        return 0;
    case 3: /* contentEncoding; 4 is contentType, empty or protobuf's */
        return f->bytes.at < f->bytes.end ? gw_error_set(err, GW_BAD_REQUEST, "the protobuf body is encoded once more")
                                          : 0;
    default:
        return 0;
    }
}

int protobuf_open(const void *data, size_t len, struct protobuf_envelope *ret, struct gw_error *err)
{
    struct reader b = {(const uint8_t *)data + sizeof(magic), (const uint8_t *)data + len};
    struct field f;
    int r;

    *ret = (struct protobuf_envelope){.raw = (const uint8_t *)""};
    if (!protobuf_is_envelope(data, len))
        return gw_error_set(err, GW_BAD_REQUEST, "the body does not begin as Kubernetes' protobuf does");
    while ((r = next_field(&b, &f, err)) > 0) {
        r = read_part(&f, ret, err);
        if (r < 0)
            return r;
    }
    return r;
}

int protobuf_decode_message(const struct schema *schema, const uint8_t *data, size_t len, yyjson_mut_doc **ret,
                            struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    yyjson_mut_val *root = NULL;
    int r = message_value(d, schema, (struct reader){data, data + len}, 0, &root, err);

    if (r < 0)
        return r;
    yyjson_mut_doc_set_root(d, root);
    *ret = TAKE_PTR(d);
    return 0;
}

int protobuf_decode(struct kinds *kinds, const void *data, size_t len, yyjson_mut_doc **ret, struct gw_error *err)
{
    struct protobuf_envelope e;
    const struct kind *kind;
    int r = protobuf_open(data, len, &e, err);

    if (r < 0)
        return r;
    kind = kinds_find_object(kinds, e.api_version, e.kind);
    if (!kind && streq(e.kind, "DeleteOptions")) /* is known in every group (apimachinery, AddToGroupVersion) */
        kind = kinds_find_object(kinds, "v1", e.kind);
    if (!kind || !kind->protobuf)
        return gw_error_set(
            err, GW_UNSUPPORTED_MEDIA_TYPE, "%s of %s cannot be sent as protobuf: send application/json",
            *e.kind ? e.kind : "an object without kind", *e.api_version ? e.api_version : "no apiVersion");
    r = protobuf_decode_message(kind->schema, e.raw, e.raw_len, ret, err);
    if (r < 0)
        return r;
    json_set_str(*ret, "/apiVersion", e.api_version);
    json_set_str(*ret, "/kind", e.kind);
    return 0;
}
