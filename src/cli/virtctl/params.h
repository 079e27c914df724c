/* Values of options that have parts: "src:registry/disk:1,name:root,bootorder:1" (virtctl 1.8,
 * pkg/virtctl/create/params).
 */
#pragma once

#include <stddef.h>

#include "base/error.h"

/* Reads text, given to an option, into values: one for each key (the last NULL), NULL where it has none. Cuts text, to
 * which the values belong. */
int params_read(const char *option, char *text, const char *const *keys, const char **values, struct gw_error *err);
