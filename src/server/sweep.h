/* Objects that nobody deletes and nobody needs for ever: certificate requests, events. */
#pragma once

#include "apiserver/rest.h"

/* Deletes those that are stale at this time, through the API; returns how many. */
size_t sweep_stale(struct rest_server *rest, int64_t wall_ms);

/* An event is kept for an hour after it happened last, as the kube-apiserver's --event-ttl does by default. */
bool event_is_stale(yyjson_val *event, int64_t wall_ms);
