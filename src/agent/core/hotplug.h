/* What to do next about one hot disk of a guest that runs: a function from what is wanted (the VMI's spec), what is
 * noted (pod.json), what the server was told (the VMI's status) and what QEMU has. The caller does it, looks again and
 * asks again; so a restart at any point is nothing special.
 *
 * The order of the steps keeps a migration's two sides alike (docs/handover.md, section 8): a disk's place and phase
 * are told to the server before QEMU is touched, and a migration is handed to the agents only by a write that saw every
 * disk settled. So whoever reads the status of an open epoch reads what the source's QEMU has. */
#pragma once

#include <stdbool.h>

#include "agent/qemu/disk.h"

struct hotplug_view {
    bool wanted; /* the spec has it */
    bool noted;  /* it has a place here */
    enum disk_phase phase;
    bool told;      /* the server's VMI says this place and phase */
    bool moving;    /* the VM's epoch is not settled: nothing new is begun */
    bool device;    /* QEMU has the device */
    bool nodes;     /* QEMU has (a part of) its block graph, or a descriptor for it */
    bool failed;    /* QEMU refused the last try */
    bool asked_now; /* the guest was asked to let go of it within the last seconds */
};

enum hotplug_action {
    HOTPLUG_WAIT,
    HOTPLUG_ATTACH, /* prepare it, choose its place, note it as being plugged */
    HOTPLUG_PLUG,
    HOTPLUG_READY,  /* note that it is plugged */
    HOTPLUG_AGAIN,  /* it was plugged, and is not: note it as being plugged */
    HOTPLUG_DETACH, /* note that it is to go */
    HOTPLUG_KEEP,   /* note that it stays after all */
    HOTPLUG_UNPLUG, /* ask the guest to let go of it */
    HOTPLUG_CLEAN,  /* take its block graph away */
    HOTPLUG_FORGET, /* it has no place any more */
    HOTPLUG_ACTION_MAX,
};
const char *hotplug_action_string(enum hotplug_action action);

enum hotplug_action hotplug_next(const struct hotplug_view *v);

/* The word for it in VMI.status.volumeStatus[].phase. */
const char *hotplug_phase_string(enum disk_phase phase);
