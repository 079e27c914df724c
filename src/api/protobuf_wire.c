#include "api/protobuf_wire.h"

bool wire_varint(struct wire_reader *r, uint64_t *ret)
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

static bool read_fixed(struct wire_reader *r, size_t n, uint64_t *ret)
{
    *ret = 0;
    if ((size_t)(r->end - r->at) < n)
        return false;
    for (size_t i = 0; i < n; i++)
        *ret |= (uint64_t)r->at[i] << (8 * i);
    r->at += n;
    return true;
}

static bool read_bytes(struct wire_reader *r, struct wire_reader *ret)
{
    uint64_t len;

    if (!wire_varint(r, &len) || len > (uint64_t)(r->end - r->at))
        return false;
    *ret = (struct wire_reader){r->at, r->at + len};
    r->at += len;
    return true;
}

int wire_malformed(struct gw_error *err)
{
    return gw_error_set(err, GW_BAD_REQUEST, "the protobuf body is malformed");
}

int wire_next(struct wire_reader *r, struct wire_field *ret, struct gw_error *err)
{
    uint64_t tag;
    bool good;

    if (r->at == r->end)
        return 0;
    if (!wire_varint(r, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
        return wire_malformed(err);
    *ret = (struct wire_field){.number = (unsigned)(tag >> 3), .type = (enum wire_type)(tag & 7)};
    switch (ret->type) {
    case WIRE_VARINT:
        good = wire_varint(r, &ret->value);
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
    return good ? 1 : wire_malformed(err);
}
