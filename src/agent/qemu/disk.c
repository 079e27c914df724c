#include "agent/qemu/disk.h"

#include <stdio.h>
#include <string.h>

#include "api/volumes.h"
#include "base/alloc.h"
#include "base/str.h"

void disk_done(struct disk *d)
{
    char *const texts[] = {d->name, d->path, d->format, d->backing, d->backing_format, d->target, d->definition};

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        free(texts[i]);
    *d = (struct disk){0};
}

void disks_done(struct disk_vec *v)
{
    VEC_EACH(v, d)
        disk_done(d);
    disk_vec_done(v);
}

struct disk *disk_find(const struct disk_vec *v, const char *name)
{
    VEC_EACH(v, d)
        if (strcmp(d->name, name) == 0)
            return d;
    return NULL;
}

char *disk_node(const struct disk *d, size_t i, char *buf)
{
    if (d->hot)
        snprintf(buf, DISK_NODE_MAX, "hot-%s", d->target ? d->target : "");
    else
        snprintf(buf, DISK_NODE_MAX, "disk%zu", i);
    return buf;
}

char *disk_device(const struct disk *d, size_t i, char *buf)
{
    char node[DISK_NODE_MAX];

    snprintf(buf, DISK_NODE_MAX + 8, "%s-dev", disk_node(d, i, node));
    return buf;
}

static bool has(const struct disk_vec *disks, yyjson_val *status)
{
    struct disk *d = disk_find(disks, json_str_or(status, "/name", ""));

    return d && d->hot && str_same(d->target, json_str(status, "/target"));
}

static bool is_attached(yyjson_val *vmi, const struct disk *d)
{
    yyjson_val *status = json_find(json_at(vmi, "/status/volumeStatus"), "/name", d->name);

    return status && volume_status_attached(status) && str_same(d->target, json_str(status, "/target"));
}

bool disks_are_those_of(yyjson_val *vmi, const struct disk_vec *disks, char **ret_why)
{
    yyjson_val *status;

    VEC_EACH(disks, d)
        if (d->hot && !is_attached(vmi, d)) {
            *ret_why = xasprintf("volume %s was unplugged while the target was made ready", d->name);
            return false;
        }
    json_each(json_at(vmi, "/status/volumeStatus"), status)
        if (volume_status_attached(status) && !has(disks, status)) {
            *ret_why =
                xasprintf("volume %s was plugged while the target was made ready", json_str_or(status, "/name", ""));
            return false;
        }
    return true;
}
