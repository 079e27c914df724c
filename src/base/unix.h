/* Unix stream sockets by path, of any length: a path that does not fit into sun_path (108 bytes) is reached through a
 * descriptor of its folder. All descriptors are close-on-exec and non-blocking. */
#pragma once

#include <sys/types.h>

#include "base/error.h"

/* A connected socket, or a negative errno (-ENOENT, -ECONNREFUSED: nobody listens yet). Never blocks: -EAGAIN when the
 * listener's backlog is full. */
int unix_connect(const char *path);

/* A listening socket; a stale file at path is replaced. Returns the descriptor or a negative errno with err filled. */
int unix_listen(const char *path, mode_t mode, struct gw_error *err);
