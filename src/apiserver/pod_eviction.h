/* The eviction of a pod: policy/v1 Eviction, posted to pods/NAME/eviction of the core group or of policy. */
#pragma once

#include "apiserver/rest.h"

/* A rest_extra's handler. 201 when the pod ends, 429 while a VM is in the way. */
int pod_evict(struct rest_server *s, const struct api_request *q, const struct rest_target *t,
              struct api_response *response, struct gw_error *err);
