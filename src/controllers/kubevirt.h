/* What the controllers of VirtualMachine, VirtualMachineInstance and VirtualMachineInstanceMigration share: names that
 * are part of the API, and small questions about these objects. */
#pragma once

#include "controllers/controller.h"

#define LABEL_APP "kubevirt.io"                   /* = virt-launcher */
#define LABEL_CREATED_BY "kubevirt.io/created-by" /* uid of the VMI */
#define LABEL_VM_NAME "vm.kubevirt.io/name"
#define LABEL_MIGRATION_UID "kubevirt.io/migrationJobUID" /* on target pods */
#define LABEL_VMI_NAME "kubevirt.io/vmi-name"             /* on migrations */
#define LABEL_TARGET_NODE "kubevirt.io/migrationTargetNodeName"
#define LABEL_SCHEDULABLE "kubevirt.io/schedulable"
#define ANNOTATION_DOMAIN "kubevirt.io/domain"
#define ANNOTATION_MIGRATION_NAME "kubevirt.io/migrationJobName"
#define ANNOTATION_ADDRESS "godwit.io/pod-address"
/* For the descheduler: an eviction of this pod is a request to move its VM, not a way to end it; and one is under way.
 */
#define ANNOTATION_EVICT_ONLY "descheduler.alpha.kubernetes.io/request-evict-only"
#define ANNOTATION_EVICTING "descheduler.alpha.kubernetes.io/eviction-in-progress"

extern const struct controller vm_controller, vmi_controller, migration_controller, evacuation_controller;

/* Pods, migrations: "Succeeded" or "Failed". VMIs the same. */
bool is_final(yyjson_val *obj);
bool phase_is(yyjson_val *obj, const char *phase);

/* node_is_dead() of the node of that name in the cache. NULL names none; a node that is absent is not dead. */
bool node_declared_dead(struct task *t, const char *name);

/* Appends {phase, phaseTransitionTimestamp: now} to obj's list in patch and sets /status/phase. Send with precondition.
 */
void patch_phase(yyjson_mut_doc *patch, yyjson_val *obj, const char *phase, int64_t wall_ms);

/* The pod whose QEMU owns the guest, as far as the VMI's status tells: after a migration that succeeded its target's,
 * otherwise the one it left from; for a VMI that never migrated the first. NULL if it is gone. */
yyjson_val *owner_pod(yyjson_val *vmi, const struct val_vec *pods);

/* Index of pods by their node. */
#define INDEX_NODE "node"
void index_node(yyjson_val *pod, struct index_values *out);

/* Index of migrations by "ns/name" of their VMI. */
#define INDEX_VMI "vmi"
void index_vmi(yyjson_val *migration, struct index_values *out);

/* Marks a pod on a node that is declared dead as Failed, in its agent's place. */
void bury_pod(struct task *t, yyjson_val *pod);
