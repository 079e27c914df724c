/* The namespaces and links of a local cluster, made and removed by ip(8) and tc(8). Both can be repeated at any time:
 * making completes what is there, removing takes away what is left. */
#pragma once

#include "cli/cluster/plan.h"

int cluster_network_up(const struct cluster_plan *p, struct gw_error *err);
int cluster_network_down(const struct cluster_plan *p, struct gw_error *err);

/* Whether another cluster, or anything else on this host, already has the plan's names or addresses. */
bool cluster_network_taken(const struct cluster_plan *p);

/* Where ip(8) keeps a named namespace; freed by the caller. */
char *cluster_ns_path(const char *ns);
