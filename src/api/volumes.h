/* What a VMI's spec and status say about volumes that come and go while it runs. Pure.
 *
 * The spec has what is wanted: a volume whose source says `hotpluggable`, and a disk of its name. The status has what
 * the guest has: an entry with `hotplugVolume` and a `target` is in QEMU, or may be. The owner's agent writes the entry
 * before it touches QEMU and completes it afterwards, so in between it says a phase other than Ready. */
#pragma once

#include <stdbool.h>

#include "base/json.h"

/* On PersistentVolumes that Godwit's own classes make, so that agents hear when one goes: the node that it is of, or
 * that it lies in the folder that all nodes see. */
#define LABEL_VOLUME_NODE "godwit.io/node"
#define LABEL_VOLUME_PLACE "godwit.io/place"
#define PLACE_SHARED "shared-directory"

/* Of spec.volumes[]. */
bool volume_is_hot(yyjson_val *volume);
/* Name of the claim behind it, or NULL. */
const char *volume_claim(yyjson_val *volume);

/* Whether a PersistentVolumeClaim is for nodes at once: such a disk is not copied with its guest. */
bool claim_is_shared(yyjson_val *claim);

/* Whether a VMI has the claim or is to have it: its spec names it, or QEMU has the disk still. */
bool vmi_uses_claim(yyjson_val *vmi, const char *claim);

/* On a claim that is not shared: NAME/UID of the one VMI that may open its disk. Set by the VMI's controller, one VMI
 * at a time and never away from one that uses it (the API server sees to that, apiserver/authz_claim.c); obeyed by
 * agents before QEMU has the disk. QEMU's lock on the file is the last line. */
#define ANNOTATION_USED_BY "godwit.io/used-by"
/* Its text for a VMI. Caller frees. */
char *claim_user_text(yyjson_val *vmi);
/* Name and uid in that text, *ret_name to be freed; false if there is none. */
bool claim_user(yyjson_val *claim, char **ret_name, const char **ret_uid);
/* Whether that VMI may open it: always if it is shared. */
bool claim_is_given_to(yyjson_val *claim, yyjson_val *vmi);
/* Whether vmi (NULL: absent), which has the name that claim_user told, needs it still. */
bool claim_is_in_use(yyjson_val *claim, yyjson_val *vmi);

/* Of spec (a VMI's, or a VM's template's): the hot volume of that name, or NULL; and its disk. */
yyjson_val *spec_hot_volume(yyjson_val *spec, const char *name);
yyjson_val *spec_disk(yyjson_val *spec, const char *name);

/* Whether a running instance alone has that volume, and not its VM's template: a restart of the VM drops it. It is
 * noted in KubeVirt's annotation for it, a JSON list of names. */
#define ANNOTATION_EPHEMERAL "kubevirt.io/ephemeral-hotplug-volumes"
bool volume_is_ephemeral(yyjson_val *vmi, const char *name);
/* Puts the name on the list, or takes it off, in a patch of the instance. */
void volume_set_ephemeral(yyjson_mut_doc *patch, yyjson_val *vmi, const char *name, bool ephemeral);

/* Of status.volumeStatus[]: a hot volume that QEMU has or may have. */
bool volume_status_attached(yyjson_val *status);

/* True when each of them is attached for good. Else *ret_name (may be NULL) is one that is on its way in or out. */
bool volumes_settled(yyjson_val *vmi, const char **ret_name);

/* The lists at base ("/spec" or "/spec/template/spec") of object with a volume and its disk added, or without them, as
 * a merge patch. Caller frees. */
yyjson_mut_doc *volumes_patch_add(yyjson_val *object, const char *base, yyjson_val *disk, yyjson_val *volume,
                                  const char *name);
yyjson_mut_doc *volumes_patch_remove(yyjson_val *object, const char *base, const char *name);
