/* The Pod that a VirtualMachineInstance runs in: what it asks of its node, and what its agent must know. Pure.
 *
 * A target pod of a migration asks for the same as the pod it follows, and in addition for what this guest has come to
 * depend on: CPU vendor, model and features, and the machine type it was started with. */
#pragma once

#include <stdint.h>

#include "base/json.h"

/* Memory that QEMU, its devices and the launcher need beside the guest's, in bytes: KubeVirt's formula. */
int64_t launcher_overhead(yyjson_val *vmi);

/* name is "virt-launcher-" + VMI + suffix; address the VM's, NULL if it has no pod network. Callers free. */
char *launcher_pod_name(yyjson_val *vmi, const char *cause_uid);
yyjson_mut_doc *launcher_pod(yyjson_val *vmi, const char *address);

/* source is the pod that the guest runs in, node its Node (NULL if unknown: then nothing is asked of the processor). */
yyjson_mut_doc *target_pod(yyjson_val *vmi, yyjson_val *migration, yyjson_val *source, yyjson_val *node);
