/* Kernel routes and rules of ours, told from all others by their protocol number. */
#pragma once

#include "agent/network/netlink.h"
#include "base/vec.h"

#define ROUTE_PROTOCOL 71    /* not in rt_protos; RFC-less, as every daemon picks one above RTPROT_STATIC */
#define ROUTE_TABLE_MAIN 254 /* RT_TABLE_MAIN */
#define ROUTE_TABLE_ARRIVING \
    7100 /* for packets that come from other nodes; consulted first by rules of priority 710 \
          */
#define ROUTE_RULE_PRIORITY 710
#define ROUTE_TUNNEL_ID 71 /* VXLAN network identifier */

enum route_kind {
    ROUTE_LINK,      /* straight out of a device */
    ROUTE_VIA,       /* through the gateway on a device */
    ROUTE_TUNNEL,    /* in VXLAN to the gateway, from `tunnel_source` */
    ROUTE_BLACKHOLE, /* silently dropped */
};

struct route {
    struct ipv4_cidr to;
    uint32_t table;
    enum route_kind kind;
    unsigned link;
    uint32_t gateway;
    uint32_t source; /* preferred source of this node's own packets; 0: the kernel's choice */
    uint32_t tunnel_source;
};

VEC_DEFINE(route_vec, struct route);

bool route_same(const struct route *a, const struct route *b);

/* Makes the route, in one message, instead of the one that was there for the same destination and table. */
int route_put(struct netlink *nl, const struct route *r, struct gw_error *err);

/* An absent route is fine. */
int route_delete(struct netlink *nl, const struct route *r, struct gw_error *err);

/* Appends all routes of our protocol, of all tables. */
int route_list(struct netlink *nl, struct route_vec *ret, struct gw_error *err);

/* "Packets that arrive on this device for cidr look into ROUTE_TABLE_ARRIVING first"; -EEXIST is success. */
int rule_put(struct netlink *nl, const char *device, struct ipv4_cidr cidr, struct gw_error *err);

/* Deletes all our rules but those for the named devices (NULL-terminated). */
int rule_prune(struct netlink *nl, const char *const *keep, struct gw_error *err);
