/* The inside of `struct network`. Each of these uses those before it: state.c (what is known), switch.c (addresses and
 * routes), pod_network.c (pods), network.c (the whole), node_network.c (the peers). */
#pragma once

#include <net/if.h>

#include "agent/network/netlink.h"
#include "agent/network/node_view.h"
#include "agent/network/pod_network.h"
#include "agent/network/routes.h"
#include "base/map.h"
#include "base/str.h"

#define NETWORK_FORWARD_MS 60000 /* how long a source forwards at most */

struct network {
    char *node;
    char *netns_dir, *notes_dir;
    char device[IF_NAMESIZE]; /* that has the node's address */
    unsigned underlay, tunnel;
    uint32_t node_address;
    struct ipv4_cidr subnet, pod_cidr, cluster;
    int mtu;
    bool vxlan;
    struct netlink *nl;
    struct map *pods;                /* uid -> struct pod_network */
    const struct pod_network **list; /* for network_pods */
    struct node_view_vec peers;
    bool followed;                /* peers are known, not only empty as at the start */
    struct observed_vec observed; /* what this node has followed */
    int64_t serial;               /* of its own announcement */
    struct str notes;
    void (*on_change)(void *data);
    void *on_change_data;
};

/* Takes over the peers as they are now (views is emptied), makes the kernel's routes agree, ends forwarding that is no
 * longer needed and records what was followed. now: monotonic ms. On failure nothing is recorded: call again. */
int network_update(struct network *n, struct node_view_vec *views, int64_t now, struct gw_error *err);

/* The same with the peers as they were. Returns 0 or a negative errno. */
int network_sync(struct network *n, int64_t now, struct gw_error *err);

/* When the next forwarding ends at the latest; -1 when none is going on. Then network_sync is due. */
int64_t network_deadline(const struct network *n);

/* What this node announces and has observed. Serial: n->serial. Caller frees with node_view_done. */
void network_announcement(const struct network *n, struct node_view *ret);

/* Something to announce has changed: a new serial, greater than `at_least`, and the listener hears of it. */
void network_changed(struct network *n, int64_t at_least);

/* Index of the node's end of the pod's pair; 0 when it is not there. */
unsigned network_pod_link(const struct network *n, const struct pod_network *p);

/* The mutable form of pod_network_find. */
struct pod_network *network_pod(const struct network *n, const char *uid);
/* Forgets a pod and its note. */
int network_forget(struct network *n, const char *uid, struct gw_error *err);
