/* Defaults and checks of a VirtualMachineInstance's spec; shared with the template of a VirtualMachine. They follow
 * KubeVirt's admission (its defaults, and its messages where it has one for the case). */
#pragma once

#include "api/rules/common.h"

/* What a VM's template gets as well: architecture, machine type, firmware UUID. `spec` is a JSON pointer to the spec in
 * d; the UUID of old_spec (may be NULL) stays. */
void vmi_template_defaults(struct rule_ctx *ctx, yyjson_mut_doc *d, const char *spec, yyjson_val *old_spec);

/* Everything else: processors, memory, devices, networks. For VirtualMachineInstances; old_spec (NULL: at
 * creation) as above. */
void vmi_spec_defaults(struct rule_ctx *ctx, yyjson_mut_doc *d, yyjson_val *old_spec);

/* Appends the faults of a spec; base is its path: "spec" or "spec.template.spec". */
void vmi_spec_check(yyjson_val *spec, const char *base, struct gw_error *err);

/* The parts of it, one file each. */
void vmi_machine_check(yyjson_val *spec, struct where *w);    /* vmi_machine.c: processors, memory, firmware */
void vmi_storage_check(yyjson_val *spec, struct where *w);    /* vmi_storage.c: disks and volumes */
void vmi_network_check(yyjson_val *spec, struct where *w);    /* vmi_network.c: interfaces and networks */
void vmi_scheduling_check(yyjson_val *spec, struct where *w); /* vmi_scheduling.c: selectors, affinity, tolerations */

/* vmi_hotplug.c: what may change in the spec of a VMI that lives: its hot volumes and their disks. */
void vmi_hotplug_check(yyjson_val *spec, yyjson_val *old, struct gw_error *err);

/* Most that a name of a VM may have: it becomes the value of labels. */
#define VM_NAME_MAX 63
void vm_name_check(yyjson_val *object, struct gw_error *err);
