/* What to do next for a pod: a function from what is known about it to one action. The core does the action, looks
 * again and asks again; it keeps nothing in between that is not in the notes, so a restart at any point is nothing
 * special. */
#pragma once

#include <stdbool.h>

#include "agent/pod.h"

enum object_state {
    OBJECT_UNKNOWN, /* the server has not been heard yet */
    OBJECT_PRESENT,
    OBJECT_DELETING, /* deletionTimestamp is set */
    OBJECT_GONE,
};

enum launcher_state {
    LAUNCHER_NONE, /* none was started, as far as the notes know */
    LAUNCHER_ALIVE,
    LAUNCHER_DEAD, /* with its QEMU: exit.json or its absence tells how it ended */
};

struct pod_view {
    enum pod_step step;
    enum object_state object;
    bool busy; /* a call, a job or a back-off is under way */
    bool has_vmi;
    bool has_objects; /* secrets, claims and volumes that the VMI names */
    bool has_volumes;
    bool has_network;
    enum launcher_state launcher;
    bool session;        /* QMP is ready */
    bool control;        /* the launcher is connected: it hears us, and we its end */
    bool may_run;        /* owner of the guest, and not a target that still receives it */
    bool prelaunch;      /* QEMU holds a guest that has never run */
    bool held;           /* and is to hold it until its user lets it run */
    bool stop_wanted;    /* and no hook has put it off */
    bool powerdown_sent; /* within the last seconds: guests may miss it while they boot */
    bool grace_over;
    bool quits;     /* killed or asked to quit: nothing but its end is awaited */
    bool heard;     /* the server's word about the VMI is of this agent's life, not of vmi.json */
    bool concluded; /* what the pod ended as is known */
    bool told;      /* nothing is on its way to the server about it */
};

enum pod_action {
    POD_DO_WAIT,
    POD_DO_GET_VMI,
    POD_DO_GET_OBJECTS,
    POD_DO_PREPARE_VOLUMES,
    POD_DO_MAKE_NETWORK,
    POD_DO_LAUNCH,
    POD_DO_CONNECT, /* to a launcher that runs */
    POD_DO_RUN,     /* let the guest begin */
    POD_DO_GIVE_UP, /* it is to stop and was never started */
    POD_DO_POWERDOWN,
    POD_DO_KILL,
    POD_DO_READ_EXIT,
    POD_DO_CONCLUDE,
    POD_DO_RELEASE,
    POD_DO_DELETE_OBJECT,
    POD_DO_FORGET,
    POD_DO_MAX,
};

enum pod_action pod_next(const struct pod_view *v);
const char *pod_action_string(enum pod_action action);

/* The step that a pod is in once an action has been done; POD_STEP_MAX: unchanged. */
enum pod_step pod_step_after(enum pod_action action);
