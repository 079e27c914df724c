/* From a watch of the API core to a stream of the HTTP server. */
#pragma once

#include "apiserver/watch.h"
#include "http/http_server.h"

/* Takes w over and answers r as a stream of its lines. Called on a worker; sends the initial state, waiting for the
 * reader where it must, and returns; what comes later goes out by itself. */
void feed_start(struct http_request *r, int status, const char *content_type, struct watcher *w);
