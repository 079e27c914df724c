/* The roles that the server itself sees to. */
#pragma once

#include "apiserver/rest.h"

/* Adds to an object of kinds/initial that is there already what this version has more: rules, subjects, labels,
 * annotations. Nothing is taken away or overwritten, and nothing is done to one whose annotation
 * rbac.authorization.kubernetes.io/autoupdate is "false" (Kubernetes: registry/rbac/reconciliation). */
int default_role_complete(struct rest_server *rest, const struct kind *kind, yyjson_val *wanted, struct gw_error *err);

/* Gives each ClusterRole with an aggregationRule the rules that flow together in it. Level-triggered: to be called
 * after any change of a ClusterRole. */
int roles_aggregate(struct rest_server *rest, struct gw_error *err);

/* Makes the ServiceAccount "default" of a namespace if it is absent; nothing in a namespace that is ending. */
int default_account_ensure(struct rest_server *rest, const char *namespace, struct gw_error *err);
