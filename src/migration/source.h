/* What the source's agent does next: a function from what it sees to one action. The agent does the action, looks again
 * and asks again; it keeps nothing in between, so a restart at any point is nothing special (docs/handover.md, section
 * 5). */
#pragma once

#include <stdbool.h>

#include "migration/epoch.h"
#include "migration/note.h"

/* QEMU's migration as query-migrate shows it, reduced to what decisions need. */
enum copy_state {
    COPY_NONE,
    COPY_ACTIVE,         /* setup, active, device, cancelling */
    COPY_PRE_SWITCHOVER, /* the guest stands still until migrate-continue */
    COPY_FAILED,         /* failed or cancelled: the guest runs here, QEMU resumed it */
    COPY_COMPLETED,      /* acknowledged by the target: QEMU won't run the guest by itself */
    COPY_STATE_MAX,
};

/* The disks that are copied along, all together. */
enum disks_state {
    DISKS_NONE,     /* nothing to copy */
    DISKS_IDLE,     /* not begun */
    DISKS_COPYING,  /* mirror jobs run, not all are ready */
    DISKS_READY,    /* all were in step once; what the guest writes follows */
    DISKS_FAILED,   /* a job ended with an error */
    DISKS_DETACHED, /* jobs ended at the switch-over: the target's copies are complete */
    DISKS_STATE_MAX,
};

struct source_view {
    enum note note;
    enum epoch_state epoch;
    enum copy_state copy;
    enum disks_state disks;
    bool disks_behind; /* the guest writes more than follows: memory waits (migration/brake.h) */
    bool qemu_alive;
    bool guest_runs;       /* runstate running; a guest paused by its user counts as running for these decisions */
    bool target_ready;     /* address and ports are published */
    bool credentials;      /* QEMU has its TLS objects */
    bool start_recorded;   /* startTimestamp is in the status */
    bool figures_recorded; /* QEMU's final figures are in the status */
    bool close_recorded;   /* completed, failed and failureReason are there */
    bool abort_requested;
    bool withdrawn;
    bool given_up; /* the watchdog wants the copy to end (migration/watchdog.h) */
};

enum source_action {
    SOURCE_WAIT, /* nothing to do until something changes */
    SOURCE_NOTE_OPEN,
    SOURCE_GET_CREDENTIALS,
    SOURCE_RECORD_START,
    SOURCE_MIRROR_DISKS,
    SOURCE_COPY_MEMORY,
    SOURCE_DETACH_DISKS, /* at the switch-over: end the jobs, then migrate-continue */
    SOURCE_CONTINUE,
    SOURCE_CANCEL,
    SOURCE_DROP_DISKS, /* after a failure: cancel the jobs that are left */
    SOURCE_NOTE_GRANTED,
    SOURCE_SEND_GRANT, /* over the direct channel and into the status, until claim or return */
    SOURCE_NOTE_CLOSED,
    SOURCE_TAKE_BACK, /* cont in postmigrate */
    SOURCE_RECORD_CLOSE,
    SOURCE_REQUEST_RETURN, /* QEMU died without a grant: the target must say that it won't run */
    SOURCE_RECORD_FIGURES, /* the claim was faster than the record of the grant, which holds them too */
    SOURCE_QUIT,           /* the target runs the guest: end QEMU here */
    SOURCE_DONE,           /* settled, nothing left */
    SOURCE_ACTION_MAX,
};

enum source_action source_next(const struct source_view *v);

const char *source_action_string(enum source_action action);
