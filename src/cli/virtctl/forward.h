/* Local connections that are channels to a guest: port-forward's and vnc's. */
#pragma once

#include "cli/virtctl/virtctl.h"

struct api_channel;

/* Listens on an IPv4 address; *port 0 takes a free one, and gets its number. */
int forward_listen(const char *address, int *port, int *ret_fd, struct gw_error *err);

/* Moves bytes between a connected socket and a channel until either ends; closes and frees both. */
void forward_join(int fd, struct api_channel *ch);
