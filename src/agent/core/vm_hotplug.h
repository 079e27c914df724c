/* The inside of hot plugging: what vm_hotplug.c, hotplug_acts.c and hotplug_reports.c share. */
#pragma once

#include "agent/core/hotplug.h"
#include "agent/core/vm.h"

/* hotplug_reports.c: what is to be said of a volume. */
struct volume_report *hotplug_report_find(const struct vm *vm, const char *name); /* or NULL */
struct volume_report *hotplug_report(struct vm *vm, const char *name);            /* made if need be */
void hotplug_report_drop(struct vm *vm, const char *name);
/* reason and message NULL: nothing in particular. */
void hotplug_say(struct vm *vm, const char *name, const char *reason, const char *message);
/* A try failed: said, and made again later each time. */
void hotplug_say_failed(struct vm *vm, const char *name, const char *reason, const char *message);
void hotplug_look_again(struct vm *vm, int64_t ms);
/* Drops what was waited for and is not wanted any more; all of them. */
void hotplug_reports_sweep(struct vm *vm);
void hotplug_reports_done(struct vm *vm);

/* hotplug_acts.c: one act for each action of hotplug_next. True: something was begun or changed. */
bool hotplug_attach(struct vm *vm, const char *name);
bool hotplug_plug(struct vm *vm, const struct disk *d);
bool hotplug_make_ready(struct vm *vm, struct disk *d);
bool hotplug_detach(struct vm *vm, struct disk *d);
bool hotplug_unplug(struct vm *vm, const struct disk *d);
bool hotplug_clean(struct vm *vm, const struct disk *d);
bool hotplug_forget(struct vm *vm, struct disk *d);
void hotplug_enter(struct vm *vm, struct disk *d, enum disk_phase phase);
/* The next part of an attachment under way. */
void hotplug_attach_step(struct vm *vm);

/* What a hot disk is called in QEMU. */
struct hotplug_names {
    char device[DISK_NODE_MAX + 8], node[DISK_NODE_MAX], file[DISK_NODE_MAX + 8], fdset[24];
};
void hotplug_names(const struct disk *d, struct hotplug_names *ret);
