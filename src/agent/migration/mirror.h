/* Disks that are not shared, copied along: the target exports its empty ones by NBD over TLS, the source mirrors onto
 * them, keeps them in step with the guest's writes, and lets go at the switch-over while the guest stands still.
 *
 * Jobs are kept by QEMU after their end (auto-dismiss false), so that a restarted agent can read how they ended. */
#pragma once

#include "agent/migration/copy.h"
#include "agent/qemu/disk.h"

/* The number of disks that have to be copied. */
size_t mirror_count(const struct disk_vec *disks);

/* Target: an NBD server with one writable export per copied disk ("diskI"). */
void mirror_export(struct script *s, const struct copy_names *n, const struct disk_vec *disks, const char *address, int port);

/* Source: connects and starts a job per copied disk ("mirrorE-I" for epoch E). */
void mirror_start(struct script *s, const struct copy_names *n, const struct disk_vec *disks, const char *address, int port);

/* Source, when all are ready: from now on a write of the guest ends only when the target has it too, so that the jobs
 * stay in step however much is written. Unknown to QEMU before 8.2: then the last difference goes over at the end. */
void mirror_tighten(struct script *s, const struct copy_names *n, const struct disk_vec *disks);

/* Source, guest stopped: the jobs end with everything written. Observe until DISKS_DETACHED. */
void mirror_detach(struct script *s, const struct copy_names *n, const struct disk_vec *disks);

/* Source, after a failure: whatever is left of jobs and connections goes. */
void mirror_drop(struct script *s, const struct copy_names *n, const struct disk_vec *disks);

/* Reads `query-jobs`: the state of all together and the bytes. error (may be NULL) lives as long as the answer. */
enum disks_state mirror_read(yyjson_val *jobs, const struct copy_names *n, const struct disk_vec *disks,
                             int64_t *ret_total, int64_t *ret_done, const char **ret_error);
