/* The objects that the server itself sees to at each start. */
#pragma once

#include "apiserver/rest.h"
#include "server/state.h"

/* Makes the initial objects (kinds/initial) that are absent, and leaves alone those that somebody has changed; roles
 * get what they lack (default_roles.h). */
int objects_make_initial(struct rest_server *rest, struct gw_error *err);
