/* The table of ownership.c: who may write which field, in which state of the epoch. */
#pragma once

#include "apiserver/ownership.h"
#include "migration/epoch.h"

#define MIGRATION "/status/migrationState"
#define HANDOVER MIGRATION "/handover"

enum who {
    SOURCE = 1 << 0, /* the agent of sourceNode */
    TARGET = 1 << 1, /* the agent of targetNode */
    OWNER = 1 << 2,  /* the agent of nodeName; before there is one, of the node that the launcher pod is bound to */
    CONTROLLER = 1 << 3,
};

/* A write, and what it looks like as a whole. */
struct change {
    const struct ownership *o;
    yyjson_val *old, *object;
    struct epoch epoch;    /* of old */
    unsigned who;          /* all that the writer is */
    bool claims;           /* the claim appears in this write, and is a good one */
    const char *bad_claim; /* why it is not */
};

static inline bool ownership_is_new(const struct change *c, const char *path)
{
    return !json_at(c->old, path) && json_at(c->object, path);
}

/* 0, or Forbidden with who may write the field at path, and when. */
int ownership_check_field(const struct change *c, const char *path, struct gw_error *err);
