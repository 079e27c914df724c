#include "agent/core/steps.h"

#include <assert.h>

#include "base/cleanup.h"

static const char *const step_names[] = {
    [POD_NEW] = "New", [POD_VOLUMES] = "Volumes",   [POD_NETWORK] = "Network", [POD_LAUNCHING] = "Launching",
    [POD_UP] = "Up",   [POD_STOPPING] = "Stopping", [POD_ENDED] = "Ended",     [POD_RELEASED] = "Released",
};
static_assert(ARRAY_SIZE(step_names) == POD_STEP_MAX, "a name for each step");

static const struct {
    const char *name;
    enum pod_step after;
} actions[] = {
    [POD_DO_WAIT] = {"wait", POD_STEP_MAX},
    [POD_DO_GET_VMI] = {"get VMI", POD_STEP_MAX},
    [POD_DO_GET_OBJECTS] = {"get objects", POD_VOLUMES},
    [POD_DO_PREPARE_VOLUMES] = {"prepare volumes", POD_VOLUMES},
    [POD_DO_MAKE_NETWORK] = {"make network", POD_NETWORK},
    [POD_DO_LAUNCH] = {"launch", POD_LAUNCHING},
    [POD_DO_CONNECT] = {"connect", POD_LAUNCHING},
    [POD_DO_RUN] = {"run", POD_UP},
    [POD_DO_GIVE_UP] = {"give up", POD_ENDED},
    [POD_DO_POWERDOWN] = {"powerdown", POD_STOPPING},
    [POD_DO_KILL] = {"kill", POD_STOPPING},
    [POD_DO_READ_EXIT] = {"read exit", POD_ENDED},
    [POD_DO_CONCLUDE] = {"conclude", POD_ENDED},
    [POD_DO_RELEASE] = {"release", POD_RELEASED},
    [POD_DO_DELETE_OBJECT] = {"delete object", POD_STEP_MAX},
    [POD_DO_FORGET] = {"forget", POD_STEP_MAX},
};
static_assert(ARRAY_SIZE(actions) == POD_DO_MAX, "a row for each action");

const char *pod_step_string(enum pod_step step)
{
    return step < POD_STEP_MAX ? step_names[step] : "?";
}

const char *pod_action_string(enum pod_action action)
{
    return action < POD_DO_MAX ? actions[action].name : "?";
}

enum pod_step pod_step_after(enum pod_action action)
{
    return actions[action].after;
}

/* Up to a QEMU that answers. */
static enum pod_action next_start(const struct pod_view *v)
{
    if (v->stop_wanted && v->launcher == LAUNCHER_NONE)
        return POD_DO_GIVE_UP;
    if (!v->has_vmi)
        return v->object == OBJECT_PRESENT ? POD_DO_GET_VMI : POD_DO_WAIT;
    if (v->launcher == LAUNCHER_NONE) {
        if (!v->has_objects)
            return POD_DO_GET_OBJECTS;
        if (!v->has_volumes)
            return POD_DO_PREPARE_VOLUMES;
        return v->has_network ? POD_DO_LAUNCH : POD_DO_MAKE_NETWORK;
    }
    return v->session ? POD_DO_RUN : POD_DO_CONNECT;
}

static enum pod_action next_up(const struct pod_view *v)
{
    if (!v->session && !v->quits)
        return POD_DO_CONNECT;
    return v->prelaunch && v->may_run && !v->held ? POD_DO_RUN : POD_DO_WAIT;
}

/* A guest that never ran is not asked to switch off. An agent that comes back while a guest stops knows neither its
 * launcher nor its QEMU yet: without them it would neither press the button nor see the end. */
static enum pod_action next_stopping(const struct pod_view *v)
{
    if (v->quits)
        return POD_DO_WAIT;
    if (v->grace_over || (v->session && (v->prelaunch || !v->may_run)))
        return POD_DO_KILL;
    if (!v->session && !v->control)
        return POD_DO_CONNECT;
    return v->powerdown_sent ? POD_DO_WAIT : POD_DO_POWERDOWN;
}

/* How it ended is told before the pod goes: once it is forgotten nobody knows. And it is concluded from the VMI as it
 * is now: the one in vmi.json knows of no migration. */
static enum pod_action next_ended(const struct pod_view *v)
{
    if (v->step != POD_RELEASED && !v->concluded)
        return v->heard ? POD_DO_CONCLUDE : POD_DO_WAIT;
    if (v->step != POD_RELEASED)
        return POD_DO_RELEASE;
    if (!v->told)
        return POD_DO_WAIT;
    if (v->object == OBJECT_DELETING)
        return POD_DO_DELETE_OBJECT;
    return v->object == OBJECT_GONE ? POD_DO_FORGET : POD_DO_WAIT;
}

enum pod_action pod_next(const struct pod_view *v)
{
    if (v->busy)
        return POD_DO_WAIT;
    if (v->step >= POD_ENDED)
        return next_ended(v);
    if (v->launcher == LAUNCHER_DEAD)
        return POD_DO_READ_EXIT;
    if (v->stop_wanted && v->launcher == LAUNCHER_ALIVE)
        return next_stopping(v);
    return v->step >= POD_UP ? next_up(v) : next_start(v);
}
