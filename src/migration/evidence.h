/* What stored objects show of those who are silent (docs/handover.md, section 6). Pure: the migration controller asks
 * it of what its caches have, and the API server once more of what is stored at the very moment of the write. */
#pragma once

#include <stdbool.h>

#include "base/json.h"

/* Whether a QEMU of that pod can run the guest no more: its node is declared dead, or the node's agent answers and the
 * pod has ended or is no more. node and pod are NULL where they are not there. */
bool evidence_side_is_gone(yyjson_val *node, yyjson_val *pod);

/* Whether the VMI may have written to a disk that is not copied with it. find looks up the PersistentVolumeClaim of
 * that name in the VMI's namespace; what is not to be found counts as shared, since that can do no harm. */
bool evidence_disk_is_shared(yyjson_val *vmi, yyjson_val *(*find)(void *data, const char *claim), void *data);
