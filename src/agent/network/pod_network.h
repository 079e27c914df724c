/* The network of launcher pods on one node: the pod's network namespace, the VM's address and where its packets go.
 *
 * A pod has two addresses. The VM's address belongs to the VM, lives as long as it and moves with it; inside the guest
 * it is seen as the second address of vm_cidr (10.0.2.2), by a stateless 1:1 rewrite. The pod's own address comes from
 * the node's podCIDR and carries migration traffic only. docs/network.md has the packet path.
 *
 * A VM's address on a node is in one of these states:
 *
 *     create -> Holding -activate-> Active -forward-> Forwarding -(all peers know, or a minute)-> Gone
 *                                     ^------activate------'   (hand-over taken back)
 *
 *   Holding     all is in place, nothing is announced or answered; packets that other nodes already send here wait in
 * the tap until the guest runs. This node itself still sends to wherever the address is active. Active      packets go
 * to the guest; the node announces the address with its epoch. Forwarding  packets go to the target node. Belongs to
 * the node, not to the pod: it outlives pod_network_destroy.
 *
 * Everything is named after the pod's uid and noted under run_dir before it is made, so each call can be repeated after
 * the agent was killed at any instant, and leftovers are found (network_pods) and removed (pod_network_destroy).
 * All calls are for one thread; none changes the caller's own namespace. The caller runs in the node's namespace. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/network/address_state.h"
#include "base/error.h"

/* Reserved on the pod's own address (KubeVirt: migration and block migration port). */
#define POD_NETWORK_MIGRATION_PORT 49152
#define POD_NETWORK_BLOCK_PORT 49153
#define POD_NETWORK_PORTS "49152-49153"

#define POD_NETWORK_VM_CIDR "10.0.2.0/24" /* KubeVirt's default vmNetworkCIDR */
#define POD_NETWORK_TAP "tap0"            /* the guest's tap in each pod's namespace */

struct network;

/* What holds for the node. All strings are copied. */
struct network_config {
    const char *node;         /* name of the Node */
    const char *node_address; /* IPv4 address by which peers reach this node; must be on one of its interfaces */
    const char *pod_cidr;     /* Node.spec.podCIDR */
    const char *cluster_cidr; /* holds all podCIDRs and VM addresses; traffic inside is never translated */
    const char *run_dir;      /* absolute; for notes and namespace mounts; kept over agent restarts, not over reboots */
    int mtu;                  /* of pods and guests; 0: that of the node's device less 50, so that VXLAN always fits */
    bool vxlan; /* VXLAN to all peers, even where a direct link is possible (fabrics that check sources) */
};

struct pod_port {
    uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
    uint16_t port;
};

/* What a pod needs. All strings are copied. */
struct pod_network_spec {
    const char *uid;        /* metadata.uid of the Pod */
    const char *vmi;        /* "namespace/name", for people and for NodeNetwork */
    const char *vm_address; /* annotation godwit.io/pod-address */
    const char *vm_cidr;    /* NULL: POD_NETWORK_VM_CIDR; first address is the gateway, second the guest's */
    const char *guest_mac;  /* "52:54:00:ab:cd:ef"; the guest must use it */
    uid_t tap_owner;        /* QEMU's uid: it may open the tap by name without privilege */
    const struct pod_port *ports;
    size_t n_ports; /* 0: all ports; otherwise new inbound TCP and UDP only to these */
};

/* What was made; read-only to callers, valid until pod_network_destroy or network_close. */
struct pod_network {
    char *uid;
    char *vmi;
    char *vm_address;
    char *vm_cidr;
    char *guest_mac;
    char *netns;         /* path of the namespace, for setns */
    char *host_link;     /* the node's end of the veth pair */
    char *pod_address;   /* own address, for migration traffic */
    char *guest_address; /* for DHCP: the guest's, the gateway's (router and DHCP server), prefix length, MTU */
    char *gateway_address;
    unsigned prefix_len;
    int mtu;
    uid_t tap_owner;
    struct pod_port *ports;
    size_t n_ports;
    enum address_state state;
    int64_t epoch;         /* of the VM's address; the higher one wins where two nodes name it */
    char *target_node;     /* Forwarding: where to */
    int64_t forward_until; /* Forwarding: monotonic ms */
    bool destroyed;        /* Forwarding only: the pod's namespace is gone already */
};

/* Brings the node's namespace into shape (sysctls, translation of traffic that leaves the cluster) and reads the notes
 * of an earlier life. The caller ends with network_close, which frees memory and leaves the kernel as it is, or removes
 * everything from the node by network_teardown first (pods, routes, rules, devices; sysctls stay). */
int network_open(const struct network_config *config, struct network **ret, struct gw_error *err);
struct network *network_close(struct network *n);
int network_teardown(struct network *n, struct gw_error *err);

/* Removes what an earlier life left under run_dir, where the node's own namespace is gone together with its devices and
 * routes: the mounts of the pods' namespaces and the notes. */
int network_sweep(const char *run_dir, struct gw_error *err);

/* What was set in the node's namespace and what is missing (a firewall that drops forwarded packets, ...), one line
 * each, for the log; owned by n. */
const char *network_notes(const struct network *n);

/* Whether /dev/vhost-net can be used (the launcher then offers it to QEMU). */
bool network_has_vhost(void);

/* The pods known, also from notes; NULL-terminated, in no order, owned by n, valid until the next create or destroy.
 * Includes Forwarding ones whose pod is gone (destroyed). */
const struct pod_network *const *network_pods(struct network *n);
const struct pod_network *pod_network_find(struct network *n, const char *uid);

/* Makes the pod's network, Holding with epoch 0; one that is already there is completed and keeps its state. Errors
 * name what could not be made; a half-made pod is completed by the next call or removed by destroy. Invalid if
 * vm_address or guest_mac cannot be parsed or vm_address is held by another pod on this node that is not Forwarding. */
int pod_network_create(struct network *n, const struct pod_network_spec *spec, const struct pod_network **ret,
                       struct gw_error *err);

/* Removes namespace, links and rules; an unknown uid is fine. Forwarding goes on. Processes inside should be gone: the
 * namespace itself ends with its last process. */
int pod_network_destroy(struct network *n, const char *uid, struct gw_error *err);

/* The VM's packets go to this pod from now on: one netlink message, then the announcement (network_on_change) follows.
 * epoch is the migration epoch of the hand-over (0 for a first start). Repeating it is harmless. */
int pod_network_activate(struct network *n, const char *uid, int64_t epoch, struct gw_error *err);

/* The VM's packets that reach this node go on to target_node. To be called on the source as soon as the guest has
 * stopped for good; the target may still be Holding. NotFound when target_node has announced itself to nobody yet. */
int pod_network_forward(struct network *n, const char *uid, const char *target_node, struct gw_error *err);

/* Calls fn(data) after each change of what this node should announce; one listener. */
void network_on_change(struct network *n, void (*fn)(void *data), void *data);
