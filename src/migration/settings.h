/* The settings that hold for one migration: KubeVirt's configuration, else HyperConverged's, else the default, field by
 * field; and over them the set fields of the one MigrationPolicy that fits best. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"

struct migration_settings {
    int64_t parallel_per_cluster;
    int64_t parallel_outbound_per_node;
    int64_t bandwidth; /* bytes per second, 0 = unlimited */
    int64_t completion_timeout_per_gib_s;
    int64_t progress_timeout_s;
    bool auto_converge;
    char policy[254]; /* name of the policy that was applied, "" for none */
};

/* kubevirt and hco are the two configuration objects (either may be NULL); policies is an array of n MigrationPolicy
 * objects; vmi_labels and namespace_labels are the label objects of the VMI and its Namespace (NULL = none). */
void settings_effective(yyjson_val *kubevirt, yyjson_val *hco, yyjson_val *const *policies, size_t n,
                        yyjson_val *vmi_labels, yyjson_val *namespace_labels, struct migration_settings *ret);

/* To and from status.migrationState.migrationConfiguration at `path`, where the agents read what was decided. */
void settings_write(const struct migration_settings *s, yyjson_mut_doc *d, const char *path);
void settings_read(yyjson_val *configuration, struct migration_settings *ret);
