/* The volumes of a VMI on this node, in two steps: a pure plan, from the spec and the objects that it refers to, and
 * its preparation, which touches disks and blocks (run it on a worker thread).
 *
 * A migration target plans and prepares the same: an empty overlay over the image of the same digest, an empty disk of
 * the same size, a byte-identical cloud-init image, the very same file of a shared claim. What must then be copied
 * follows from struct disk (disk_is_copied). */
#pragma once

#include "agent/qemu/disk.h"
#include "base/json.h"
#include "base/strv.h"

enum volume_kind {
    VOLUME_CONTAINER_DISK, /* a qcow2 overlay over an image of the store; or the image itself where it is read-only */
    VOLUME_CLOUD_INIT,     /* NoCloud: an ISO image labelled "cidata" */
    VOLUME_EMPTY_DISK,     /* an empty qcow2 that lives as long as the pod */
    VOLUME_CLAIM,          /* disk.img in the folder of a PersistentVolume */
    VOLUME_KIND_MAX,
};

struct volume {
    enum volume_kind kind;
    char *name;
    bool read_only;
    char *image, *path, *digest;                /* container disk; path and digest may be NULL */
    int64_t capacity;                           /* empty disk; claim: size of a disk.img that is to be made */
    char *user_data, *meta_data, *network_data; /* cloud-init; network_data may be NULL */
    size_t user_len, network_len;
    char *claim, *folder; /* claim: its name, and where its volume is on this node */
    char *made_as;        /* claim: name of a volume that Godwit's own classes provide: its folder is
                           * below shared_dir or local_dir of the node, whatever `folder` says */
    bool of_node;         /* the latter: the volume is this node's alone, whoever may have it at a time */
    bool make_folder;     /* it may have to be made */
    bool reclaim;         /* and is to go with its volume */
    bool shared;
    bool hot; /* struct disk says what these are */
    char *target;
    char *definition; /* hot: of the spec */
};
VEC_DEFINE(volume_vec, struct volume);

struct volume_plan {
    struct volume_vec disks;                        /* in the order of spec.domain.devices.disks */
    char *kernel_image, *kernel_path, *initrd_path; /* kernelBoot; NULL without */
    char *kernel_digest;
};

void volume_plan_done(struct volume_plan *p);
#define _cleanup_volume_plan_ _cleanup_(volume_plan_done)

/* The VMI with the volumes and disks that a launcher starts with: the cold ones as the spec has them, behind them the
 * hot ones. A first start takes those of the spec; a migration's target those that the guest has as its status says, as
 * they were when they were plugged, each at its place ("target" of the disk), whatever the spec has come to want since.
 */
yyjson_doc *volumes_effective(yyjson_val *vmi, bool target);

/* The same with nothing but one hot volume of the spec, to be plugged; NULL: it has none of that name. */
yyjson_doc *volumes_effective_one(yyjson_val *vmi, const char *name);

/* Finds an object that the VMI refers to, in its namespace: kind "Secret" or "PersistentVolumeClaim"; or, without a
 * namespace, "PersistentVolume". NULL: not there. The value must live until volumes_plan has returned. */
typedef yyjson_val *(*volume_lookup_fn)(void *userdata, const char *kind, const char *name);

/* Names the objects that volumes_plan will look up, as "Kind/name"; a PersistentVolume's name is known only once its
 * claim is, so ask again when the claims are there. */
void volumes_needs(yyjson_val *vmi, volume_lookup_fn lookup, void *userdata, struct strv *ret);

/* In the folder of a volume that goes with its PersistentVolume (reclaim policy Delete). */
#define VOLUME_RECLAIM_MARK ".godwit-reclaim"

/* Digests that the VMI's status has recorded are demanded. Errors name the volume and the field. *ret_reason is one
 * word for the pod's status ("ErrImagePull", "FailedMount", "InvalidVolume"). */
int volumes_plan(yyjson_val *vmi, volume_lookup_fn lookup, void *userdata, struct volume_plan *ret,
                 const char **ret_reason, struct gw_error *err);

struct volume_place {
    const char *images;                 /* the image store */
    const char *folder;                 /* for the pod's own disks; made here */
    const char *shared_dir, *local_dir; /* for volumes of Godwit's classes; NULL: as the volume says */
    uid_t uid;                          /* of QEMU, who gets the files */
    gid_t gid;
};

struct prepared_volumes {
    struct disk_vec disks;
    struct strv digests;                   /* per disk, "" where it has none */
    char *kernel, *initrd, *kernel_digest; /* NULL without kernelBoot */
    struct strv read_only;                 /* what QEMU must be able to read, and to write */
    struct strv writable;
};

void prepared_volumes_done(struct prepared_volumes *p);

/* Idempotent: what is there already (from a try before, or a launcher that was adopted) is kept. */
int volumes_prepare(const struct volume_plan *plan, const struct volume_place *place, struct prepared_volumes *ret,
                    const char **ret_reason, struct gw_error *err);
