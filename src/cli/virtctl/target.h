/* What a connection goes to: "vmi/NAME" or "vm/NAME/NAMESPACE". */
#pragma once

#include "base/error.h"

struct target {
    const char *kind;      /* "vm" or "vmi" */
    const char *name, *ns; /* ns: NULL if the text has none */
};

/* Cuts text, to which the names then belong. */
int target_read(char *text, struct target *ret, struct gw_error *err);
