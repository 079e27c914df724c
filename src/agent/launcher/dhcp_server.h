/* The DHCP server on an interface of the current network namespace: a packet socket that sees UDP port 67 only. */
#pragma once

#include "agent/launcher/loop.h"
#include "agent/launcher/spec.h"

struct dhcp_server;

/* The interface must be there. */
int dhcp_server_start(struct loop *loop, const struct dhcp_config *config, struct dhcp_server **ret,
                      struct gw_error *err);
