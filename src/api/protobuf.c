#include "api/protobuf.h"

#include <string.h>

#include "api/protobuf_wire.h"
#include "base/str.h"

static const char magic[4] = {'k', '8', 's', '\0'};

bool protobuf_is_envelope(const void *data, size_t len)
{
    return len >= sizeof(magic) && memcmp(data, magic, sizeof(magic)) == 0;
}

static int copy_text(struct wire_reader b, char *buf, size_t size, struct gw_error *err)
{
    size_t len = (size_t)(b.end - b.at);

    if (len >= size || memchr(b.at, '\0', len))
        return wire_malformed(err);
    memcpy(buf, b.at, len);
    buf[len] = '\0';
    return 0;
}

static int read_type(struct wire_reader b, struct protobuf_envelope *e, struct gw_error *err)
{
    struct wire_field f;
    int r;

    while ((r = wire_next(&b, &f, err)) > 0) {
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

static int read_part(const struct wire_field *f, struct protobuf_envelope *e, struct gw_error *err)
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
    struct wire_reader b = {(const uint8_t *)data + sizeof(magic), (const uint8_t *)data + len};
    struct wire_field f;
    int r;

    *ret = (struct protobuf_envelope){.raw = (const uint8_t *)""};
    if (!protobuf_is_envelope(data, len))
        return gw_error_set(err, GW_BAD_REQUEST, "the body does not begin as Kubernetes' protobuf does");
    while ((r = wire_next(&b, &f, err)) > 0) {
        r = read_part(&f, ret, err);
        if (r < 0)
            return r;
    }
    return r;
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
