#include "api/rules/kinds.h"

#include <string.h>

/* One row per kind that has rules. */
static const struct rules *const table[] = {
    &namespace_rules,
    &node_rules,
    &event_rules,
    &lease_rules,
    &secret_rules,
    &configmap_rules,
    &persistentvolume_rules,
    &persistentvolumeclaim_rules,
    &pod_rules,
    &csr_rules,
    &vm_rules,
    &vmi_rules,
    &migration_rules,
    &kubevirt_rules,
    &hyperconverged_rules,
    &migrationpolicy_rules,
    &crd_rules,
    &role_rules,
    &clusterrole_rules,
    &rolebinding_rules,
    &clusterrolebinding_rules,
};

static const struct rules none;

const struct rules *rules_find(const char *group, const char *kind)
{
    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        if (streq(table[i]->group, group) && streq(table[i]->kind, kind))
            return table[i];
    return &none;
}
