/* metav1.Status, the body of every failed answer, into a gw_error. */
#pragma once

#include "base/error.h"
#include "base/json.h"

/* status may be NULL or anything else (a proxy's page, say): then code alone decides the reason. Returns a negative
 * errno. */
int status_decode(yyjson_val *status, int code, struct gw_error *err);

/* The same from the bytes of a body, of any content. */
int status_decode_body(const char *body, size_t len, int code, struct gw_error *err);
