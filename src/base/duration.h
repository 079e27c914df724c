/* Lengths of time as Kubernetes writes them (metav1.Duration, which is Go's): "5m0s", "1.5h", "300ms". */
#pragma once

#include "base/error.h"

/* BadRequest when text is none. Beyond 100 years it is 100 years. */
int duration_parse(const char *text, int64_t *ret_ms, struct gw_error *err);
