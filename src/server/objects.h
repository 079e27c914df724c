/* The objects that the server itself sees to at each start. */
#pragma once

#include "apiserver/rest.h"
#include "server/state.h"

/* Makes the initial objects (kinds/initial) that are absent, leaving alone those that somebody has changed, and
 * publishes the authorities' certificates in ConfigMap kube-system/godwit-ca. */
int objects_ensure(struct rest_server *rest, const struct server_state *state, struct gw_error *err);
