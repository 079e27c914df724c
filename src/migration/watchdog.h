/* When a copy has to be given up: the completion and progress timeouts of the migration's configuration. */
#pragma once

#include <stdint.h>

struct watchdog {
    /* Configuration, milliseconds; 0 switches the check off. */
    int64_t completion_timeout_ms;
    int64_t progress_timeout_ms;
    /* State */
    int64_t start_ms;
    int64_t transferred; /* at the last time that more had been sent */
    int64_t moved_ms;
};

/* The budget of a whole migration: seconds per GiB, times the guest's memory and the disks that are copied along,
 * rounded up to whole GiB (the mission documents: a VM with 6 GiB has 4800 s at 800 s per GiB). */
int64_t watchdog_budget_ms(int64_t completion_timeout_per_gib_s, int64_t bytes);

void watchdog_start(struct watchdog *w, int64_t now_ms);

/* Why the copy must end now, or NULL. transferred: bytes that went to the target so far. Progress means that any data
 * reached the target; how much is left is no measure of it (the mission documents, progressTimeout). */
const char *watchdog_check(struct watchdog *w, int64_t now_ms, int64_t transferred);
