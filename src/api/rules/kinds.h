/* The rule tables, one per kind; each is defined in the file named beside it. */
#pragma once

#include "api/rules.h"

#define GROUP_KUBEVIRT "kubevirt.io"
#define GROUP_CONTROLLERS "system:godwit:controllers"
#define GROUP_NODES "system:nodes"
#define GROUP_MASTERS "system:masters"

/* cluster.c */
extern const struct rules namespace_rules, node_rules, event_rules, lease_rules;
/* payload.c */
extern const struct rules secret_rules, configmap_rules;
/* storage.c */
extern const struct rules persistentvolume_rules, persistentvolumeclaim_rules;
/* pod.c, csr.c, crd.c */
extern const struct rules pod_rules, csr_rules, crd_rules;
/* vm.c, vmi.c, migration.c */
extern const struct rules vm_rules, vmi_rules, migration_rules;
/* settings.c */
extern const struct rules kubevirt_rules, hyperconverged_rules, migrationpolicy_rules;
/* rbac.c */
extern const struct rules role_rules, clusterrole_rules, rolebinding_rules, clusterrolebinding_rules;
