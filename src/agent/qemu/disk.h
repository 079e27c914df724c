/* One disk of a guest as prepared on this node: what volumes/ makes, qemu/ attaches and migration/ copies. Plain data.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "base/vec.h"

/* Where a hot disk is on its way; cold ones are always ready. Kept in pod.json and told in the VMI's status. */
enum disk_phase {
    DISK_READY,
    DISK_PLUGGING,
    DISK_DETACHING,
    DISK_PHASE_MAX,
};

struct disk {
    char *name;    /* spec.volumes[].name and spec.domain.devices.disks[].name */
    char *path;    /* absolute; the same in QEMU's mount namespace */
    char *format;  /* "raw" or "qcow2" */
    char *backing; /* read-only image below a qcow2 overlay, absolute, or NULL */
    char *backing_format;
    int64_t size; /* virtual size in bytes */
    bool read_only;
    bool shared;  /* the target node opens the very same file */
    bool direct;  /* the file system takes O_DIRECT */
    char *target; /* how Linux guests name it, "vda" or "sdb"; a hot one has its place by it (attach.h) */
    bool hot;     /* its volume is hotpluggable: it may come and go while the guest runs */
    enum disk_phase phase;
    char *definition; /* hot: {"disk","volume"} of the spec that it was plugged with, as JSON; a target gets the same */
};
VEC_DEFINE(disk_vec, struct disk);

#define DISK_TARGET_MAX 8

void disk_done(struct disk *d);
void disks_done(struct disk_vec *v);
/* NULL: there is none of that name. */
struct disk *disk_find(const struct disk_vec *v, const char *name);

/* Whether a migration has to copy it: it is written to and the target has a file of its own. Read-only ones were made
 * byte-identical from the same source. */
static inline bool disk_is_copied(const struct disk *d)
{
    return !d->read_only && !d->shared;
}

/* The block graph of the disk number i (its place in the list, in which the cold ones come first), from the device
 * down. A hot disk has "hot-TARGET" in the place of "diskI": its number changes when others go. "diskI"       format
 * layer: what the device uses, what is exported and mirrored "diskI-file"  protocol layer "diskI-base",
 * "diskI-base-file"  the image below an overlay and the device's id "diskI-dev". Numbers, because node names end at 31
 * characters and volume names do not. */
#define DISK_NODE_MAX 32
char *disk_node(const struct disk *d, size_t i, char *buf);
char *disk_device(const struct disk *d, size_t i, char *buf); /* its device's id; buf holds DISK_NODE_MAX + 8 */

/* Whether the hot disks that a target was started with are, at their places, those that the VMI's status has. *ret_why
 * says what is not; freed by the caller. */
bool disks_are_those_of(yyjson_val *vmi, const struct disk_vec *disks, char **ret_why);
