/* All controllers of nodes, pods, garbage and volumes in one simulated process, and agents. */
#pragma once

#include "agents.h"

#define CONFIGMAPS "/api/v1/namespaces/default/configmaps"
#define PODS "/api/v1/namespaces/default/pods"
#define NODES "/api/v1/nodes"

#define CLUSTER_AGENTS 300 /* at most */

struct cluster {
    struct sim *s;
    struct env *env;
    struct controllers *cs;
    struct sim_agent *agents[CLUSTER_AGENTS];
    int n_agents;
};

/* A network without faults, and one that loses, cuts, repeats and delays. */
extern const struct sim_config cluster_calm, cluster_rough;

/* Controllers and so many agents, which have joined. */
struct cluster *cluster_new(const struct sim_config *cfg, int agents);
void cluster_free(struct cluster *c);

void cluster_start_controllers(struct cluster *c);
/* In the middle of whatever they do. */
void cluster_kill_controllers(struct cluster *c);

/* The name of the i-th agent's node; buf holds 16. */
void cluster_node_name(int i, char *buf);

/* The string at path of an object, "" if there is none; good for the next three calls. */
const char *cluster_str(struct cluster *c, const char *target, const char *path);

/* A launcher pod as controllers make them; the VMI behind it is only a ConfigMap, which stays. */
void cluster_pod(struct cluster *c, const char *name, const char *spec, const char *requests);
