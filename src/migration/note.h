/* The note of one side of a hand-over: what the agent must remember though everything else is forgotten. It lies as
 * handover.json beside the launcher's state, and is written durably before the act that it speaks of. */
#pragma once

#include <stdint.h>

#include "base/json.h"

enum note {
    NOTE_NONE,
    /* at the source */
    NOTE_OPEN,    /* a copy may have been started */
    NOTE_GRANTED, /* the guest was given away: never resume it */
    NOTE_CLOSED,  /* the guest stays here: never grant */
    /* at the target */
    NOTE_PREPARED,  /* a QEMU waits, and was not run */
    NOTE_CLAIMED,   /* the guest was run, or is about to be */
    NOTE_DESTROYED, /* the QEMU is gone, or must go, and never ran */
    NOTE_MAX,
};

const char *note_string(enum note note);

struct handover_note {
    enum note note;
    int64_t epoch;
    char *migration_uid;
    char *reason; /* of a close: why the migration failed */
    char *proof;  /* of a claim: the grant's JSON {"certificate","signature"}, NULL when the grant was recorded */
};

void handover_note_done(struct handover_note *n);
#define _cleanup_handover_note_ __attribute__((cleanup(handover_note_done)))

/* An absent or foreign file is NOTE_NONE; one that cannot be read or understood is an error: guessing could run a guest
 * twice. */
int handover_note_load(const char *path, struct handover_note *ret, struct gw_error *err);

/* Durable when it returns 0. */
int handover_note_save(const char *path, const struct handover_note *note, struct gw_error *err);
