/* Live migration on one node: both ends. Registers with the core's pods (agent/pod.h) and does the rest by itself. */
#pragma once

#include "agent/agent.h"

/* What movers share: certificates of the migration authority, the direct channel between agents. */
struct mover_services;

/* Lets the endpoint listen as soon as the authorities are known (a->migration_ca), and hooks into the pods; `listening`
 * is called whenever the endpoint shows another certificate (a->serving_pem). The agent's client must be authenticated
 * as its node. */
int migration_start(struct agent *a, void (*listening)(void *userdata), void *userdata, struct mover_services **ret,
                    struct gw_error *err);
/* The agent trusts others than before: the endpoint follows, and shows a certificate of the one that signs now. */
void migration_authorities_changed(struct mover_services *services);
struct mover_services *migration_stop(struct mover_services *services);
