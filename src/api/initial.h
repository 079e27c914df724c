/* The objects that the server makes at its first start (kinds/initial). */
#pragma once

#include "api/yaml.h"

/* All of them, each with apiVersion, kind and metadata, in the order in which they are to be made. Some carry a status,
 * to be written after creation. */
int initial_objects(struct yaml_docs *ret, struct gw_error *err);
