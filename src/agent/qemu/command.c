#include "agent/qemu/command.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

#define SLOT_VIDEO 0x01
#define SLOT_RNG 0x02
#define SLOT_BALLOON 0x03
#define SLOT_NETWORK 0x04
#define SLOT_DISK 0x08
#define SLOT_SCSI 0x1e
#define DISK_SLOTS (SLOT_SCSI - SLOT_DISK)
#define NETWORK_SLOTS (SLOT_DISK - SLOT_NETWORK)
#define SATA_PORTS 6
#define GUEST_PORTS 4

/* Takes the document and appends "option JSON". QEMU's JSON form knows no escaping rules of its own, so that paths may
 * hold commas. */
static void add_json(struct strv *out, const char *option, yyjson_mut_doc *d)
{
    strv_push(out, option);
    strv_take(out, json_text(yyjson_mut_doc_get_root(d)));
    yyjson_mut_doc_free(d);
}

static void add_option(struct strv *out, const char *option, const char *value)
{
    strv_push(out, option);
    strv_push(out, value);
}

static yyjson_mut_doc *device(const char *driver, const char *id)
{
    yyjson_mut_doc *d = json_object();

    json_set_str(d, "/driver", driver);
    json_set_str(d, "/id", id);
    return d;
}

/* The place of item i of a list that begins at slot `first`: round over the slots, then over the functions. Function 0
 * always says multifunction, or the guest would not look for the others. */
static void set_address(yyjson_mut_doc *d, unsigned first, unsigned slots, size_t i)
{
    char addr[16];

    snprintf(addr, sizeof(addr), "0x%x.0x%x", first + (unsigned)(i % slots), (unsigned)(i / slots));
    json_set_str(d, "/bus", "pcie.0");
    json_set_str(d, "/addr", addr);
    if (slots > 1 && i < slots)
        json_set_bool(d, "/multifunction", true);
}

static void add_machine(yyjson_val *vmi, const struct qemu_setup *s, struct strv *out)
{
    struct cpu_topology t = qemu_topology(vmi);
    yyjson_mut_doc *ram = json_object();
    int64_t bytes = qemu_guest_memory(vmi);

    strv_push(out, "-machine");
    strv_printf(out, "%s,usb=off,vmport=off,dump-guest-core=off,memory-backend=ram", s->machine);
    add_option(out, "-accel", streq(s->accelerator, "kvm") ? "kvm" : "tcg,thread=multi");
    add_option(out, "-cpu", s->cpu);
    strv_push(out, "-smp");
    strv_printf(out, "cpus=%d,sockets=%d,cores=%d,threads=%d", t.sockets * t.cores * t.threads, t.sockets, t.cores,
                t.threads);
    strv_push(out, "-m");
    strv_printf(out, "size=%" PRId64 "b", bytes);
    json_set_str(ram, "/qom-type", "memory-backend-memfd");
    json_set_str(ram, "/id", "ram");
    json_set_int(ram, "/size", bytes);
    json_set_bool(ram, "/share", true);
    add_json(out, "-object", ram);
}

static void add_identity(yyjson_val *vmi, struct strv *out)
{
    const char *uuid = json_str(vmi, "/spec/domain/firmware/uuid");
    const char *serial = json_str(vmi, "/spec/domain/firmware/serial");

    strv_push(out, "-name");
    strv_printf(out, "guest=%s_%s", json_str_or(vmi, "/metadata/namespace", "default"),
                json_str_or(vmi, "/metadata/name", "vmi"));
    add_option(out, "-uuid", uuid ? uuid : json_str_or(vmi, "/metadata/uid", "00000000-0000-0000-0000-000000000000"));
    if (serial) {
        strv_push(out, "-smbios");
        strv_printf(out, "type=1,serial=%s", serial);
    }
    add_option(out, "-rtc", "base=utc");
    add_option(out, "-boot", "menu=off,strict=on");
}

static void add_kernel(yyjson_val *vmi, const struct qemu_setup *s, struct strv *out)
{
    if (!s->kernel)
        return;
    add_option(out, "-kernel", s->kernel);
    if (s->initrd)
        add_option(out, "-initrd", s->initrd);
    add_option(out, "-append", json_str_or(vmi, "/spec/domain/firmware/kernelBoot/kernelArgs", ""));
}

static void add_monitors(const struct qemu_setup *s, struct strv *out)
{
    add_option(out, "-chardev", "socket,id=qmp-agent,path=" QEMU_QMP_SOCKET ",server=on,wait=off");
    add_option(out, "-mon", "chardev=qmp-agent,mode=control");
    add_option(out, "-chardev", "socket,id=qmp-tools,path=" QEMU_QMP_SPARE_SOCKET ",server=on,wait=off");
    add_option(out, "-mon", "chardev=qmp-tools,mode=control");
    strv_push(out, "-chardev");
    strv_printf(out, "socket,id=qmp-launcher,fd=%d", s->qmp_fd);
    add_option(out, "-mon", "chardev=qmp-launcher,mode=control");
}

static void add_console(yyjson_val *vmi, const struct qemu_setup *s, struct strv *out)
{
    yyjson_mut_doc *d;

    if (!json_bool(vmi, "/spec/domain/devices/autoattachSerialConsole", true))
        return;
    strv_push(out, "-chardev");
    strv_printf(out, "socket,id=console,fd=%d", s->console_fd);
    d = device("isa-serial", "console-dev");
    json_set_str(d, "/chardev", "console");
    add_json(out, "-device", d);
}

/* Only where it is asked for: its memory is copied by every migration. Keyboard and mouse are the machine's PS/2 ones.
 */
static void add_graphics(yyjson_val *vmi, struct strv *out)
{
    yyjson_mut_doc *d;

    if (!json_bool(vmi, "/spec/domain/devices/autoattachGraphicsDevice", false))
        return;
    add_option(out, "-vnc", "unix:" QEMU_VNC_SOCKET);
    d = device("VGA", "video-dev");
    set_address(d, SLOT_VIDEO, 1, 0);
    add_json(out, "-device", d);
}

/* Not one more slot, since all are given away: the second function of the one before. */
static void add_guest_agent(struct strv *out)
{
    yyjson_mut_doc *d = device("virtio-serial-pci", "serial");

    json_set_str(d, "/bus", "pcie.0");
    json_set_str(d, "/addr", "0x2.0x1");
    json_set_int(d, "/max_ports", GUEST_PORTS);
    add_json(out, "-device", d);
    add_option(out, "-chardev", "socket,id=" QEMU_GA_CHARDEV ",path=" QEMU_GA_SOCKET ",server=on,wait=off");
    d = device("virtserialport", QEMU_GA_PORT);
    json_set_str(d, "/bus", "serial.0");
    json_set_str(d, "/chardev", QEMU_GA_CHARDEV);
    json_set_str(d, "/name", "org.qemu.guest_agent.0");
    add_json(out, "-device", d);
}

static void add_small_devices(yyjson_val *vmi, const struct qemu_setup *s, struct strv *out)
{
    yyjson_mut_doc *rng = json_object(), *d;

    json_set_str(rng, "/qom-type", "rng-random");
    json_set_str(rng, "/id", "rng");
    json_set_str(rng, "/filename", "/dev/urandom");
    add_json(out, "-object", rng);
    d = device("virtio-rng-pci", "rng-dev");
    json_set_str(d, "/rng", "rng");
    set_address(d, SLOT_RNG, 1, 0);
    if (s->guest_agent)
        json_set_bool(d, "/multifunction", true);
    add_json(out, "-device", d);
    if (s->guest_agent)
        add_guest_agent(out);
    if (!json_bool(vmi, "/spec/domain/devices/autoattachMemBalloon", true))
        return;
    d = device("virtio-balloon-pci", "balloon-dev");
    set_address(d, SLOT_BALLOON, 1, 0);
    add_json(out, "-device", d);
}

static int add_nic(yyjson_val *vmi, const struct qemu_setup *s, size_t i, struct strv *out, struct gw_error *err)
{
    static const struct {
        const char *model, *driver;
    } models[] = {{"virtio", "virtio-net-pci"}, {"e1000", "e1000"}, {"e1000e", "e1000e"}};
    yyjson_val *nic = yyjson_arr_get(json_at(vmi, "/spec/domain/devices/interfaces"), i);
    const char *model = json_str_or(nic, "/model", "virtio"), *driver = NULL;
    char id[DISK_NODE_MAX], mac[MAC_TEXT];

    for (size_t m = 0; m < ARRAY_SIZE(models); m++)
        if (streq(model, models[m].model))
            driver = models[m].driver;
    if (!driver || i >= 8 * NETWORK_SLOTS)
        return gw_error_set(err, GW_INVALID, "spec.domain.devices.interfaces[%zu].model: %s", i,
                            driver ? "too many interfaces" : "supported models are virtio, e1000 and e1000e");
    yyjson_mut_doc *d = json_object();
    snprintf(id, sizeof(id), "net%zu", i);
    json_set_str(d, "/type", "tap");
    json_set_str(d, "/id", id);
    json_set_str(d, "/ifname", s->nics[i].ifname);
    json_set_str(d, "/script", "no");
    json_set_str(d, "/downscript", "no");
    if (s->nics[i].vhost && streq(model, "virtio"))
        json_set_bool(d, "/vhost", true);
    add_json(out, "-netdev", d);
    snprintf(id, sizeof(id), "net%zu-dev", i);
    d = device(driver, id);
    snprintf(id, sizeof(id), "net%zu", i);
    json_set_str(d, "/netdev", id);
    json_set_str(d, "/mac", qemu_mac(vmi, i, mac));
    set_address(d, SLOT_NETWORK, NETWORK_SLOTS, i);
    json_set_str(d, "/romfile", ""); /* no boot ROM: nothing to boot from, and nothing that differs between versions */
    add_json(out, "-device", d);
    return 0;
}

/* --- Disks --- */

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

static void add_block_graph(yyjson_val *spec, const struct disk *disk, size_t i, struct strv *out)
{
    bool direct = streq(cache_of(spec, disk), "none");
    const char *io = json_str(spec, "/io");
    char node[DISK_NODE_MAX], file[DISK_NODE_MAX + 8], base[DISK_NODE_MAX + 8], base_file[DISK_NODE_MAX + 16];
    yyjson_mut_doc *d;

    disk_node(i, node);
    snprintf(file, sizeof(file), "%s-file", node);
    snprintf(base, sizeof(base), "%s-base", node);
    snprintf(base_file, sizeof(base_file), "%s-base-file", node);
    if (disk->backing) {
        add_json(out, "-blockdev", file_node(base_file, disk->backing, true, direct, io));
        add_json(out, "-blockdev", format_node(base, disk->backing_format, base_file, true));
    }
    add_json(out, "-blockdev", file_node(file, disk->path, disk->read_only, direct, io));
    d = format_node(node, disk->format, file, disk->read_only);
    if (!disk->read_only)
        json_set_str(d, "/discard", "unmap");
    if (disk->backing)
        json_set_str(d, "/backing", base);
    else if (streq(disk->format, "qcow2"))
        json_set(d, "/backing", yyjson_mut_null(d)); /* never what a foreign file's header names */
    add_json(out, "-blockdev", d);
}

static bool any_boot_order(yyjson_val *vmi)
{
    yyjson_val *item;

    json_each(json_at(vmi, "/spec/domain/devices/disks"), item)
        if (json_int(item, "/bootOrder", 0) > 0)
            return true;
    return false;
}

/* Where nobody gave an order, disks are tried as they are listed. */
static int64_t boot_index(yyjson_val *vmi, yyjson_val *spec, size_t i)
{
    if (any_boot_order(vmi))
        return json_int(spec, "/bootOrder", 0);
    return (int64_t)i + 1;
}

static int set_place(yyjson_mut_doc *d, const struct disk_kind *kind, size_t nth, size_t i, struct gw_error *err)
{
    char bus[24];

    if (streq(kind->bus, "virtio")) {
        if (nth >= 8 * DISK_SLOTS)
            return gw_error_set(err, GW_INVALID, "spec.domain.devices.disks[%zu]: more than %d virtio disks", i,
                                8 * DISK_SLOTS);
        set_address(d, SLOT_DISK, DISK_SLOTS, nth);
    } else if (streq(kind->bus, "sata")) {
        if (nth >= SATA_PORTS)
            return gw_error_set(err, GW_INVALID, "spec.domain.devices.disks[%zu]: more than %d SATA disks", i,
                                SATA_PORTS);
        snprintf(bus, sizeof(bus), "ide.%zu", nth);
        json_set_str(d, "/bus", bus);
    } else {
        json_set_str(d, "/bus", "scsi.0");
        json_set_int(d, "/scsi-id", (int64_t)nth);
    }
    return 0;
}

static int add_disk(yyjson_val *vmi, const struct qemu_setup *s, size_t i, size_t nth[], struct strv *out,
                    struct gw_error *err)
{
    yyjson_val *spec = yyjson_arr_get(json_at(vmi, "/spec/domain/devices/disks"), i);
    const struct disk_kind *kind = kind_of(spec);
    char node[DISK_NODE_MAX], id[DISK_NODE_MAX + 8];

    if (!kind)
        return gw_error_set(err, GW_INVALID,
                            "spec.domain.devices.disks[%zu]: supported are disk on virtio, sata or scsi "
                            "and cdrom on sata or scsi",
                            i);
    add_block_graph(spec, &s->disks[i], i, out);
    snprintf(id, sizeof(id), "%s-dev", disk_node(i, node));
    yyjson_mut_doc *d = device(kind->driver, id);
    json_set_str(d, "/drive", node);
    int r = set_place(d, kind, nth[*kind->bus == 'v' ? 0 : kind->bus[1] == 'a' ? 1 : 2]++, i, err);
    if (r < 0) {
        yyjson_mut_doc_free(d);
        return r;
    }
    if (json_str(spec, "/serial"))
        json_set_str(d, "/serial", json_str(spec, "/serial"));
    if (boot_index(vmi, spec, i) > 0)
        json_set_int(d, "/bootindex", boot_index(vmi, spec, i));
    if (streq(kind->field, "disk"))
        json_set_str(d, "/write-cache", streq(cache_of(spec, &s->disks[i]), "writethrough") ? "off" : "on");
    add_json(out, "-device", d);
    return 0;
}

static int add_disks(yyjson_val *vmi, const struct qemu_setup *s, struct strv *out, struct gw_error *err)
{
    size_t nth[3] = {0};
    bool scsi = false;
    int r = 0;

    for (size_t i = 0; i < s->n_disks; i++) {
        const struct disk_kind *kind = kind_of(yyjson_arr_get(json_at(vmi, "/spec/domain/devices/disks"), i));
        scsi = scsi || (kind && streq(kind->bus, "scsi"));
    }
    if (scsi) {
        yyjson_mut_doc *d = device("virtio-scsi-pci", "scsi");
        set_address(d, SLOT_SCSI, 1, 0);
        add_json(out, "-device", d);
    }
    for (size_t i = 0; i < s->n_disks && r == 0; i++)
        r = add_disk(vmi, s, i, nth, out, err);
    return r;
}

/* The lists must match, or a disk would be attached under another one's name. */
static int check_lists(yyjson_val *vmi, const struct qemu_setup *s, struct gw_error *err)
{
    yyjson_val *disks = json_at(vmi, "/spec/domain/devices/disks");

    if (yyjson_arr_size(disks) != s->n_disks)
        return gw_error_set(err, GW_INVALID, "spec.domain.devices.disks: %zu disks, %zu prepared",
                            yyjson_arr_size(disks), s->n_disks);
    if (yyjson_arr_size(json_at(vmi, "/spec/domain/devices/interfaces")) != s->n_nics)
        return gw_error_set(err, GW_INVALID, "spec.domain.devices.interfaces: %zu interfaces, %zu prepared",
                            yyjson_arr_size(json_at(vmi, "/spec/domain/devices/interfaces")), s->n_nics);
    for (size_t i = 0; i < s->n_disks; i++)
        if (!str_same(json_str(yyjson_arr_get(disks, i), "/name"), s->disks[i].name))
            return gw_error_set(err, GW_INVALID, "spec.domain.devices.disks[%zu]: disk %s was prepared in its place", i,
                                s->disks[i].name);
    if (qemu_guest_memory(vmi) <= 0)
        return gw_error_set(err, GW_INVALID, "spec.domain.memory.guest: no amount of memory is given");
    return 0;
}

int qemu_command(yyjson_val *vmi, const struct qemu_setup *s, struct strv *ret, struct gw_error *err)
{
    int r = check_lists(vmi, s, err);

    if (r < 0)
        return r;
    strv_push(ret, s->binary);
    add_identity(vmi, ret);
    add_option(ret, "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    strv_push(ret, "-nodefaults");
    strv_push(ret, "-no-user-config");
    add_option(ret, "-display", "none");
    add_option(ret, "-msg", "timestamp=on");
    strv_push(ret, "-S");
    add_machine(vmi, s, ret);
    add_kernel(vmi, s, ret);
    add_monitors(s, ret);
    add_console(vmi, s, ret);
    add_graphics(vmi, ret);
    add_small_devices(vmi, s, ret);
    for (size_t i = 0; i < s->n_nics && r == 0; i++)
        r = add_nic(vmi, s, i, ret, err);
    if (r == 0)
        r = add_disks(vmi, s, ret, err);
    if (r == 0 && s->incoming)
        add_option(ret, "-incoming", "defer");
    return r;
}
