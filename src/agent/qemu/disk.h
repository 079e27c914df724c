/* One disk of a guest as prepared on this node: what volumes/ makes, qemu/ attaches and migration/ copies. Plain data.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/vec.h"

struct disk {
    char *name;    /* spec.volumes[].name and spec.domain.devices.disks[].name */
    char *path;    /* absolute; the same in QEMU's mount namespace */
    char *format;  /* "raw" or "qcow2" */
    char *backing; /* read-only image below a qcow2 overlay, absolute, or NULL */
    char *backing_format;
    int64_t size; /* virtual size in bytes */
    bool read_only;
    bool shared; /* the target node opens the very same file */
    bool direct; /* the file system takes O_DIRECT */
};
VEC_DEFINE(disk_vec, struct disk);

void disks_done(struct disk_vec *v);

/* Whether a migration has to copy it: it is written to and the target has a file of its own. Read-only ones were made
 * byte-identical from the same source. */
static inline bool disk_is_copied(const struct disk *d)
{
    return !d->read_only && !d->shared;
}

/* The block graph of the disk number i (its place in spec.domain.devices.disks), from the device down:
 *   "diskI"       format layer: what the device uses, what is exported and mirrored
 *   "diskI-file"  protocol layer
 *   "diskI-base", "diskI-base-file"  the image below an overlay
 * and the device's id "diskI-dev". Numbers, because node names end at 31 characters and volume names do not. */
#define DISK_NODE_MAX 32
char *disk_node(size_t i, char *buf);
