/* VM addresses: one for each VirtualMachineInstance with a pod network, for its life, from a range that no node hands
 * out.
 *
 * Nothing is kept but what is on its way to the server: an address is in use if a VMI or a pod has it in its
 * annotation, or a node announces it. The search begins at a place that follows from the VMI's uid, so that an address
 * that was just given up is not used again at once: some node may still have a route for it. */
#pragma once

#include "controllers/controller.h"

/* The cluster's range 10.244.0.0/16 has two halves: podCIDRs of nodes come from the lower, VM addresses from the upper.
 */
#define CLUSTER_CIDR "10.244.0.0/16"
#define NODES_CIDR "10.244.0.0/17"
#define VMS_CIDR "10.244.128.0/17"

/* The index by which VMIs, pods and NodeNetworks are found (value: address). */
#define INDEX_ADDRESS "address"
void index_annotated_address(yyjson_val *obj, struct index_values *out);
void index_announced_addresses(yyjson_val *node_network, struct index_values *out);

struct addresses;
struct addresses *addresses_new(void);
struct addresses *addresses_free(struct addresses *a);

/* A free address for the VMI with this key and uid, reserved until the key is forgotten. NULL if there is none left.
 * The text belongs to a. */
const char *addresses_pick(struct addresses *a, struct task *t, const char *key, const char *uid);
/* The key's reservation is in the cache by now, or came to nothing. */
void addresses_forget(struct addresses *a, const char *key);

/* Whether the VMI has an interface on the pod network. */
bool vmi_has_pod_network(yyjson_val *vmi);
