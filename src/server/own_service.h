/* Service, Endpoints and EndpointSlice default/kubernetes: the API server itself, for clients that look for it there
 * (kubectl cluster-info, and whoever asks where the API is). The service has no address of its own: what leads to the
 * server is its endpoint. */
#pragma once

#include <stdint.h>

#include "apiserver/rest.h"

/* Makes them, or corrects their endpoint. address: an IP address, or a name (then only the slice has it). */
int own_service_ensure(struct rest_server *rest, const char *address, uint16_t port, struct gw_error *err);

/* Makes one of the three again, as it was before somebody deleted it. Others are left alone. */
int own_service_restore(struct rest_server *rest, yyjson_val *object, struct gw_error *err);
