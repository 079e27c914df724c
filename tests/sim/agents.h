/* Agents as the API sees them, without QEMU: they register a node, renew its lease, and take pods from Pending to Running
 * and, when they are deleted, to their end. State machines over the real client; killed and started again at will. */
#pragma once

#include "sim.h"

struct sim_agent;

struct sim_agent_config {
    const char *cpu, *memory; /* allocatable; "16", "64Gi" */
    const char *labels;       /* more labels of the node, JSON members: "\"zone\":\"a\""; NULL = none */
    int start_ms, stop_ms;    /* how long a pod takes to run, and to end */
};

/* NULL: 16 cpu, 64Gi, 200 ms, 500 ms. The first start registers the node. */
struct sim_agent *sim_agent_start(struct sim *s, const char *node, const struct sim_agent_config *cfg);
/* Killed: what it was doing is forgotten, its node stays registered. Returns NULL. */
struct sim_agent *sim_agent_kill(struct sim_agent *a);
struct env *sim_agent_env(struct sim_agent *a);
/* How many times it took a pod to Running. */
int sim_agent_started_pods(const struct sim_agent *a);
