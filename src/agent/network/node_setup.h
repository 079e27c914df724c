/* The node's own network namespace, which is that of the caller. */
#pragma once

#include "agent/network/netlink.h"
#include "base/str.h"

#define NODE_SETUP_TUNNEL "gw.vxlan"
#define NODE_SETUP_TUNNEL_PORT 8473 /* UDP; not 4789 or 8472, which other networks of the same host may use */

/* Sets what forwarding to pods needs on `device` (the one with the node's address) and in general: sysctls, routing
 * rule for packets that arrive, translation of what leaves the cluster (rules_node). Repeatable. Adds a line to notes
 * for each setting that it changed and for each circumstance that it found in the way. */
int node_setup_make(struct netlink *nl, const char *device, struct ipv4_cidr cluster,
                    const struct ipv4_cidr *node_subnet, struct str *notes, struct gw_error *err);

/* The VXLAN device with its address, made when it is not there, and its routing rule. */
int node_setup_tunnel(struct netlink *nl, uint32_t address, int mtu, struct ipv4_cidr cluster, unsigned *ret_index,
                      struct gw_error *err);

/* Removes rules, translation and VXLAN device. */
int node_setup_remove(struct netlink *nl, struct gw_error *err);
