/* The nftables rule sets as text (pure). docs/network.md explains them line by line. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "agent/network/ipv4.h"
#include "agent/network/pod_network.h"

#define RULES_POD_TABLE "netdev godwit"
#define RULES_NODE_TABLE "ip godwit"

struct pod_rules {
    uint32_t vm;    /* the VM's address */
    uint32_t guest; /* what the guest takes for its address */
    uint32_t gateway;
    uint32_t pod; /* the pod's own address */
    struct ipv4_cidr vm_cidr;
    const struct pod_port *ports;
    size_t n_ports;
};

/* The whole table of a pod's namespace, for devices eth0 and tap0. Caller frees. */
char *rules_pod(const struct pod_rules *r);

/* The whole table of the node: translation of what leaves the cluster's range and the nodes' own network (NULL where
 * that does not carry VMs' addresses). It replaces an earlier one. Caller frees. */
char *rules_node(struct ipv4_cidr cluster, const struct ipv4_cidr *node_subnet);

/* The 16 bit that, written over zeroes, keep an Internet checksum (RFC 1071) true when `before` becomes `after`. */
uint16_t rules_compensation(uint32_t before, uint32_t after);
