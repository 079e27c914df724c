/* The controllers that run inside the server: a table, and their start. */
#pragma once

#include "controllers/controller.h"
#include "server/front.h"

/* NULL-terminated. */
extern const struct controller *const server_controllers[];

/* Starts them as clients of this very server (loopback.h), on a thread of their own. They must be joined before http is
 * freed. */
int server_controllers_start(struct front *front, struct http_server *http, struct controllers_thread **ret,
                             struct gw_error *err);
