/* Options of the node controller. */
#pragma once

#include <stdint.h>

struct node_options {
    const char *cluster_cidr; /* nodes get their podCIDR from here; default NODES_CIDR (addresses.h) */
    int node_mask;            /* prefix length of a podCIDR; default 24 */
    int64_t grace_ms;         /* silence after which a node counts as unreachable; default 40 s */
};
