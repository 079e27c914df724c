/* From method and path to what is asked for. */
#pragma once

#include "apiserver/rest.h"
#include "http/uri.h"

/* Fills ret (without kind) from a resource path; its texts point into uri. -ENOENT when the path is none of the
 * resource API's, -ENOTSUP (MethodNotAllowed) for a method that no resource has there. */
int route_target(const char *method, const struct http_uri *uri, struct rest_target *ret, struct gw_error *err);
