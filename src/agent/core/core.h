/* The core of the agent: every launcher pod bound to this node, from its binding to its end. */
#pragma once

#include "agent/agent.h"

/* Before anybody adds hooks (agent/pod.h). */
void core_prepare(struct agent *a);

/* Takes over what runs already (STATE/pods), then follows the server's pods. a->client, env, events, network and qemu
 * must be there, and all hooks added. */
int core_start(struct agent *a, struct gw_error *err);

/* Frees everything and leaves all pods running. */
void core_stop(struct agent *a);
