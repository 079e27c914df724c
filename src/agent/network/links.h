/* Network devices, their addresses and neighbours, by rtnetlink. All act in the namespace of nl, are idempotent where
 * they can be, and return 0 or a negative errno with err filled. */
#pragma once

#include <stdbool.h>

#include "agent/network/netlink.h"

struct link_info {
    unsigned index;
    int mtu;
    bool up;
};

/* -ENODEV when there is none. err may be NULL. */
int link_find(struct netlink *nl, const char *name, struct link_info *ret, struct gw_error *err);

/* Names of all devices that begin with prefix, NULL-terminated; the caller frees each and the array. */
int link_list(struct netlink *nl, const char *prefix, char ***ret, struct gw_error *err);

/* A veth pair in one step: `name` here and `peer_name` in the namespace of netns_fd, both with the given hardware
 * address and without ARP (see pod_setup.c); both are down. -EEXIST when one of the names is taken. */
int link_add_veth(struct netlink *nl, const char *name, const char *peer_name, int netns_fd, const uint8_t mac[6],
                  int mtu, struct gw_error *err);

/* A VXLAN device that carries IP packets (Generic Protocol Extension) to where each route says; see routing.h. */
int link_add_vxlan(struct netlink *nl, const char *name, uint16_t udp_port, int mtu, struct gw_error *err);

/* mac NULL and mtu 0: left as they are. */
int link_up(struct netlink *nl, unsigned index, const uint8_t *mac, int mtu, struct gw_error *err);

/* An absent device is fine. */
int link_delete(struct netlink *nl, const char *name, struct gw_error *err);

/* Adds an address; being there already is fine. */
int link_add_address(struct netlink *nl, unsigned index, uint32_t address, uint8_t len, struct gw_error *err);

/* The device that has `address`, and the subnet it is configured with there. -EADDRNOTAVAIL when none has. */
int link_with_address(struct netlink *nl, uint32_t address, unsigned *ret_index, struct ipv4_cidr *ret_subnet,
                      struct gw_error *err);

/* "eth0"; buf holds IF_NAMESIZE. -ENODEV when there is none. */
int link_name(struct netlink *nl, unsigned index, char *buf, int *ret_mtu, struct gw_error *err);

/* A permanent neighbour entry, made or replaced. */
int neighbour_put(struct netlink *nl, unsigned index, uint32_t address, const uint8_t mac[6], struct gw_error *err);
