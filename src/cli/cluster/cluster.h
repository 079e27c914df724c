/* `godwit cluster`: a whole cluster on one machine. Everything it is made of is under its folder:
 *
 *   cluster.json   the plan, written before anything is made
 *   kubeconfig     for kubectl, administrator
 *   server/        the server's data       nodes/NAME/  each agent's state    logs/, run/  logs and pid files
 *   images/        image store of all nodes            shared/      volumes that all nodes reach (class shared)
 *   local/NAME/    volumes of one node (class local) */
#pragma once

#include "base/json.h"
#include "cli/cluster/plan.h"

/* Makes folders, namespaces and links, and notes the plan; from then on its names are taken. */
int cluster_prepare(const struct cluster_plan *p, struct gw_error *err);

/* Then: starts what does not run, and waits until all nodes are Ready; says on stdout how it goes. */
int cluster_up(const struct cluster_plan *p, struct gw_error *err);

/* Ends and removes everything that runs or was mounted; the folder's data stay unless purge. */
int cluster_down(const struct cluster_plan *p, bool purge, struct gw_error *err);

/* Prints a table of processes, nodes and VMs. Returns whether everything is as it should be. */
bool cluster_status(const struct cluster_plan *p);

/* "name  text" in the style of all of `cluster`'s output. */
void cluster_say(const char *name, const char *fmt, ...) _printf_(2, 3);
