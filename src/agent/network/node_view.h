/* What one node says of itself in its NodeNetwork object (godwit.io/v1alpha1), as a plain value; and its JSON. */
#pragma once

#include "agent/network/ipv4.h"
#include "agent/network/pod_network.h"
#include "base/json.h"
#include "base/vec.h"

struct announced_address {
    uint32_t address;
    char *vmi;
    int64_t epoch;
    enum address_state state; /* Active or Forwarding */
};

struct observed_peer {
    char *node;
    int64_t serial;
};

VEC_DEFINE(announced_vec, struct announced_address);
VEC_DEFINE(observed_vec, struct observed_peer);

struct node_view {
    char *node;
    uint32_t node_address;
    struct ipv4_cidr pod_cidr; /* len 0: not said */
    bool vxlan;                /* spec.link */
    int64_t serial;
    struct announced_vec addresses;
    struct observed_vec observed;
};

VEC_DEFINE(node_view_vec, struct node_view);

void node_view_done(struct node_view *v);
void node_views_done(struct node_view_vec *v);

const struct node_view *node_view_find(const struct node_view_vec *v, const char *node);
/* The serial up to which v has followed `node`; -1 when it has not. */
int64_t node_view_observed(const struct node_view *v, const char *node);
const struct announced_address *node_view_address(const struct node_view *v, uint32_t address);

/* Reads a NodeNetwork. Invalid when it has no name or no usable nodeAddress; single addresses that cannot be read are
 * left out. */
int node_view_read(yyjson_val *object, struct node_view *ret, struct gw_error *err);

/* "spec" and "status" of a NodeNetwork, each at the path given. */
void node_view_write_spec(const struct node_view *v, yyjson_mut_doc *doc, const char *path);
void node_view_write_status(const struct node_view *v, yyjson_mut_doc *doc, const char *path);
