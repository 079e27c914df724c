/* What a running instance has of its VM's hot volumes (KubeVirt: declarative hotplug of volumes). */
#include "api/meta.h"
#include "api/volumes.h"
#include "base/str.h"
#include "controllers/vm_plan.h"

#define TEMPLATE "/spec/template/spec"
#define DISKS "/spec/domain/devices/disks"

struct lists {
    yyjson_mut_doc *patch;
    yyjson_mut_val *volumes, *disks;
    bool changed;
};

/* Gone from the template, or another one under the same name: that one comes when this is out of the guest. */
static bool is_dropped(yyjson_val *template, yyjson_val *vmi, yyjson_val *volume)
{
    const char *name = json_str_or(volume, "/name", "");
    yyjson_val *wanted = json_find(json_at(template, "/volumes"), "/name", name);

    if (!volume_is_hot(volume) || volume_is_ephemeral(vmi, name))
        return false;
    return !wanted || (volume_is_hot(wanted) && !json_equal(wanted, volume));
}

static void add(struct lists *l, yyjson_val *volume, yyjson_val *disk)
{
    yyjson_mut_arr_append(l->volumes, yyjson_val_mut_copy(l->patch, volume));
    if (disk)
        yyjson_mut_arr_append(l->disks, yyjson_val_mut_copy(l->patch, disk));
}

static void keep_present(struct lists *l, yyjson_val *template, yyjson_val *vmi)
{
    yyjson_val *volume;

    json_each(json_at(vmi, "/spec/volumes"), volume) {
        if (is_dropped(template, vmi, volume))
            l->changed = true;
        else
            add(l, volume, spec_disk(json_at(vmi, "/spec"), json_str_or(volume, "/name", "")));
    }
}

/* The status of one that is on its way out stays until it is gone. */
static void add_missing(struct lists *l, yyjson_val *template, yyjson_val *vmi)
{
    yyjson_val *volume;

    json_each(json_at(template, "/volumes"), volume) {
        const char *name = json_str_or(volume, "/name", "");
        yyjson_val *disk = spec_disk(template, name);
        if (!volume_is_hot(volume) || !disk || json_find(json_at(vmi, "/spec/volumes"), "/name", name) ||
            json_find(json_at(vmi, "/status/volumeStatus"), "/name", name))
            continue;
        add(l, volume, disk);
        l->changed = true;
    }
}

yyjson_mut_doc *vm_volumes_patch(yyjson_val *vm, yyjson_val *vmi)
{
    yyjson_val *template = json_at(vm, TEMPLATE);
    struct lists l = {.patch = json_object()};

    l.volumes = yyjson_mut_arr(l.patch);
    l.disks = yyjson_mut_arr(l.patch);
    if (streq(json_str_or(vmi, "/status/phase", ""), "Running") && !meta_deleting(vmi)) {
        keep_present(&l, template, vmi);
        add_missing(&l, template, vmi);
    }
    if (!l.changed) {
        yyjson_mut_doc_free(l.patch);
        return NULL;
    }
    json_set(l.patch, "/spec/volumes", l.volumes);
    json_set(l.patch, DISKS, l.disks);
    return l.patch;
}
