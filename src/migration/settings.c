#include "migration/settings.h"

#include <stdio.h>
#include <string.h>

#include "api/quantity.h"
#include "base/alloc.h"
#include "base/cleanup.h"

enum type { INT, BOOL, QUANTITY };

/* One row per setting: its name is the same in KubeVirt, HyperConverged, MigrationPolicy and migrationConfiguration.
 * Defaults are those of the mission documents. */
static const struct setting {
    const char *name;
    enum type type;
    size_t offset;
    int64_t fallback;
    bool in_policy;
} table[] = {
    {"parallelMigrationsPerCluster", INT, offsetof(struct migration_settings, parallel_per_cluster), 5, false},
    {"parallelOutboundMigrationsPerNode", INT, offsetof(struct migration_settings, parallel_outbound_per_node), 2,
     false},
    {"bandwidthPerMigration", QUANTITY, offsetof(struct migration_settings, bandwidth), 0, true},
    {"completionTimeoutPerGiB", INT, offsetof(struct migration_settings, completion_timeout_per_gib_s), 800, true},
    {"progressTimeout", INT, offsetof(struct migration_settings, progress_timeout_s), 150, false},
    {"allowAutoConverge", BOOL, offsetof(struct migration_settings, auto_converge), false, true},
};

static void put(struct migration_settings *s, const struct setting *row, int64_t value)
{
    void *at = (char *)s + row->offset;

    if (row->type == BOOL)
        *(bool *)at = value != 0;
    else
        *(int64_t *)at = value;
}

static int64_t take(const struct migration_settings *s, const struct setting *row)
{
    const void *at = (const char *)s + row->offset;

    return row->type == BOOL ? *(const bool *)at : *(const int64_t *)at;
}

/* Quantities may be written as text or as a bare number. */
static bool value_of(yyjson_val *from, const struct setting *row, int64_t *ret)
{
    yyjson_val *v = yyjson_obj_get(from, row->name);

    if (row->type == BOOL ? !yyjson_is_bool(v) : !yyjson_is_int(v) && !(row->type == QUANTITY && yyjson_is_str(v)))
        return false;
    *ret = yyjson_is_bool(v)  ? yyjson_get_bool(v)
           : yyjson_is_int(v) ? yyjson_get_sint(v)
                              : quantity_text_value(yyjson_get_str(v), row->fallback);
    return true;
}

/* One key=value pair of a policy's selector that the labels satisfy, in the order that breaks ties. */
struct match {
    const char *policy;
    yyjson_val *spec;
    size_t n_keys;
    const char *keys[128];
};

static bool add_matches(struct match *m, yyjson_val *selector, yyjson_val *labels)
{
    yyjson_val *key, *value;

    json_each_member(selector, key, value) {
        const char *have = yyjson_get_str(yyjson_obj_get(labels, yyjson_get_str(key)));
        const char *want = yyjson_get_str(value);
        if (!have || !want || !streq(have, want))
            return false;
        if (m->n_keys < ARRAY_SIZE(m->keys))
            m->keys[m->n_keys++] = yyjson_get_str(key);
    }
    return true;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Whether the policy fits the VMI: each pair of both selectors must be met. A policy without selectors fits nothing. */
static bool match_policy(struct match *m, yyjson_val *policy, yyjson_val *vmi_labels, yyjson_val *namespace_labels)
{
    yyjson_val *selectors = json_at(policy, "/spec/selectors");

    *m = (struct match){.policy = json_str_or(policy, "/metadata/name", ""), .spec = json_at(policy, "/spec")};
    if (!json_at(selectors, "/virtualMachineInstanceSelector") && !json_at(selectors, "/namespaceSelector"))
        return false;
    if (!add_matches(m, json_at(selectors, "/virtualMachineInstanceSelector"), vmi_labels) ||
        !add_matches(m, json_at(selectors, "/namespaceSelector"), namespace_labels))
        return false;
    qsort(m->keys, m->n_keys, sizeof(*m->keys), by_text);
    return true;
}

/* The greatest number of matching labels wins; then the alphabetical order of the matching keys; then the name. */
static bool better(const struct match *a, const struct match *b)
{
    if (a->n_keys != b->n_keys)
        return a->n_keys > b->n_keys;
    for (size_t i = 0; i < a->n_keys; i++) {
        int order = strcmp(a->keys[i], b->keys[i]);
        if (order)
            return order < 0;
    }
    return strcmp(a->policy, b->policy) < 0;
}

static yyjson_val *best_policy(yyjson_val *const *policies, size_t n, yyjson_val *vmi_labels,
                               yyjson_val *namespace_labels, char name[254])
{
    struct match best = {0}, m;

    for (size_t i = 0; i < n; i++)
        if (match_policy(&m, policies[i], vmi_labels, namespace_labels) && (!best.spec || better(&m, &best)))
            best = m;
    snprintf(name, 254, "%s", best.spec ? best.policy : "");
    return best.spec;
}

void settings_effective(yyjson_val *kubevirt, yyjson_val *hco, yyjson_val *const *policies, size_t n,
                        yyjson_val *vmi_labels, yyjson_val *namespace_labels, struct migration_settings *ret)
{
    yyjson_val *policy = best_policy(policies, n, vmi_labels, namespace_labels, ret->policy);
    yyjson_val *from_kubevirt = json_at(kubevirt, "/spec/configuration/migrations");
    yyjson_val *from_hco = json_at(hco, "/spec/liveMigrationConfig");

    for (const struct setting *row = table; row < table + ARRAY_SIZE(table); row++) {
        int64_t value = row->fallback;
        (void)((row->in_policy && value_of(policy, row, &value)) || value_of(from_kubevirt, row, &value) ||
               value_of(from_hco, row, &value));
        put(ret, row, value);
    }
}

void settings_write(const struct migration_settings *s, yyjson_mut_doc *d, const char *path)
{
    for (const struct setting *row = table; row < table + ARRAY_SIZE(table); row++) {
        _cleanup_free_ char *at = json_path(path, row->name);
        int64_t value = take(s, row);
        char text[QUANTITY_TEXT_MAX];
        struct quantity q = quantity_from(value, QUANTITY_BINARY_SI);

        if (row->type == BOOL)
            json_set_bool(d, at, value);
        else if (row->type == QUANTITY)
            json_set_str(d, at, quantity_format(&q, text));
        else
            json_set_int(d, at, value);
    }
}

void settings_read(yyjson_val *configuration, struct migration_settings *ret)
{
    ret->policy[0] = '\0';
    for (const struct setting *row = table; row < table + ARRAY_SIZE(table); row++) {
        int64_t value = row->fallback;
        (void)value_of(configuration, row, &value);
        put(ret, row, value);
    }
}
