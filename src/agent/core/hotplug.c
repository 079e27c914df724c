#include "agent/core/hotplug.h"

#include <assert.h>

#include "base/cleanup.h"

static const char *const actions[] = {
    [HOTPLUG_WAIT] = "wait",   [HOTPLUG_ATTACH] = "attach", [HOTPLUG_PLUG] = "plug", [HOTPLUG_READY] = "ready",
    [HOTPLUG_AGAIN] = "again", [HOTPLUG_DETACH] = "detach", [HOTPLUG_KEEP] = "keep", [HOTPLUG_UNPLUG] = "unplug",
    [HOTPLUG_CLEAN] = "clean", [HOTPLUG_FORGET] = "forget",
};
static_assert(ARRAY_SIZE(actions) == HOTPLUG_ACTION_MAX, "a name for each action");

/* KubeVirt's VolumePhase. */
static const char *const phases[] = {
    [DISK_READY] = "Ready",
    [DISK_PLUGGING] = "MountedToPod",
    [DISK_DETACHING] = "Detaching",
};
static_assert(ARRAY_SIZE(phases) == DISK_PHASE_MAX, "a word for each phase");

const char *hotplug_action_string(enum hotplug_action action)
{
    return actions[action];
}

const char *hotplug_phase_string(enum disk_phase phase)
{
    return phases[phase];
}

/* A migration was handed over before the server heard of the step: its target does as the status says, so the step is
 * taken back. One that the server heard of cannot be open at this time. */
static enum hotplug_action next_moving(const struct hotplug_view *v)
{
    if (v->noted && !v->told && v->phase == DISK_PLUGGING && !v->device)
        return v->nodes ? HOTPLUG_CLEAN : HOTPLUG_FORGET;
    if (v->noted && !v->told && v->phase == DISK_DETACHING && v->device)
        return HOTPLUG_KEEP;
    return HOTPLUG_WAIT;
}

static enum hotplug_action next_plugging(const struct hotplug_view *v)
{
    if (!v->told)
        return HOTPLUG_WAIT;
    if (v->device)
        return HOTPLUG_READY;
    if (v->nodes) /* of a try that was interrupted or failed */
        return HOTPLUG_CLEAN;
    return v->wanted && !v->failed ? HOTPLUG_PLUG : HOTPLUG_FORGET;
}

static enum hotplug_action next_detaching(const struct hotplug_view *v)
{
    if (!v->told)
        return HOTPLUG_WAIT;
    if (v->device)
        return v->asked_now ? HOTPLUG_WAIT : HOTPLUG_UNPLUG;
    return v->nodes ? HOTPLUG_CLEAN : HOTPLUG_FORGET;
}

enum hotplug_action hotplug_next(const struct hotplug_view *v)
{
    if (v->moving)
        return next_moving(v);
    if (!v->noted)
        return v->wanted ? HOTPLUG_ATTACH : HOTPLUG_WAIT;
    if (v->phase == DISK_PLUGGING)
        return next_plugging(v);
    if (v->phase == DISK_DETACHING)
        return next_detaching(v);
    if (!v->wanted)
        return HOTPLUG_DETACH;
    return v->device ? HOTPLUG_WAIT : HOTPLUG_AGAIN;
}
