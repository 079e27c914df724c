/* What the server can do, told to its clients: /api and /apis (legacy and aggregated discovery), /openapi, /version.
 * All of it follows from the registered kinds and from the extras of the REST core. */
#pragma once

#include "apiserver/rest.h"

struct discovery;

/* server must outlive it. */
struct discovery *discovery_new(struct rest_server *server);
struct discovery *discovery_free(struct discovery *d);
DEFINE_CLEANUP(struct discovery *, discovery_free)

/* Answers the request if its path is one of discovery's; false (and nothing done) if it is another's. Any thread. */
bool discovery_handle(struct discovery *d, const struct api_request *request, struct api_response *response);
