/* Telling a process from a later one with the same pid: by its start time within this boot. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

struct process_identity {
    pid_t pid;
    uint64_t start_ticks; /* field 22 of /proc/PID/stat */
};

/* 0 ticks when there is no such process. */
uint64_t process_start_ticks(pid_t pid);
/* Alive, and not a zombie. */
bool process_is(const struct process_identity *p);

/* The note launcher.json: who runs. */
struct launcher_note {
    char boot_id[40];
    struct process_identity launcher, qemu;
    char *cgroup_note; /* what cgroups lack here, one line each; "" */
};

void launcher_note_done(struct launcher_note *n);
#define _cleanup_launcher_note_ _cleanup_(launcher_note_done)

int launcher_note_write(const struct launcher_note *n, const char *dir, struct gw_error *err);
/* -ENOENT when there is none: the launcher never got to start QEMU. */
int launcher_note_read(const char *dir, struct launcher_note *ret, struct gw_error *err);

/* This boot's id; buf holds 40. */
char *boot_id(char *buf);
