/* Notes on disk of the pods of a node: one JSON file per pod, so that a new life of the agent knows what it has made.
 * They are replaced by rename but not synced: what they describe does not survive a power cut either. */
#pragma once

#include "agent/network/pod_network.h"

int pod_note_write(const char *folder, const struct pod_network *p, struct gw_error *err);
int pod_note_remove(const char *folder, const char *uid, struct gw_error *err);

/* Calls fn for each note in the folder; fn owns the pod. A note that cannot be read comes with its uid alone. */
int pod_note_each(const char *folder, void (*fn)(void *data, struct pod_network *p), void *data, struct gw_error *err);

struct pod_network *pod_network_free(struct pod_network *p);
DEFINE_CLEANUP(struct pod_network *, pod_network_free)
