#include "agent/qemu/command.h"

#include <inttypes.h>
#include <string.h>

#include "agent/qemu/attach.h"
#include "base/alloc.h"
#include "base/str.h"

#define SLOT_VIDEO 0x01
#define SLOT_RNG 0x02
#define SLOT_BALLOON 0x03
#define SLOT_NETWORK 0x04
#define SLOT_PORTS 0x1d
#define SLOT_SCSI 0x1e
#define NETWORK_SLOTS (SLOT_DISK - SLOT_NETWORK)
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
    d = qemu_device("isa-serial", "console-dev");
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
    d = qemu_device("VGA", "video-dev");
    qemu_set_address(d, SLOT_VIDEO, 1, 0);
    add_json(out, "-device", d);
}

/* Not one more slot, since all are given away: the second function of the one before. */
static void add_guest_agent(struct strv *out)
{
    yyjson_mut_doc *d = qemu_device("virtio-serial-pci", "serial");

    json_set_str(d, "/bus", "pcie.0");
    json_set_str(d, "/addr", "0x2.0x1");
    json_set_int(d, "/max_ports", GUEST_PORTS);
    add_json(out, "-device", d);
    add_option(out, "-chardev", "socket,id=" QEMU_GA_CHARDEV ",path=" QEMU_GA_SOCKET ",server=on,wait=off");
    d = qemu_device("virtserialport", QEMU_GA_PORT);
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
    d = qemu_device("virtio-rng-pci", "rng-dev");
    json_set_str(d, "/rng", "rng");
    qemu_set_address(d, SLOT_RNG, 1, 0);
    if (s->guest_agent)
        json_set_bool(d, "/multifunction", true);
    add_json(out, "-device", d);
    if (s->guest_agent)
        add_guest_agent(out);
    if (!json_bool(vmi, "/spec/domain/devices/autoattachMemBalloon", true))
        return;
    d = qemu_device("virtio-balloon-pci", "balloon-dev");
    qemu_set_address(d, SLOT_BALLOON, 1, 0);
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
    d = qemu_device(driver, id);
    snprintf(id, sizeof(id), "net%zu", i);
    json_set_str(d, "/netdev", id);
    json_set_str(d, "/mac", qemu_mac(vmi, i, mac));
    qemu_set_address(d, SLOT_NETWORK, NETWORK_SLOTS, i);
    json_set_str(d, "/romfile", ""); /* no boot ROM: nothing to boot from, and nothing that differs between versions */
    add_json(out, "-device", d);
    return 0;
}

/* --- Disks --- */

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

static int add_disk(yyjson_val *vmi, const struct qemu_setup *s, size_t i, struct attachment_places *places,
                    struct strv *out, struct gw_error *err)
{
    yyjson_val *spec = json_find(json_at(vmi, "/spec/domain/devices/disks"), "/name", s->disks[i].name);
    _cleanup_attachment_ struct attachment a = {0};
    int r = attachment_make(spec, &s->disks[i], i, places, &a, err);

    if (r < 0)
        return r;
    for (size_t n = 0; n < a.n_nodes; n++)
        add_json(out, "-blockdev", TAKE_PTR(a.nodes[n]));
    if (!s->disks[i].hot && boot_index(vmi, spec, i) > 0)
        json_set_int(a.device, "/bootindex", boot_index(vmi, spec, i));
    add_json(out, "-device", TAKE_PTR(a.device));
    return 0;
}

/* What disks are plugged into later is there from the start: both sides of a migration have it, whatever was plugged.
 */
static void add_sockets(yyjson_val *vmi, const struct qemu_setup *s, struct strv *out)
{
    bool scsi = s->sockets;
    yyjson_mut_doc *d;

    for (size_t i = 0; i < s->n_disks; i++)
        scsi = scsi ||
               attachment_is_scsi(json_find(json_at(vmi, "/spec/domain/devices/disks"), "/name", s->disks[i].name));
    if (scsi) {
        d = qemu_device("virtio-scsi-pci", "scsi");
        qemu_set_address(d, SLOT_SCSI, 1, 0);
        add_json(out, "-device", d);
    }
    for (unsigned i = 0; s->sockets && i < HOT_PORTS; i++) {
        char text[16];
        snprintf(text, sizeof(text), HOT_PORT "%u", i);
        d = qemu_device("pcie-root-port", text);
        snprintf(text, sizeof(text), "0x%x.0x%x", SLOT_PORTS, i);
        json_set_str(d, "/bus", "pcie.0");
        json_set_str(d, "/addr", text);
        if (i == 0)
            json_set_bool(d, "/multifunction", true);
        json_set_int(d, "/chassis", i + 1);
        add_json(out, "-device", d);
    }
}

static int add_disks(yyjson_val *vmi, const struct qemu_setup *s, struct strv *out, struct gw_error *err)
{
    struct attachment_places places = {0};
    int r = 0;

    add_sockets(vmi, s, out);
    for (size_t i = 0; i < s->n_disks && r == 0; i++)
        r = add_disk(vmi, s, i, &places, out, err);
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
