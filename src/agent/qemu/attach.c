#include "agent/qemu/attach.h"

#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

#define DISK_SLOTS (SLOT_PORTS - SLOT_DISK)
#define SATA_PORTS 6
#define LETTERS 26

void attachment_done(struct attachment *a)
{
    for (size_t i = 0; i < a->n_nodes; i++)
        yyjson_mut_doc_free(a->nodes[i]);
    yyjson_mut_doc_free(a->device);
    *a = (struct attachment){0};
}

yyjson_mut_doc *qemu_device(const char *driver, const char *id)
{
    yyjson_mut_doc *d = json_object();

    json_set_str(d, "/driver", driver);
    json_set_str(d, "/id", id);
    return d;
}

/* The place of item i of a list that begins at slot `first`: round over the slots, then over the functions. Function 0
 * always says multifunction, or the guest would not look for the others. */
void qemu_set_address(yyjson_mut_doc *d, unsigned first, unsigned slots, size_t i)
{
    char addr[16];

    snprintf(addr, sizeof(addr), "0x%x.0x%x", first + (unsigned)(i % slots), (unsigned)(i / slots));
    json_set_str(d, "/bus", "pcie.0");
    json_set_str(d, "/addr", addr);
    if (slots > 1 && i < slots)
        json_set_bool(d, "/multifunction", true);
}

/* --- Kinds of disks --- */

struct disk_kind {
    const char *field; /* "disk" or "cdrom" */
    const char *bus;
    const char *driver;
};

static const struct disk_kind disk_kinds[] = {
    {"disk", "virtio", "virtio-blk-pci"}, {"disk", "sata", "ide-hd"},   {"disk", "scsi", "scsi-hd"},
    {"cdrom", "sata", "ide-cd"},          {"cdrom", "scsi", "scsi-cd"},
};

static const struct disk_kind *kind_of(yyjson_val *spec)
{
    const char *field = json_at(spec, "/cdrom") ? "cdrom" : "disk";
    yyjson_val *dev = yyjson_obj_get(spec, field);
    const char *bus = json_str_or(dev, "/bus", streq(field, "cdrom") ? "sata" : "virtio");

    for (size_t k = 0; k < ARRAY_SIZE(disk_kinds); k++)
        if (streq(disk_kinds[k].field, field) && streq(disk_kinds[k].bus, bus))
            return &disk_kinds[k];
    return NULL;
}

/* "none" where the file system can do without the page cache, as KubeVirt chooses. */
static const char *cache_of(yyjson_val *spec, const struct disk *disk)
{
    const char *cache = json_str(spec, "/cache");

    return cache && *cache ? cache : disk->direct ? "none" : "writethrough";
}

static yyjson_mut_doc *file_node(const char *node, const char *path, bool read_only, bool direct, const char *io)
{
    yyjson_mut_doc *d = json_object();

    json_set_str(d, "/driver", "file");
    json_set_str(d, "/node-name", node);
    json_set_str(d, "/filename", path);
    json_set_bool(d, "/read-only", read_only);
    json_set_bool(d, "/cache/direct", direct);
    json_set_str(d, "/aio", direct && str_same(io, "native") ? "native" : "threads");
    if (!read_only)
        json_set_str(d, "/discard", "unmap");
    return d;
}

static yyjson_mut_doc *format_node(const char *node, const char *format, const char *file, bool read_only)
{
    yyjson_mut_doc *d = json_object();

    json_set_str(d, "/driver", format);
    json_set_str(d, "/node-name", node);
    json_set_str(d, "/file", file);
    json_set_bool(d, "/read-only", read_only);
    return d;
}

static void add_node(struct attachment *a, yyjson_mut_doc *d)
{
    a->nodes[a->n_nodes++] = d;
}

static void add_block_graph(yyjson_val *spec, const struct disk *disk, size_t i, struct attachment *a)
{
    bool direct = streq(cache_of(spec, disk), "none");
    const char *io = json_str(spec, "/io");
    char node[DISK_NODE_MAX], file[DISK_NODE_MAX + 8], base[DISK_NODE_MAX + 8], base_file[DISK_NODE_MAX + 16];
    yyjson_mut_doc *d;

    disk_node(disk, i, node);
    snprintf(file, sizeof(file), "%s-file", node);
    snprintf(base, sizeof(base), "%s-base", node);
    snprintf(base_file, sizeof(base_file), "%s-base-file", node);
    if (disk->backing) {
        add_node(a, file_node(base_file, disk->backing, true, direct, io));
        add_node(a, format_node(base, disk->backing_format, base_file, true));
    }
    add_node(a, file_node(file, disk->path, disk->read_only, direct, io));
    d = format_node(node, disk->format, file, disk->read_only);
    if (!disk->read_only)
        json_set_str(d, "/discard", "unmap");
    if (disk->backing)
        json_set_str(d, "/backing", base);
    else if (streq(disk->format, "qcow2"))
        json_set(d, "/backing", yyjson_mut_null(d)); /* never what a foreign file's header names */
    add_node(a, d);
}

/* --- Places --- */

static bool is_virtio(const char *target)
{
    return target && target[0] == 'v';
}

static size_t letter_of(const char *target)
{
    return target && strlen(target) == 3 ? (size_t)(target[2] - 'a') : LETTERS;
}

static int set_hot_place(yyjson_mut_doc *d, const struct disk *disk, const struct attachment_places *places,
                         struct gw_error *err)
{
    size_t letter = letter_of(disk->target);
    char bus[24];

    if (letter >= LETTERS || (is_virtio(disk->target) && letter - places->virtio >= HOT_PORTS))
        return gw_error_set(err, GW_INVALID, "disk %s: %s is no place for a disk that is plugged", disk->name,
                            disk->target ? disk->target : "\"\"");
    if (is_virtio(disk->target)) {
        snprintf(bus, sizeof(bus), HOT_PORT "%zu", letter - places->virtio);
        json_set_str(d, "/bus", bus);
        json_set_str(d, "/addr", "0x0");
    } else {
        json_set_str(d, "/bus", "scsi.0");
        json_set_int(d, "/scsi-id", (int64_t)letter);
    }
    return 0;
}

static int set_cold_place(yyjson_mut_doc *d, const char *kind, size_t i, struct attachment_places *places,
                          struct gw_error *err)
{
    char bus[24];

    if (streq(kind, "virtio")) {
        if (places->virtio >= 8 * DISK_SLOTS)
            return gw_error_set(err, GW_INVALID, "spec.domain.devices.disks[%zu]: more than %d virtio disks", i,
                                8 * DISK_SLOTS);
        qemu_set_address(d, SLOT_DISK, DISK_SLOTS, places->virtio++);
    } else if (streq(kind, "sata")) {
        if (places->sata >= SATA_PORTS)
            return gw_error_set(err, GW_INVALID, "spec.domain.devices.disks[%zu]: more than %d SATA disks", i,
                                SATA_PORTS);
        snprintf(bus, sizeof(bus), "ide.%zu", places->sata++);
        json_set_str(d, "/bus", bus);
    } else {
        json_set_str(d, "/bus", "scsi.0");
        json_set_int(d, "/scsi-id", (int64_t)places->scsi++);
    }
    return 0;
}

struct attachment_places attachment_cold_places(const struct disk_vec *all)
{
    struct attachment_places places = {0};

    VEC_EACH(all, d)
        places.virtio += !d->hot && is_virtio(d->target);
    return places;
}

char *attachment_cold_name(yyjson_val *spec, struct attachment_places *places, char *buf)
{
    const struct disk_kind *kind = kind_of(spec);
    bool virtio = kind && streq(kind->bus, "virtio");
    size_t nth = virtio ? places->virtio++ : places->scsi++;

    snprintf(buf, DISK_TARGET_MAX, "%s%c", virtio ? "vd" : "sd", (char)('a' + nth % LETTERS));
    return buf;
}

bool attachment_is_scsi(yyjson_val *spec)
{
    const struct disk_kind *kind = kind_of(spec);

    return kind && streq(kind->bus, "scsi");
}

static bool is_taken(const struct disk_vec *all, const char *target)
{
    VEC_EACH(all, d)
        if (str_same(d->target, target))
            return true;
    return false;
}

/* SCSI disks of the VM's own have the lowest targets, and names of that many letters; so a free letter is a free
 * target. */
int attachment_find_place(yyjson_val *spec, const struct disk_vec *all, char *buf, struct gw_error *err)
{
    const struct disk_kind *kind = kind_of(spec);
    bool virtio = kind && streq(kind->bus, "virtio");
    size_t first = virtio ? attachment_cold_places(all).virtio : 0;
    size_t last = virtio ? MIN(first + HOT_PORTS, LETTERS) : LETTERS;

    if (!virtio && !attachment_is_scsi(spec))
        return gw_error_set(err, GW_INVALID, "disk %s: only buses scsi and virtio take disks while the VM runs",
                            json_str_or(spec, "/name", ""));
    for (size_t i = first; i < last; i++) {
        snprintf(buf, DISK_TARGET_MAX, "%s%c", virtio ? "vd" : "sd", (char)('a' + i));
        if (!is_taken(all, buf))
            return 0;
    }
    return gw_error_set(err, GW_INVALID, "disk %s: no free place on bus %s, which takes %zu disks while the VM runs%s",
                        json_str_or(spec, "/name", ""), virtio ? "virtio" : "scsi", last - first,
                        virtio ? "; bus scsi takes more" : "");
}

/* --- All --- */

static int make_device(yyjson_val *spec, const struct disk_kind *kind, const struct disk *disk, size_t i,
                       struct attachment_places *places, struct attachment *a, struct gw_error *err)
{
    char node[DISK_NODE_MAX], id[DISK_NODE_MAX + 8];
    yyjson_mut_doc *d = a->device = qemu_device(kind->driver, disk_device(disk, i, id));

    json_set_str(d, "/drive", disk_node(disk, i, node));
    int r = disk->hot ? set_hot_place(d, disk, places, err) : set_cold_place(d, kind->bus, i, places, err);
    if (json_str(spec, "/serial"))
        json_set_str(d, "/serial", json_str(spec, "/serial"));
    if (streq(kind->field, "disk"))
        json_set_str(d, "/write-cache", streq(cache_of(spec, disk), "writethrough") ? "off" : "on");
    return r;
}

int attachment_make(yyjson_val *spec, const struct disk *disk, size_t i, struct attachment_places *places,
                    struct attachment *ret, struct gw_error *err)
{
    const struct disk_kind *kind = kind_of(spec);
    struct attachment a = {0};

    if (!kind)
        return gw_error_set(err, GW_INVALID,
                            "spec.domain.devices.disks[%zu]: supported are disk on virtio, sata or scsi "
                            "and cdrom on sata or scsi",
                            i);
    add_block_graph(spec, disk, i, &a);
    int r = make_device(spec, kind, disk, i, places, &a, err);
    if (r < 0)
        attachment_done(&a);
    *ret = a;
    return r;
}
