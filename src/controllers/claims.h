/* Claims, volumes and storage classes: what the scheduler and the volume controller both need to know. */
#pragma once

#include "base/json.h"

/* On a claim, by the scheduler: the node where its volume is to be made. As in Kubernetes. */
#define ANNOTATION_SELECTED_NODE "volume.kubernetes.io/selected-node"
/* On a volume: the provisioner that made it. As in Kubernetes. */
#define ANNOTATION_PROVISIONED_BY "pv.kubernetes.io/provisioned-by"

#define PROVISIONER_SHARED "godwit.io/shared-directory"
#define PROVISIONER_LOCAL "godwit.io/node-directory"

/* On a node, by its agent: where it keeps the volumes of these classes. */
#define ANNOTATION_SHARED_DIR "godwit.io/shared-directory"
#define ANNOTATION_LOCAL_DIR "godwit.io/node-directory"

/* phase is Bound and the volume is named. */
bool claim_is_bound(yyjson_val *claim);
/* spec.storageClassName, "" for none. */
const char *claim_class(yyjson_val *claim);
/* Is the volume of this class only made (or bound) once it is known where it will be used. */
bool class_waits(yyjson_val *storage_class);
