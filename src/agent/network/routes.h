/* Which routes a node needs (pure), from what all nodes announce and from its own addresses. */
#pragma once

#include "agent/network/node_view.h"
#include "agent/network/routing.h"

struct local_address {
    uint32_t address;
    enum address_state state; /* Gone ones are ignored */
    int64_t epoch;
    unsigned link;           /* the node's end of the pod's veth; 0 when the pod is gone */
    const char *target_node; /* of Forwarding */
    uint32_t pod_address;    /* 0 when the pod is gone */
};

VEC_DEFINE(local_vec, struct local_address);

struct routes_input {
    const char *node;
    uint32_t node_address;
    struct ipv4_cidr subnet; /* of the node's own device: peers inside are reached directly */
    struct ipv4_cidr pod_cidr;
    unsigned underlay, tunnel; /* device indexes; tunnel 0: there is none yet */
    bool vxlan;                /* this node wants VXLAN even where a direct link is possible */
    struct local_vec locals;
    const struct node_view_vec *peers; /* without the own node */
};

/* The node's own address on its VXLAN device: the first of its podCIDR. Pods get the following ones. */
uint32_t routes_tunnel_address(struct ipv4_cidr pod_cidr);

/* Whether a peer has to be reached through VXLAN: one of both wants it, or its address is not on our link. */
bool routes_is_tunnelled(const struct routes_input *in, const struct node_view *peer);
bool routes_need_tunnel(const struct routes_input *in);

/* The route by which packets for `to` reach a peer. */
struct route routes_to_peer(const struct routes_input *in, const struct node_view *peer, struct ipv4_cidr to,
                            uint32_t table);
/* The route into a pod on this node. */
struct route routes_to_pod(const struct routes_input *in, unsigned link, uint32_t address, uint32_t table);

/* All routes that this node should have, in no order, none twice. */
void routes_decide(const struct routes_input *in, struct route_vec *ret);

/* Whether every peer but the target itself has routes that know the address on target_node with more than this epoch
 * (or the target is gone from the list with nobody left to tell): forwarding can end. */
bool routes_all_know(const struct node_view_vec *peers, const char *target_node, uint32_t address, int64_t epoch);

/* What to change to get from one set of routes to another: `put` before `remove`. Sorts both sets. */
void routes_diff(struct route_vec *have, struct route_vec *want, struct route_vec *put, struct route_vec *remove);

/* The lowest free address of the podCIDR for a pod; 0 when all are used. used: n addresses in any order. */
uint32_t routes_pick_address(struct ipv4_cidr pod_cidr, const uint32_t *used, size_t n);
