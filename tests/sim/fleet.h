/* All agents of a large cluster in one process: each launcher pod is a state machine that decides by the very functions of
 * the real agents (migration/source.h, target.h), over the real client. Their QEMUs are a few booleans. Pods are bound here
 * too, at random, never two of a VM to the same node.
 *
 * It fails the test as soon as a guest runs twice. */
#pragma once

#include "sim.h"

struct fleet;

struct fleet_config {
    int nodes;          /* "n000" and so on; made by fleet_new */
    int copy_ms[2];     /* how long a copy takes: from, to */
    /* per mille */
    int target_fails;   /* of the target pods do not start */
    int copy_fails;     /* of the copies break */
    int target_dies;    /* of the waiting QEMUs are killed in a copy */
    int source_dies;    /* of the sending QEMUs are killed: the guest is lost */
    int agent_restarts; /* of the looks at a pod find a restarted agent */
};

struct fleet *fleet_new(struct sim *s, const struct fleet_config *cfg);
struct fleet *fleet_free(struct fleet *f);

/* Cordons a node, or ends that. Nothing is bound to a cordoned one. */
void fleet_cordon(struct fleet *f, int node, bool on);

/* Guests that run; that were lost because their running QEMU was killed; agents' restarts. */
size_t fleet_running(const struct fleet *f);
size_t fleet_lost(const struct fleet *f);
size_t fleet_restarts(const struct fleet *f);
