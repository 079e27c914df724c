/* The fields of a message as they lie on the wire (https://protobuf.dev/programming-guides/encoding). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum wire_type { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct wire_reader {
    const uint8_t *at, *end;
};

/* One field as it lies there: a number, or bytes. */
struct wire_field {
    unsigned number;
    enum wire_type type;
    uint64_t value;
    struct wire_reader bytes;
};

/* The field at the reader, which goes behind it. 1: a field; 0: the end; BadRequest when malformed. */
int wire_next(struct wire_reader *r, struct wire_field *ret, struct gw_error *err);

/* One number alone, as packed lists have them; false when there is no whole one. */
bool wire_varint(struct wire_reader *r, uint64_t *ret);

/* The BadRequest of a body that is not as it should be. */
int wire_malformed(struct gw_error *err);
