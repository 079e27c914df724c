#include "migration/phase.h"

#include <assert.h>

#include "base/cleanup.h"

static const char *const phases[] = {
    [MIGRATION_NONE] = "",
    [MIGRATION_PENDING] = "Pending",
    [MIGRATION_SCHEDULING] = "Scheduling",
    [MIGRATION_SCHEDULED] = "Scheduled",
    [MIGRATION_PREPARING_TARGET] = "PreparingTarget",
    [MIGRATION_TARGET_READY] = "TargetReady",
    [MIGRATION_RUNNING] = "Running",
    [MIGRATION_SUCCEEDED] = "Succeeded",
    [MIGRATION_FAILED] = "Failed",
};
static_assert(ARRAY_SIZE(phases) == MIGRATION_PHASE_MAX, "each phase needs its name");

static const char *const actions[] = {
    [MIGRATION_WAIT] = "wait",         [MIGRATION_ENTER] = "enter",   [MIGRATION_CREATE_POD] = "create pod",
    [MIGRATION_HAND_OFF] = "hand off", [MIGRATION_ABORT] = "abort",   [MIGRATION_GRANT] = "grant",
    [MIGRATION_WITHDRAW] = "withdraw", [MIGRATION_RETURN] = "return", [MIGRATION_CLOSE] = "close",
};
static_assert(ARRAY_SIZE(actions) == MIGRATION_ACTION_MAX, "each action needs its name");

static const char *const causes[] = {
    [CAUSE_NO_VMI] = "Migration failed because vmi does not exist.",
    [CAUSE_VMI_SHUTDOWN] = "Migration failed because vmi shutdown during migration.",
    [CAUSE_CANCELED] = "Migration failed due to being canceled",
    [CAUSE_OTHER_JOB] = "VMI is not eligible for migration because another migration job is in progress.",
    [CAUSE_NOT_MIGRATABLE] = "VMI is not eligible for migration because it is not live-migratable",
    [CAUSE_POD_REFUSED] = "Migration failed because the target pod cannot be created",
    [CAUSE_TARGET_SHUTDOWN] = "Migration failed because target pod shutdown during migration",
    [CAUSE_TARGET_REMOVED] = "Migration target pod was removed during active migration.",
    [CAUSE_UNSCHEDULABLE] = "Migration failed because no node was found for the target pod in time",
    [CAUSE_PENDING_TIMEOUT] = "Migration failed because the target pod did not become ready in time",
    [CAUSE_PREPARE_TIMEOUT] = "Migration failed because the nodes did not begin the copy in time",
    [CAUSE_STATE_CLEARED] = "VMI's migration state was cleared during the active migration.",
    [CAUSE_TAKEN_OVER] = "VMI's migration state was taken over by another migration job during active migration.",
    [CAUSE_SOURCE_REPORTED] = "Source node reported migration failed",
    [CAUSE_SOURCE_DEAD] = "Migration failed because the source node was declared dead",
};
static_assert(ARRAY_SIZE(causes) == CAUSE_MAX, "each cause needs its sentence");

const char *migration_phase_string(enum migration_phase phase)
{
    return phases[phase];
}

enum migration_phase migration_phase_from(const char *name)
{
    for (int p = 0; name && p < MIGRATION_PHASE_MAX; p++)
        if (streq(phases[p], name))
            return (enum migration_phase)p;
    return MIGRATION_NONE;
}

const char *migration_action_string(enum migration_action action)
{
    return actions[action];
}

const char *migration_cause_string(enum migration_cause cause)
{
    return causes[cause];
}

/* --- steps --- */

static struct migration_step act(enum migration_action action)
{
    return (struct migration_step){.action = action};
}

static struct migration_step wait_for(int64_t ms)
{
    return (struct migration_step){.action = MIGRATION_WAIT, .look_again_ms = ms};
}

static struct migration_step enter(enum migration_phase phase)
{
    return (struct migration_step){.action = MIGRATION_ENTER, .phase = phase};
}

static struct migration_step fail(enum migration_cause cause)
{
    return (struct migration_step){.action = MIGRATION_ENTER, .phase = MIGRATION_FAILED, .cause = cause};
}

static struct migration_step because(enum migration_action action, enum migration_cause cause)
{
    return (struct migration_step){.action = action, .cause = cause};
}

/* --- before the hand-off --- */

static struct migration_step pending(const struct migration_view *v)
{
    if (v->target != TARGET_POD_NONE)
        return v->target == TARGET_POD_OVER ? fail(CAUSE_TARGET_SHUTDOWN) : enter(MIGRATION_SCHEDULING);
    if (v->not_migratable)
        return fail(CAUSE_NOT_MIGRATABLE);
    if (v->refused)
        return fail(CAUSE_POD_REFUSED);
    return v->migrant == MIGRANT_RUNNING && !v->busy && !v->plugging && v->slot ? act(MIGRATION_CREATE_POD)
                                                                                : wait_for(0);
}

/* The target pod is on its way. */
static struct migration_step placing(const struct migration_view *v)
{
    int64_t limit = v->unschedulable ? MIN(v->unschedulable_limit_ms, v->pending_limit_ms) : v->pending_limit_ms;

    switch (v->target) {
    case TARGET_POD_NONE:
        return fail(CAUSE_TARGET_REMOVED);
    case TARGET_POD_OVER:
        return fail(CAUSE_TARGET_SHUTDOWN);
    case TARGET_POD_PENDING:
        if (v->target_age_ms >= limit)
            return fail(v->unschedulable ? CAUSE_UNSCHEDULABLE : CAUSE_PENDING_TIMEOUT);
        return wait_for(limit - v->target_age_ms);
    default:
        break;
    }
    if (v->phase == MIGRATION_SCHEDULING)
        return enter(MIGRATION_SCHEDULED);
    return v->migrant == MIGRANT_RUNNING && !v->busy && !v->plugging ? act(MIGRATION_HAND_OFF) : wait_for(0);
}

static struct migration_step before_hand_off(const struct migration_view *v)
{
    if (v->phase > MIGRATION_SCHEDULED)
        return fail(v->busy ? CAUSE_TAKEN_OVER : CAUSE_STATE_CLEARED);
    if (v->migrant == MIGRANT_ENDING || v->migrant == MIGRANT_OVER)
        return fail(CAUSE_VMI_SHUTDOWN);
    if (v->deleting)
        return fail(CAUSE_CANCELED);
    if (v->phase == MIGRATION_NONE)
        return v->rival ? fail(CAUSE_OTHER_JOB) : enter(MIGRATION_PENDING);
    return v->phase == MIGRATION_PENDING ? pending(v) : placing(v);
}

/* --- in the place of the dead (docs/handover.md, section 6) --- */

static bool is_leaving(const struct migration_view *v)
{
    return v->target == TARGET_POD_OVER || v->target == TARGET_POD_NONE;
}

static struct migration_step without_source(const struct migration_view *v)
{
    if (v->target_gone)
        return because(MIGRATION_CLOSE, CAUSE_SOURCE_DEAD);
    if (v->withdrawn)
        return wait_for(0);
    if (v->received && !v->shared_disk && v->source_dead && !is_leaving(v))
        return act(MIGRATION_GRANT);
    if (v->received || is_leaving(v) || v->waited_ms >= MIGRATION_RECEIVED_MS)
        return act(MIGRATION_WITHDRAW);
    return wait_for(MIGRATION_RECEIVED_MS - v->waited_ms);
}

/* True if the step is for somebody who cannot do it any more. */
static bool in_place_of_the_dead(const struct migration_view *v, struct migration_step *ret)
{
    bool no_source = v->source_dead || v->source_gone;

    if (v->epoch == EPOCH_RETURNED) {
        *ret = no_source ? because(MIGRATION_CLOSE, CAUSE_SOURCE_DEAD) : wait_for(0);
        return no_source;
    }
    if (v->target_dead) {
        *ret = act(MIGRATION_RETURN);
        return true;
    }
    if (v->epoch != EPOCH_OPEN || !no_source)
        return false;
    *ret = without_source(v);
    return true;
}

/* --- after the hand-off --- */

/* Why the copy should not go on, if it should not. */
static bool unwanted(const struct migration_view *v, enum migration_cause *ret)
{
    if (v->deleting)
        *ret = CAUSE_CANCELED;
    else if (v->target == TARGET_POD_OVER)
        *ret = CAUSE_TARGET_SHUTDOWN;
    else if (v->target == TARGET_POD_NONE)
        *ret = CAUSE_TARGET_REMOVED;
    else if (!v->started && v->phase_ms >= MIGRATION_PREPARE_MS)
        *ret = CAUSE_PREPARE_TIMEOUT;
    else
        return false;
    return true;
}

/* The phase follows the status, one at a time, so that each has its timestamp. */
static struct migration_step follow(const struct migration_view *v)
{
    bool claimed = v->epoch == EPOCH_CLAIMED;

    if (v->phase < MIGRATION_PREPARING_TARGET)
        return enter(v->phase + 1);
    if (v->phase == MIGRATION_PREPARING_TARGET)
        return v->published || claimed ? enter(MIGRATION_TARGET_READY) : wait_for(MIGRATION_PREPARE_MS - v->phase_ms);
    if (v->phase == MIGRATION_TARGET_READY)
        return v->started || claimed ? enter(MIGRATION_RUNNING) : wait_for(MIGRATION_PREPARE_MS - v->phase_ms);
    if (!claimed)
        return wait_for(0);
    return v->figures || v->waited_ms >= MIGRATION_FIGURES_MS ? enter(MIGRATION_SUCCEEDED)
                                                              : wait_for(MIGRATION_FIGURES_MS - v->waited_ms);
}

static struct migration_step after_hand_off(const struct migration_view *v)
{
    struct migration_step step;
    enum migration_cause cause;

    if (v->epoch == EPOCH_CLAIMED)
        return follow(v);
    if (v->epoch == EPOCH_CLOSED)
        return fail(v->source_dead || v->source_gone ? CAUSE_SOURCE_DEAD
                    : v->deleting                    ? CAUSE_CANCELED
                                                     : CAUSE_SOURCE_REPORTED);
    if (v->migrant == MIGRANT_OVER)
        return fail(CAUSE_VMI_SHUTDOWN);
    if (in_place_of_the_dead(v, &step))
        return step;
    if (v->epoch == EPOCH_OPEN && !v->abort_requested && unwanted(v, &cause))
        return because(MIGRATION_ABORT, cause);
    return follow(v);
}

struct migration_step migration_next(const struct migration_view *v)
{
    if (migration_phase_final(v->phase))
        return wait_for(0);
    if (v->migrant == MIGRANT_ABSENT)
        return fail(CAUSE_NO_VMI);
    return v->epoch == EPOCH_NONE ? before_hand_off(v) : after_hand_off(v);
}
