/* The controllers that run inside the server: a table, and their start. */
#pragma once

#include "controllers/controller.h"
#include "server/state.h"

/* NULL-terminated. */
extern const struct controller *const server_controllers[];

/* Starts them as clients of this very server, on a thread of their own. *ret is NULL when there are none. */
int server_controllers_start(struct server_state *state, uint16_t port, struct controllers_thread **ret,
                             struct gw_error *err);
