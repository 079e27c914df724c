/* Who may write which field of a VirtualMachineInstance while its guest moves: the rules of docs/handover.md, section
 * 2, held against agents (also one whose certificate was stolen) and, where they bind them, against the controllers. A
 * pure comparison of two versions of the object, with what is stored of others where the rules ask for it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

struct pki_trust;

struct ownership {
    const char *node; /* the agent's node; NULL: the controllers */
    bool pod_here;    /* a launcher pod of the VMI is bound to that node; counts until there is a nodeName */
    const struct pki_trust *migration_trust; /* for proofs of grants; NULL: none is accepted */
    int64_t wall_ms;
    /* An object of the core group as it is stored, NULL if it is absent; negative if that cannot be known. What it
     * gives lives as long as data says. NULL: nothing can be known. */
    int (*read)(void *data, const char *kind, const char *namespace, const char *name, yyjson_val **ret);
    void *data;
};

/* 0, or -EPERM with Forbidden: the first field that may not be written so, and who may when. */
int ownership_check(const struct ownership *o, yyjson_val *old, yyjson_val *object, struct gw_error *err);
