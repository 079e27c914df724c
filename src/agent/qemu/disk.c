#include "agent/qemu/disk.h"

#include <stdio.h>

void disks_done(struct disk_vec *v)
{
    VEC_EACH(v, d) {
        free(d->name);
        free(d->path);
        free(d->format);
        free(d->backing);
        free(d->backing_format);
    }
    disk_vec_done(v);
}

char *disk_node(size_t i, char *buf)
{
    snprintf(buf, DISK_NODE_MAX, "disk%zu", i);
    return buf;
}
