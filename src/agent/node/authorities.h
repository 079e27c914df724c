/* Whom the agent trusts: the authorities of the cluster and of migrations, of which there are two each during a
 * roll-over (docs/security.md). They come from --ca-file at first, and from then on from ConfigMap
 * kube-system/godwit-ca, which is followed; what was read there is kept under STATE/pki for the next start. A --ca-file
 * with other contents than at the last start counts for more than what was kept: an operator has put it there. */
#pragma once

#include "agent/agent.h"

struct node_authorities;

/* Sets a->cluster_ca from the files, before there is a client. */
int authorities_load(struct agent *a, struct gw_error *err);

/* Follows the ConfigMap: sets a->cluster_ca, a->migration_ca and a->migration_trust, and calls changed each time. */
struct node_authorities *authorities_follow(struct agent *a, void (*changed)(void *userdata), void *userdata);
struct node_authorities *authorities_stop(struct node_authorities *na);

/* What the Node's annotation godwit.io/authorities says, as JSON: the fingerprints of those that are trusted, and of
 * those that have signed our certificates. Freed by the caller. */
char *authorities_report(const struct agent *a);
