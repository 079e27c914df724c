/* The state of a migration's epoch, as the VMI's status shows it (docs/handover.md, sections 1 and 3). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

enum epoch_state {
    EPOCH_NONE,     /* never migrated */
    EPOCH_OPEN,     /* handed to the agents; the source owns the guest */
    EPOCH_GRANTED,  /* the source gave the guest away; the target may run it */
    EPOCH_RETURNED, /* the target destroyed its copy and never ran it */
    EPOCH_CLAIMED,  /* settled: the target owns the guest */
    EPOCH_CLOSED,   /* settled: the source kept the guest */
    EPOCH_STATE_MAX,
};

/* What the parties know of one epoch. Strings point into the VMI's document and may be NULL. */
struct epoch {
    int64_t number;
    enum epoch_state state;
    const char *migration_uid;
    const char *source_node, *target_node;
    const char *source_pod, *target_pod;
    bool abort_requested; /* the user cancelled: the source stops the copy if it still can */
    bool withdrawn;       /* the target is asked to give up and return */
    bool received;        /* the target holds the complete state and waits for a grant */
};

/* Reads /status/migrationState of a VirtualMachineInstance. */
void epoch_read(yyjson_val *vmi, struct epoch *ret);

static inline bool epoch_settled(enum epoch_state state)
{
    return state == EPOCH_NONE || state == EPOCH_CLAIMED || state == EPOCH_CLOSED;
}

const char *epoch_state_string(enum epoch_state state);

/* The text that a proof signs. Caller frees. */
char *epoch_grant_text(const char *vmi_uid, const char *migration_uid, int64_t epoch, const char *target_node);

/* Names in certificates of the given migration; side is "source" or "target". Callers free. */
char *epoch_cert_name(const char *migration_uid, const char *side); /* CN: "<uid>:source" */
char *epoch_dns_name(const char *migration_uid, const char *side);  /* "source.<uid>.migration.godwit.io" */
