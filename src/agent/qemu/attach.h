/* How one disk is attached: its block graph and its device, in the form that QEMU's command line and QMP both take, so
 * that a disk which was plugged in and the same one at the start of a migration's target are the same to the guest.
 * Pure.
 *
 * Cold disks have their place by their number (command.h). A hot one has it by its name, which was chosen when it was
 * plugged and is kept in the VMI's status: "sdc" is SCSI target 2 of the controller that every VM has, and "vdc" the
 * first of the spare PCIe ports in a VM with two virtio disks of its own. */
#pragma once

#include "agent/qemu/disk.h"
#include "base/json.h"

#define SLOT_DISK 0x08 /* on bus pcie.0, up to the ports */
#define SLOT_PORTS 0x1d
#define HOT_PORTS 4u
#define HOT_PORT "hotport" /* and its number: a pcie-root-port, which is a bus for one device */

/* Places that earlier disks of the list have taken. */
struct attachment_places {
    size_t virtio, sata, scsi;
};

struct attachment {
    yyjson_mut_doc *nodes[4]; /* for blockdev-add, in this order */
    size_t n_nodes;
    yyjson_mut_doc *device; /* for device_add */
};

void attachment_done(struct attachment *a);
#define _cleanup_attachment_ _cleanup_(attachment_done)

/* spec: of spec.domain.devices.disks; i: the disk's number (disk_node). Invalid, with the field, for what cannot be
 * built. */
int attachment_make(yyjson_val *spec, const struct disk *disk, size_t i, struct attachment_places *places,
                    struct attachment *ret, struct gw_error *err);

bool attachment_is_scsi(yyjson_val *spec);

/* A free place for a disk that is to be plugged, as the name that Linux guests give it; all are those that the VM has.
 * buf holds DISK_TARGET_MAX. Invalid when there is none. */
int attachment_find_place(yyjson_val *spec, const struct disk_vec *all, char *buf, struct gw_error *err);

/* The places that the cold ones of a VM's disks take. */
struct attachment_places attachment_cold_places(const struct disk_vec *all);

/* The name for the next cold disk of a list. */
char *attachment_cold_name(yyjson_val *spec, struct attachment_places *places, char *buf);

/* {"driver":DRIVER,"id":ID}; and a device's address on pcie.0: the place of item i of a list that begins at slot
 * `first` and has so many slots. Caller frees the document. */
yyjson_mut_doc *qemu_device(const char *driver, const char *id);
void qemu_set_address(yyjson_mut_doc *d, unsigned first, unsigned slots, size_t i);
