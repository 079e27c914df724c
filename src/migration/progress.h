/* How far a copy is, when it will end, and why it may not: from what QEMU reports to status.migrationState.progress. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

/* One look at QEMU (query-migrate, query-block-jobs), in bytes and milliseconds of the monotonic clock. */
struct copy_sample {
    int64_t now_ms;
    int64_t ram_total, ram_transferred, ram_remaining;
    int64_t disk_total, disk_transferred; /* of all mirrored disks; equal when they are in step */
    int64_t disk_limit;                   /* what the guest's writes are held to (migration/brake.h); 0: not at all */
    int64_t dirty_bytes_per_s;            /* as QEMU measured it in the last round; 0 while unknown */
    int64_t iteration;                    /* dirty-sync-count */
    int64_t expected_downtime_ms;
};

struct progress {
    struct copy_sample last;
    int64_t rate_since_ms, rate_from; /* where the present measure of the rate began: time, bytes sent until then */
    int64_t bytes_per_s;              /* smoothed over the last seconds */
    int64_t eta_s;                    /* -1: cannot be told */
    int percent;                      /* never falls; 100 only when the guest is over */
    bool converging;
    const char *reason; /* why it is not converging, or what is awaited; "" when there is nothing to say */
};

/* Takes in a sample; p starts zeroed. */
void progress_update(struct progress *p, const struct copy_sample *s);

/* Sets the fields of status.migrationState.progress at `path` in d. */
void progress_write(const struct progress *p, yyjson_mut_doc *d, const char *path);

/* The end: 100 percent, nothing remaining, and the two figures of QEMU. Negative figures are left out. */
void progress_write_final(const struct progress *p, yyjson_mut_doc *d, const char *path, int64_t total_ms,
                          int64_t downtime_ms);
