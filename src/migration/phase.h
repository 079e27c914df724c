/* The phases of a VirtualMachineInstanceMigration, and what its controller does next: a function from what it sees to
 * one step. The controller does the step, looks again and asks again; it keeps nothing in between that matters, so a
 * restart at any point is nothing special.
 *
 *   ""  ->  Pending  ->  Scheduling  ->  Scheduled  ->  PreparingTarget  ->  TargetReady  ->  Running  ->  Succeeded
 *           in queue     target pod      pod is         handed to the        target          copying
 *                        is there        Ready          agents               listens
 *
 * and from any of them to Failed. Until the hand-off the controller alone decides; after it the epoch does
 * (docs/handover.md): then the controller follows, passes on a cancel, and acts in the place of nodes that are declared
 * dead. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "migration/epoch.h"

enum migration_phase {
    MIGRATION_NONE,
    MIGRATION_PENDING,
    MIGRATION_SCHEDULING,
    MIGRATION_SCHEDULED,
    MIGRATION_PREPARING_TARGET,
    MIGRATION_TARGET_READY,
    MIGRATION_RUNNING,
    MIGRATION_SUCCEEDED,
    MIGRATION_FAILED,
    MIGRATION_PHASE_MAX,
};
const char *migration_phase_string(enum migration_phase phase); /* "" for MIGRATION_NONE */
enum migration_phase migration_phase_from(const char *name);    /* MIGRATION_NONE for anything unknown, and NULL */

static inline bool migration_phase_final(enum migration_phase phase)
{
    return phase >= MIGRATION_SUCCEEDED;
}

/* The VM that is to move. */
enum migrant_state {
    MIGRANT_ABSENT,
    MIGRANT_STARTING, /* does not run yet */
    MIGRANT_RUNNING,
    MIGRANT_ENDING, /* its deletion was asked for */
    MIGRANT_OVER,
};

/* The pod that it is to move to. */
enum target_pod_state {
    TARGET_POD_NONE,
    TARGET_POD_PENDING,
    TARGET_POD_READY,
    TARGET_POD_OVER, /* ended, or being deleted */
};

/* Why a migration fails, or is stopped. */
enum migration_cause {
    CAUSE_NO_VMI,
    CAUSE_VMI_SHUTDOWN,
    CAUSE_CANCELED,
    CAUSE_OTHER_JOB,
    CAUSE_NOT_MIGRATABLE,
    CAUSE_POD_REFUSED,
    CAUSE_TARGET_SHUTDOWN,
    CAUSE_TARGET_REMOVED,
    CAUSE_UNSCHEDULABLE,
    CAUSE_PENDING_TIMEOUT,
    CAUSE_PREPARE_TIMEOUT,
    CAUSE_STATE_CLEARED,
    CAUSE_TAKEN_OVER,
    CAUSE_SOURCE_REPORTED,
    CAUSE_SOURCE_DEAD,
    CAUSE_MAX,
};
/* A sentence for events, in KubeVirt's words where it has some. */
const char *migration_cause_string(enum migration_cause cause);

/* Limits of time, in ms. */
#define MIGRATION_UNSCHEDULABLE_MS 300000
#define MIGRATION_POD_PENDING_MS 900000
#define MIGRATION_PREPARE_MS 300000 /* from the hand-off to the first byte */
#define MIGRATION_FIGURES_MS 5000   /* that the source has to tell the final figures */
#define MIGRATION_RECEIVED_MS 10000 /* that the target of a dead source has to say that it holds all */

struct migration_view {
    enum migration_phase phase;
    bool deleting; /* its own deletion: a cancel */
    enum migrant_state migrant;
    bool rival;          /* another live migration of the VMI came first */
    bool busy;           /* an epoch of another migration is unsettled, or one of its pods is still there */
    bool not_migratable; /* LiveMigratable is False */
    bool plugging;       /* a volume is on its way into the VM or out of it */
    bool refused;        /* the server does not take the target pod */
    bool slot;           /* the queue lets it start */
    enum target_pod_state target;
    int64_t target_age_ms; /* since its creation */
    bool unschedulable;    /* no node fits */
    int64_t unschedulable_limit_ms, pending_limit_ms;
    /* after the hand-off */
    enum epoch_state epoch; /* EPOCH_NONE: not handed off */
    bool published, started, figures;
    bool abort_requested, withdrawn, received;
    int64_t phase_ms;              /* since it entered its phase */
    int64_t waited_ms;             /* since the claim was seen, or since the source is seen to be dead or gone */
    bool source_dead, target_dead; /* declared so */
    bool source_gone;              /* the agent answers, but the pod is no more */
    bool target_gone;              /* nothing of it can run the guest any more (evidence.h) */
    bool shared_disk;              /* a disk of the VM is not copied but shared */
};

enum migration_action {
    MIGRATION_WAIT,
    MIGRATION_ENTER,      /* the phase in step.phase */
    MIGRATION_CREATE_POD, /* and enter Scheduling */
    MIGRATION_HAND_OFF,   /* and enter PreparingTarget */
    MIGRATION_ABORT,
    MIGRATION_GRANT, /* in the place of the source */
    MIGRATION_WITHDRAW,
    MIGRATION_RETURN, /* in the place of the target */
    MIGRATION_CLOSE,  /* in the place of the source */
    MIGRATION_ACTION_MAX,
};
const char *migration_action_string(enum migration_action action);

struct migration_step {
    enum migration_action action;
    enum migration_phase phase; /* MIGRATION_ENTER */
    enum migration_cause cause; /* of Failed, and of ABORT and CLOSE */
    int64_t look_again_ms;      /* time alone may change the answer by then; 0 = it does not */
};

struct migration_step migration_next(const struct migration_view *v);
