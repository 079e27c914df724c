/* metrics.k8s.io/v1beta1 nodes and pods, for `kubectl top`. Agents send what they measured; the last of it stays in
 * memory for a minute, and is lost with the process. A pod's figures come from the agent of the node it is bound to,
 * whatever other agents say. */
#pragma once

#include "apiserver/rest.h"

struct metrics;

struct metrics *metrics_new(void);
struct metrics *metrics_free(struct metrics *m);

extern const struct rest_extra metrics_extras[];
