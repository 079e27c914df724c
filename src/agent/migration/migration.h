/* Live migration on one node: both ends. Registers with the core's pods (agent/pod.h) and does the rest by itself. */
#pragma once

#include "agent/agent.h"

/* What movers share: certificates of the migration authority, the direct channel between agents. */
struct mover_services;

/* Lets the endpoint listen (serving certificate from the cluster's authority; then `listening` is called), and hooks
 * into the pods. The agent's client must be authenticated as its node. */
int migration_start(struct agent *a, void (*listening)(void *userdata), void *userdata, struct mover_services **ret,
                    struct gw_error *err);
struct mover_services *migration_stop(struct mover_services *services);
