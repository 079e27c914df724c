/* Which volumes a launcher has to do with (volumes.h). */
#include "agent/volumes/volumes.h"
#include "api/volumes.h"

#define DISKS "/spec/domain/devices/disks"

struct lists {
    yyjson_mut_doc *doc;
    yyjson_mut_val *disks, *volumes;
};

static void add(struct lists *l, yyjson_val *disk, yyjson_val *volume, const char *target)
{
    yyjson_mut_val *copy = yyjson_val_mut_copy(l->doc, disk);

    if (target)
        yyjson_mut_obj_put(copy, yyjson_mut_str(l->doc, "target"), yyjson_mut_strcpy(l->doc, target));
    yyjson_mut_arr_append(l->disks, copy);
    if (volume)
        yyjson_mut_arr_append(l->volumes, yyjson_val_mut_copy(l->doc, volume));
}

/* A disk without a volume is kept too: the plan says what is wrong with it. */
static void add_of_spec(struct lists *l, yyjson_val *vmi, bool hot)
{
    yyjson_val *disk;

    json_each(json_at(vmi, DISKS), disk) {
        yyjson_val *volume = json_find(json_at(vmi, "/spec/volumes"), "/name", json_str(disk, "/name"));
        if (hot == (volume && volume_is_hot(volume)))
            add(l, disk, volume, NULL);
    }
}

static void add_of_status(struct lists *l, yyjson_val *vmi)
{
    yyjson_val *status;

    json_each(json_at(vmi, "/status/volumeStatus"), status) {
        yyjson_val *disk = json_at(status, "/hotplugVolume/disk"), *volume = json_at(status, "/hotplugVolume/volume");
        if (volume_status_attached(status) && disk && volume)
            add(l, disk, volume, json_str(status, "/target"));
    }
}

static struct lists begin(yyjson_val *vmi)
{
    struct lists l = {.doc = json_copy(vmi)};

    l.disks = yyjson_mut_arr(l.doc);
    l.volumes = yyjson_mut_arr(l.doc);
    return l;
}

static yyjson_doc *end(struct lists *l)
{
    json_set(l->doc, DISKS, l->disks);
    json_set(l->doc, "/spec/volumes", l->volumes);
    yyjson_doc *doc = yyjson_mut_doc_imut_copy(l->doc, NULL);
    yyjson_mut_doc_free(l->doc);
    return doc;
}

yyjson_doc *volumes_effective(yyjson_val *vmi, bool target)
{
    struct lists l = begin(vmi);

    add_of_spec(&l, vmi, false);
    if (target)
        add_of_status(&l, vmi);
    else
        add_of_spec(&l, vmi, true);
    return end(&l);
}

yyjson_doc *volumes_effective_one(yyjson_val *vmi, const char *name)
{
    yyjson_val *spec = json_at(vmi, "/spec"), *disk = spec_disk(spec, name), *volume = spec_hot_volume(spec, name);

    if (!disk || !volume)
        return NULL;
    struct lists l = begin(vmi);
    add(&l, disk, volume, NULL);
    return end(&l);
}
