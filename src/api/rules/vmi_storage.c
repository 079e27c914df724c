#include <string.h>

#include "api/rules/vmi_spec.h"
#include "api/volumes.h"
#include "base/map.h"

#define SATA_PORTS 6
#define CLOUD_INIT_MAX 2048 /* KubeVirt's limit for data within the object; a Secret may hold more */

static const char *const targets[] = {"disk", "cdrom", "lun", NULL};
static const char *const sources[] = {
    "containerDisk",
    "persistentVolumeClaim",
    "cloudInitNoCloud",
    "emptyDisk",
    "cloudInitConfigDrive",
    "dataVolume",
    "ephemeral",
    "hostDisk",
    "configMap",
    "secret",
    "serviceAccount",
    "downwardAPI",
    "sysprep",
    "memoryDump",
    "containerPath",
    "downwardMetrics",
    NULL,
};

/* Names must be there and unique; what has been seen is kept in `seen`. */
static void check_name(struct where *w, const char *list, size_t i, yyjson_val *item, struct map *seen)
{
    const char *name = json_str_or(item, "/name", "");
    _cleanup_free_ char *text = field_quote(yyjson_obj_get(item, "name"));

    if (!*name)
        field_required(w->err, at(w, "%s[%zu].name", list, i), "a name");
    else if (map_has(seen, name))
        field_duplicate(w->err, at(w, "%s[%zu].name", list, i), text);
    map_put(seen, name, seen);
}

/* QEMU opens files for native I/O only without the host's page cache. */
static void check_io(struct where *w, size_t i, yyjson_val *disk)
{
    const char *cache = json_str_or(disk, "/cache", "none");

    if (streq(json_str_or(disk, "/io", ""), "native") && !streq(cache, "none"))
        field_invalid(w->err, at(w, "domain.devices.disks[%zu].io", i), "\"native\"",
                      "native I/O needs cache none, not %s", cache);
}

static void check_serial(struct where *w, size_t i, yyjson_val *disk)
{
    const char *serial = json_str(disk, "/serial");
    _cleanup_free_ char *text = field_quote(yyjson_obj_get(disk, "serial"));

    if (serial && *serial && !plain_word(serial))
        field_invalid(w->err, at(w, "domain.devices.disks[%zu].serial", i), text,
                      "must be made up of the characters A-Z a-z 0-9 _ . + -");
}

static void check_boot_order(struct where *w, size_t i, yyjson_val *disk, struct map *orders)
{
    _cleanup_free_ char *text = field_quote(yyjson_obj_get(disk, "bootOrder"));

    if (!yyjson_obj_get(disk, "bootOrder"))
        return;
    if (map_has(orders, text))
        gw_error_add_cause(w->err, CAUSE_INVALID, at(w, "domain.devices.disks[%zu].bootOrder", i),
                           "Boot order for %s already set for a different device.", w->field);
    map_put(orders, text, orders);
}

/* q35 has six SATA ports; KubeVirt's default bus is SATA. */
static bool on_sata(yyjson_val *disk)
{
    yyjson_val *target = yyjson_obj_get(disk, "cdrom");

    return streq(json_str_or(target ? target : yyjson_obj_get(disk, "disk"), "/bus", "sata"), "sata");
}

static void check_disks(yyjson_val *spec, struct where *w, struct map *volumes)
{
    _cleanup_(map_freep) struct map *names = map_new(NULL), *orders = map_new(NULL);
    yyjson_val *disks = json_at(spec, "/domain/devices/disks"), *disk;
    const char *target;
    size_t i, sata = 0;

    json_each_at(disks, i, disk) {
        const char *name = json_str_or(disk, "/name", "");

        if (on_sata(disk) && ++sata == SATA_PORTS + 1)
            field_forbidden(w->err, at(w, "domain.devices.disks[%zu]", i),
                            "more than %d disks on bus sata; use virtio or scsi", SATA_PORTS);
        check_name(w, "domain.devices.disks", i, disk, names);
        if (*name && !map_has(volumes, name))
            gw_error_add_cause(w->err, CAUSE_INVALID, at(w, "domain.devices.disks[%zu].name", i),
                               "%s.domain.devices.disks[%zu].Name '%s' not found.", w->base, i, name);
        if (count_of(disk, targets, &target) > 1)
            field_invalid(w->err, at(w, "domain.devices.disks[%zu]", i), "\"...\"",
                          "can have only one of disk, cdrom and lun");
        check_boot_order(w, i, disk, orders);
        check_serial(w, i, disk);
        check_io(w, i, disk);
    }
}

static size_t length_of(yyjson_val *source, const char *text, const char *base64)
{
    return strlen(json_str_or(source, text, "")) + strlen(json_str_or(source, base64, "")) / 4 * 3;
}

static void check_cloud_init(struct where *w, size_t i, yyjson_val *source)
{
    static const char *const user[] = {"userData", "userDataBase64", "secretRef", NULL};
    static const char *const network[] = {"networkData", "networkDataBase64", "networkDataSecretRef", NULL};
    const char *last, *field = at(w, "volumes[%zu].cloudInitNoCloud", i);
    size_t users = count_of(source, user, &last), networks = count_of(source, network, &last);

    if (users > 1)
        gw_error_add_cause(w->err, CAUSE_INVALID, field, "%s must have only one userdatasource set.", field);
    if (networks > 1)
        gw_error_add_cause(w->err, CAUSE_INVALID, field, "%s must have only one networkdata source set.", field);
    if (users + networks == 0)
        gw_error_add_cause(w->err, CAUSE_INVALID, field,
                           "%s must have at least one userdatasource or one networkdatasource set.", field);
    if (length_of(source, "/userData", "/userDataBase64") > CLOUD_INIT_MAX)
        gw_error_add_cause(w->err, CAUSE_INVALID, field,
                           "%s userdata exceeds %d byte limit; use secretRef for larger data.", field, CLOUD_INIT_MAX);
    if (length_of(source, "/networkData", "/networkDataBase64") > CLOUD_INIT_MAX)
        gw_error_add_cause(w->err, CAUSE_INVALID, field,
                           "%s networkdata exceeds %d byte limit; use networkDataSecretRef for larger data.", field,
                           CLOUD_INIT_MAX);
}

/* Two disks on one claim would lock each other out. */
static void check_claim(struct where *w, size_t i, yyjson_val *source, struct map *claims)
{
    const char *claim = json_str_or(source, "/claimName", "");
    _cleanup_free_ char *text = field_quote(yyjson_obj_get(source, "claimName"));

    if (*claim && map_has(claims, claim))
        field_duplicate(w->err, at(w, "volumes[%zu].persistentVolumeClaim.claimName", i), text);
    map_put(claims, claim, claims);
}

static void check_source(struct where *w, size_t i, const char *name, yyjson_val *source, struct map *claims)
{
    if (streq(name, "cloudInitNoCloud"))
        check_cloud_init(w, i, source);
    else if (streq(name, "persistentVolumeClaim"))
        check_claim(w, i, source, claims);
    else if (streq(name, "emptyDisk") && amount(yyjson_obj_get(source, "capacity"), 1) <= 0)
        field_invalid(w->err, at(w, "volumes[%zu].emptyDisk.capacity", i), "\"...\"", "must be greater than 0");
}

/* The disk of a hot volume, or NULL if it has none; in the words of KubeVirt's admission (pkg/storage/admitters). */
static void check_hot_disk(struct where *w, const char *name, yyjson_val *disk)
{
    const char *bus = json_str_or(disk, "/disk/bus", ""), *field = at(w, "domain.devices.disks");

    if (!disk)
        gw_error_add_cause(w->err, CAUSE_INVALID, field,
                           "Hotplug configuration for [%s] requires the disk field to be set.", name);
    else if (!json_at(disk, "/disk"))
        gw_error_add_cause(w->err, CAUSE_INVALID, field,
                           "Hotplug configuration for [%s] requires diskDevice of type 'disk' or 'lun' to be used.",
                           name);
    else if (!streq(bus, "scsi") && !streq(bus, "virtio"))
        gw_error_add_cause(w->err, CAUSE_INVALID, field,
                           "Hotplug configuration for disk [%s] requires bus to be 'scsi' or 'virtio'. [%s] is not "
                           "permitted.",
                           name, bus);
}

static void check_hot(yyjson_val *spec, struct where *w)
{
    yyjson_val *volume;

    json_each(json_at(spec, "/volumes"), volume) {
        const char *name = json_str_or(volume, "/name", "");
        if (volume_is_hot(volume) && *name)
            check_hot_disk(w, name, spec_disk(spec, name));
    }
}

static void check_volumes(yyjson_val *spec, struct where *w, struct map *names)
{
    _cleanup_(map_freep) struct map *claims = map_new(NULL);
    yyjson_val *volumes = json_at(spec, "/volumes"), *volume;
    const char *source;
    size_t i;

    json_each_at(volumes, i, volume) {
        check_name(w, "volumes", i, volume, names);
        if (count_of(volume, sources, &source) == 1)
            check_source(w, i, source, yyjson_obj_get(volume, source), claims);
        else
            gw_error_add_cause(w->err, CAUSE_INVALID, at(w, "volumes[%zu]", i),
                               "%s must have exactly one source type set", w->field);
    }
}

void vmi_storage_check(yyjson_val *spec, struct where *w)
{
    _cleanup_(map_freep) struct map *names = map_new(NULL);

    check_volumes(spec, w, names);
    check_disks(spec, w, names);
    check_hot(spec, w);
}
