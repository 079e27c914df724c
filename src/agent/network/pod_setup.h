/* The kernel's side of one pod's network: namespace, devices, addresses and rules. Knows no states and no routes. */
#pragma once

#include "agent/network/ipv4.h"
#include "agent/network/netlink.h"
#include "agent/network/pod_network.h"

#define POD_SETUP_LINK_PREFIX "gw-"

/* The name of the node's end of the pod's veth pair, from the uid. Caller frees. */
char *pod_setup_link_name(const char *uid);

/* Makes what is missing of p->netns, p->host_link and all inside. *ret_link: index of the node's end. */
int pod_setup_make(struct netlink *nl, const struct pod_network *p, unsigned *ret_link, struct gw_error *err);

/* Removes all of it; what is not there is fine. */
int pod_setup_remove(struct netlink *nl, const char *netns, const char *host_link, struct gw_error *err);
