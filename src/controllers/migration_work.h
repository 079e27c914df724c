/* The parts of the migration controller: migration.c looks and decides (by migration/phase.h), migration_write.c
 * writes, migration_queue.c waits for its turn. */
#pragma once

#include "controllers/kubevirt.h"
#include "migration/phase.h"
#include "migration/queue.h"
#include "migration/settings.h"

/* Kept by the running controller; all of it can be lost. */
struct migration_state {
    struct queue *queue;
    bool queue_filled;
    struct map *since; /* key -> int64_t *: since when it waits for figures, or for a dead source's target */
};

/* What one reconcile looks at. */
struct migration_work {
    struct task *t;
    struct migration_state *state;
    const char *key;
    yyjson_val *migration;
    yyjson_val *vmi;     /* the very one that the migration was made for; NULL if that is gone */
    struct val_vec pods; /* of the VMI */
    yyjson_val *source;  /* its pod where the guest is, or was before the hand-over; NULL if gone */
    yyjson_val *target;
    struct epoch epoch; /* of the VMI's current migration */
    bool ours;          /* and that is this one */
    enum migration_phase phase;
};

/* --- migration_write.c --- */

void migration_perform(struct migration_work *w, const struct migration_step *step);
/* A final migration: its losing pod goes, then its finalizer, in the end the object. */
void migration_clean_up(struct migration_work *w);
/* While the target pod finds no node: events. */
void migration_report_unschedulable(struct migration_work *w);

/* --- migration_queue.c --- */

/* Makes the queue from all migrations, once. */
void migration_queue_fill(struct task *t, struct migration_state *state);
/* Tells the queue what this migration is now; wakes those whom it concerns. May be called for one that is gone
 * (w->migration NULL). */
void migration_queue_update(struct migration_work *w, enum queue_class class);
/* Whether it may start now: then it counts as started. */
bool migration_queue_admit(struct migration_work *w);
/* Writes condition migrationQueued: the place in the queue and what holds it up. Only for one that waits. */
void migration_queue_report(struct migration_work *w);

/* --- migration_settings.c --- */

/* The effective settings; with labels of w->vmi and its namespace, or (w NULL) without any policy. */
void migration_settings_now(struct task *t, yyjson_val *vmi, struct migration_settings *ret);
