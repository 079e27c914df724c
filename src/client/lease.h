/* coordination.k8s.io Leases: leader election, and the heartbeat of a node. */
#pragma once

#include "client/client.h"
#include "client/env.h"

struct lease_config {
    const char *ns; /* "kube-system" */
    const char *name;
    const char *identity; /* unique per process */
    int duration_s;       /* how long the holder is believed without a renewal; renewals come every third of it */
};

/* Said on each change. Leadership ends (false) when a renewal did not succeed within two thirds of the duration: before
 * anybody else may take over, as long as clocks run at about the same rate (they need not agree: each candidate counts
 * from when it saw the lease change, as client-go does). */
typedef void (*lease_fn)(void *userdata, bool leading);

struct lease;
/* Tries to become the leader, for ever. Strings are copied. */
struct lease *lease_start(struct env *env, const struct lease_config *cfg, lease_fn fn, void *userdata);
/* Stops; gives a held lease up so that the next one needs not wait (best effort). */
struct lease *lease_stop(struct lease *l);
bool lease_leading(const struct lease *l);
/* spec.leaseTransitions of the lease that we hold: grows with each change of leader. */
int64_t lease_epoch(const struct lease *l);

struct heartbeat;
/* Renews Lease kube-node-lease/NODE every 10 s (first at once), creating it if needed; owned by the Node if node_uid.
 */
struct heartbeat *heartbeat_start(struct env *env, const char *node, const char *node_uid);
struct heartbeat *heartbeat_stop(struct heartbeat *h);
/* Milliseconds (monotonic) of the last renewal that the server acknowledged, 0 for none yet. */
int64_t heartbeat_last_ms(const struct heartbeat *h);
