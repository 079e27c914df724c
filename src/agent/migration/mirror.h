/* Disks that are not shared, copied along: the target exports its empty ones by NBD over TLS, the source mirrors onto
 * them, goes on with what the guest writes, and lets go at the switch-over while the guest stands still.
 *
 * The jobs copy in the background. QEMU's other mode, write-blocking, would keep disks in step by itself, but a job
 * that ends while a write of the guest is on its way frees memory that the write still uses (seen with 10.0.2: the
 * guest's QEMU dies of a target that dies). docs/decisions/0006-background-mirror.md
 *
 * Jobs are kept by QEMU after their end (auto-dismiss false), so that a restarted agent can read how they ended. */
#pragma once

#include "agent/migration/copy.h"
#include "agent/qemu/disk.h"

/* The number of disks that have to be copied. */
size_t mirror_count(const struct disk_vec *disks);

/* Target: an NBD server with one writable export per copied disk ("diskI"). */
void mirror_export(struct script *s, const struct copy_names *n, const struct disk_vec *disks, const char *address,
                   int port);

/* Source: connects and starts a job per copied disk ("mirrorE-I" for epoch E). */
void mirror_start(struct script *s, const struct copy_names *n, const struct disk_vec *disks, const char *address,
                  int port);

/* Source: holds the guest's writes to the copied disks to so many bytes per second, all together (migration/brake.h).
 */
void mirror_brake(struct script *s, const struct copy_names *n, const struct disk_vec *disks, int64_t limit);

/* Source, guest stopped: the jobs end with everything written. Observe until DISKS_DETACHED. */
void mirror_detach(struct script *s, const struct copy_names *n, const struct disk_vec *disks);

/* Source, after a failure: whatever is left of brake, jobs and connections goes. */
void mirror_drop(struct script *s, const struct copy_names *n, const struct disk_vec *disks);

/* Reads `query-jobs`: the state of all together and the bytes. error (may be NULL) lives as long as the answer. */
enum disks_state mirror_read(yyjson_val *jobs, const struct copy_names *n, const struct disk_vec *disks,
                             int64_t *ret_total, int64_t *ret_done, const char **ret_error);
