/* Kubernetes' protobuf bodies: "k8s\0" and a runtime.Unknown{1: TypeMeta{1: apiVersion, 2: kind}, 2: raw}. Only
 * decoding: answers are JSON. The message structure follows the schema of the kind by its x-protobuf numbers; fields
 * without a number in the schema are skipped, as protobuf asks. */
#pragma once

#include "api/kind.h"

bool protobuf_is_envelope(const void *data, size_t len);

struct protobuf_envelope {
    char api_version[256];
    char kind[128];
    const uint8_t *raw; /* points into the data */
    size_t raw_len;
};

/* BadRequest when malformed or when its content encoding is not protobuf. */
int protobuf_open(const void *data, size_t len, struct protobuf_envelope *ret, struct gw_error *err);

/* The JSON object with apiVersion and kind. A kind whose file has no `protobuf: true` is UnsupportedMediaType. */
int protobuf_decode(struct kinds *kinds, const void *data, size_t len, yyjson_mut_doc **ret, struct gw_error *err);
/* protobuf_message.c: one message by a schema, without an envelope. */
int protobuf_decode_message(const struct schema *schema, const uint8_t *data, size_t len, yyjson_mut_doc **ret,
                            struct gw_error *err);
