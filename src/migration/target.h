/* What the target's agent does next: a function from what it sees to one action, like migration/source.h. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "migration/epoch.h"
#include "migration/note.h"

/* The waiting QEMU. */
enum waiting_state {
    WAITING_DEAD,
    WAITING_IDLE,      /* started with -incoming defer, not listening */
    WAITING_LISTENING, /* listening or receiving */
    WAITING_COMPLETE,  /* all state is there, the guest stands still */
    WAITING_RUNS,      /* the guest runs */
    WAITING_STATE_MAX,
};

/* A target that holds the complete state says so after this long without a grant. */
#define TARGET_RECEIVED_AFTER_MS 2000

struct target_view {
    enum note note;
    enum epoch_state epoch;
    enum waiting_state qemu;
    bool direct_grant; /* one with a valid proof was received, or is part of the note */
    bool credentials;
    bool published; /* address and ports are in the status */
    bool withdrawn; /* asked to return, or its pod is being deleted */
    bool received_told;
    bool cont_sent;      /* by this process; a fresh process must assume it once the note says claimed */
    int64_t complete_ms; /* how long the state has been complete; -1 if it is not */
};

enum target_action {
    TARGET_WAIT,
    TARGET_NOTE_PREPARED,
    TARGET_GET_CREDENTIALS,
    TARGET_LISTEN,
    TARGET_PUBLISH,
    TARGET_NOTE_CLAIMED,
    TARGET_RUN,
    TARGET_RECORD_CLAIM,
    TARGET_TELL_RECEIVED,
    TARGET_NOTE_DESTROYED,
    TARGET_DESTROY,
    TARGET_RETURN,
    TARGET_DONE,
    TARGET_ACTION_MAX,
};

enum target_action target_next(const struct target_view *v);

const char *target_action_string(enum target_action action);
