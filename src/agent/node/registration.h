/* Keeps this node's Node object and its Lease: created if absent, metadata and status written at start and every
 * minute. */
#pragma once

#include "agent/agent.h"

struct registration;

/* Called once, when the Node is there with a podCIDR; pod_cidr lives until the callback returns. */
typedef void (*registration_ready_fn)(void *userdata, const char *pod_cidr);

struct registration *registration_start(struct agent *a, registration_ready_fn ready, void *userdata);
/* What the Node says has changed: it is written now, not in a minute. */
void registration_refresh(struct registration *r);

struct registration *registration_stop(struct registration *r);
