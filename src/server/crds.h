/* CustomResourceDefinitions as they come and go: into the registry of kinds, and out of it. */
#pragma once

#include "apiserver/rest.h"

/* Serves what crd (a whole object) defines, and says so in its conditions. A definition that can't be served is left
 * with the condition NamesAccepted=False and the reason. */
void crds_take(struct rest_server *rest, yyjson_val *crd);

/* The definition is gone: stops serving the kind, and removes what was made after the controllers saw none left. */
void crds_drop(struct rest_server *rest, yyjson_val *crd);
