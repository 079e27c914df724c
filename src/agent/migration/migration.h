/* Live migration on one node: both ends. Registers with the core's pods (agent/pod.h) and does the rest by itself. */
#pragma once

#include "agent/agent.h"

/* What movers share: certificates of the migration authority, the direct channel between agents. */
struct mover_services;

/* Starts the direct channel's server on the configured address and port (serving certificate from the cluster's
 * authority) and hooks into the pods. The agent's client must be authenticated as its node. */
int migration_start(struct agent *a, struct mover_services **ret, struct gw_error *err);
struct mover_services *migration_stop(struct mover_services *services);
