/* What may change in a VMI that lives: its hot volumes and their disks. Messages are those of KubeVirt's admission (its
 * pkg/storage/admitters). */
#include <string.h>

#include "api/rules/vmi_spec.h"
#include "api/volumes.h"

#define DISKS "/domain/devices/disks"

static void invalid(struct gw_error *err, const char *field, const char *fmt, const char *name)
{
    const char *mark = strstr(fmt, "%s");

    gw_error_add_cause(err, CAUSE_INVALID, field, "%.*s%s%s", (int)(mark - fmt), fmt, name, mark + 2);
}

/* The spec without its volumes and disks. Caller frees. */
static yyjson_doc *rest_of(yyjson_val *spec)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_copy(spec);

    json_remove(d, "/volumes");
    json_remove(d, DISKS);
    return yyjson_mut_doc_imut_copy(d, NULL);
}

static bool same_but_volumes(yyjson_val *a, yyjson_val *b)
{
    _cleanup_doc_ yyjson_doc *one = rest_of(a), *other = rest_of(b);

    return json_equal(yyjson_doc_get_root(one), yyjson_doc_get_root(other));
}

static bool same(yyjson_val *a, yyjson_val *b)
{
    return a == b || (a && b && json_equal(a, b));
}

static void check_permanent(yyjson_val *spec, yyjson_val *old, struct gw_error *err)
{
    yyjson_val *volume;
    int before = 0, after = 0;

    json_each(json_at(spec, "/volumes"), volume)
        after += !volume_is_hot(volume);
    json_each(json_at(old, "/volumes"), volume) {
        const char *name = json_str_or(volume, "/name", "");
        yyjson_val *now = json_find(json_at(spec, "/volumes"), "/name", name);
        if (volume_is_hot(volume))
            continue;
        before++;
        if (!now)
            invalid(err, "spec.volumes", "permanent volume %s, not found", name);
        else if (!same(volume, now))
            invalid(err, "spec.volumes", "permanent volume %s, changed", name);
        if (!same(spec_disk(old, name), spec_disk(spec, name)))
            invalid(err, "spec.domain.devices.disks", "permanent disk %s, changed", name);
    }
    if (before != after)
        gw_error_add_cause(err, CAUSE_INVALID, "spec.volumes", "Number of permanent volumes has changed");
}

static void check_hot(yyjson_val *spec, yyjson_val *old, struct gw_error *err)
{
    yyjson_val *volume;

    json_each(json_at(spec, "/volumes"), volume) {
        const char *name = json_str_or(volume, "/name", "");
        yyjson_val *before = spec_hot_volume(old, name);
        if (!volume_is_hot(volume) || !before)
            continue;
        if (!same(volume, before))
            invalid(err, "spec.volumes", "hotplug volume %s, changed", name);
        if (!same(spec_disk(spec, name), spec_disk(old, name)))
            invalid(err, "spec.domain.devices.disks", "hotplug disk %s, changed", name);
    }
}

void vmi_hotplug_check(yyjson_val *spec, yyjson_val *old, struct gw_error *err)
{
    struct where w = {.base = "spec", .err = err};
    size_t disks = yyjson_arr_size(json_at(spec, DISKS)), volumes = yyjson_arr_size(json_at(spec, "/volumes"));

    if (!same_but_volumes(spec, old)) {
        gw_error_add_cause(err, CAUSE_NOT_SUPPORTED, "spec", "update of VMI object is restricted");
        return;
    }
    if (disks != volumes)
        gw_error_add_cause(err, CAUSE_INVALID, "spec.volumes",
                           "mismatch between volumes declared (%zu) and required (%zu)", volumes, disks);
    check_permanent(spec, old, err);
    check_hot(spec, old, err);
    vmi_storage_check(spec, &w);
}
