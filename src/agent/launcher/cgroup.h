/* One cgroup per pod, in the v2 hierarchy where its controllers can be used, else in those of v1 (also on hosts that
 * have both, where the controllers still belong to v1). What is not there is said in the note, not assumed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/str.h"

struct cgroup_limits {
    int64_t memory_max;        /* bytes, 0: none */
    int64_t cpu_milli;         /* 0: none */
    int64_t cpu_request_milli; /* weight among others, 0: the default */
    int64_t pids_max;          /* 0: none */
};

/* Makes the group `name` ("godwit/<uid>"), sets the limits and moves pid into it. note gets a line per controller that
 * is missing or refused a limit; nothing of that is an error, because a VM without limits is better than none. */
void cgroup_enter(const char *name, const struct cgroup_limits *limits, pid_t pid, struct str *note);

/* Removes the group; it must be empty of processes (their threads may need a moment: false, try again). */
bool cgroup_remove(const char *name);
