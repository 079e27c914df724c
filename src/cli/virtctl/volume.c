/* addvolume and removevolume (virtctl 1.8, pkg/virtctl/vm). --persist is taken and changes nothing: volumes are always
 * persisted where there is a VirtualMachine. */
#include <stdio.h>

#include "base/alloc.h"
#include "base/str.h"
#include "cli/virtctl/virtctl.h"

static const char *volume_of(const struct virtctl *v)
{
    return flag_text(&v->line, "volume-name");
}

/* To the VM of that name; to an instance that has no VM. */
static int send(struct virtctl *v, yyjson_mut_doc *body, struct gw_error *err)
{
    int r = virtctl_sub(v, "PUT", "virtualmachines", v->args[0], v->verb->name, body, NULL, err);

    if (r == 0 || err->reason != GW_NOT_FOUND)
        return r;
    gw_error_done(err);
    return virtctl_sub(v, "PUT", "virtualmachineinstances", v->args[0], v->verb->name, body, NULL, err);
}

static bool exists(struct virtctl *v, const char *group, const char *resource)
{
    _cleanup_free_ char *path = xasprintf("/%s/namespaces/%s/%s/%s", group, v->ns, resource, volume_of(v));
    _cleanup_doc_ yyjson_doc *doc = NULL;
    _cleanup_error_ struct gw_error fault = GW_ERROR_INIT;

    return cli_api_get(&v->api, path, &doc, &fault) == 0;
}

static int set_source(struct virtctl *v, yyjson_mut_doc *body, struct gw_error *err)
{
    if (exists(v, "apis/cdi.kubevirt.io/v1beta1", "datavolumes")) {
        json_set_str(body, "/volumeSource/dataVolume/name", volume_of(v));
        json_set_bool(body, "/volumeSource/dataVolume/hotpluggable", true);
    } else if (exists(v, "api/v1", "persistentvolumeclaims")) {
        json_set_str(body, "/volumeSource/persistentVolumeClaim/claimName", volume_of(v));
        json_set_bool(body, "/volumeSource/persistentVolumeClaim/hotpluggable", true);
    } else {
        return gw_error_set(err, GW_NOT_FOUND,
                            "error adding volume, Volume %s is not a DataVolume or PersistentVolumeClaim",
                            volume_of(v));
    }
    return 0;
}

static int set_disk(const struct virtctl *v, yyjson_mut_doc *body, struct gw_error *err)
{
    const char *type = flag_text(&v->line, "disk-type"), *bus = flag_text(&v->line, "bus");
    const char *serial = flag_text(&v->line, "serial"), *cache = flag_text(&v->line, "cache");

    if (streq(type, "disk")) {
        if (!streq(bus, "scsi") && !streq(bus, "virtio"))
            return gw_error_set(err, GW_BAD_REQUEST,
                                "Invalid bus type '%s' for disk. Only 'scsi' and 'virtio' are supported.", bus);
        json_set_str(body, "/disk/disk/bus", bus);
    } else if (streq(type, "lun")) {
        if (!streq(bus, "scsi"))
            return gw_error_set(err, GW_BAD_REQUEST,
                                "Invalid bus type '%s' for LUN disk. Only 'scsi' bus is supported.", bus);
        json_set_str(body, "/disk/lun/bus", bus);
    } else {
        return gw_error_set(err, GW_BAD_REQUEST, "Invalid disk type '%s'. Only LUN and Disk are supported.", type);
    }
    json_set_str(body, "/disk/serial", *serial ? serial : volume_of(v));
    if (!*cache)
        return 0;
    if (!streq(cache, "none") && !streq(cache, "writethrough") && !streq(cache, "writeback"))
        return gw_error_set(err, GW_BAD_REQUEST, "error adding volume, invalid cache value %s", cache);
    json_set_str(body, "/disk/cache", cache);
    return 0;
}

static int add_volume(struct virtctl *v, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *body = NULL;
    int r;

    body = virtctl_options(v);
    json_set_str(body, "/name", volume_of(v));
    r = set_source(v, body, err);
    r = r < 0 ? r : set_disk(v, body, err);
    if (r < 0)
        return r;
    r = send(v, body, err);
    if (r < 0)
        return virtctl_fail(err, r, "error adding volume, ");
    printf("Successfully submitted add volume request to VM %s for volume %s\n", v->args[0], volume_of(v));
    return 0;
}

static int remove_volume(struct virtctl *v, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *body = NULL;
    int r;

    body = virtctl_options(v);
    json_set_str(body, "/name", volume_of(v));
    r = send(v, body, err);
    if (r < 0)
        return virtctl_fail(err, r, "error removing volume, ");
    printf("Successfully submitted remove volume request to VM %s for volume %s\n", v->args[0], volume_of(v));
    return 0;
}

/* --- the table --- */

#define VOLUME_NAME \
    { \
        .name = "volume-name", .required = true, .help = "the claim, and the volume's name in the VM" \
    }
#define PERSIST \
    { \
        .name = "persist", .kind = FLAG_BOOL, .help = "taken, and of no effect: the VM keeps the change always" \
    }

static const struct flag add_flags[] = {
    {.name = "bus", .fallback = "scsi", .help = "how the guest sees the disk: scsi or virtio"},
    {.name = "cache", .fallback = "", .help = "none, writethrough or writeback"},
    {.name = "disk-type", .fallback = "disk", .help = "disk or lun"},
    DRY_RUN,
    PERSIST,
    {.name = "serial", .fallback = "", .help = "serial number of the disk; the volume's name if it has none"},
    VOLUME_NAME,
    {0},
};

static const struct flag remove_flags[] = {DRY_RUN, PERSIST, VOLUME_NAME, {0}};

const struct verb volume_verbs[] = {
    {.name = "addvolume",
     .args = "VM",
     .n_args = 1,
     .help = "Plug a claim into a running virtual machine.",
     .examples = "  # Give the VM 'myvm' the claim 'data' as a disk:\n"
                 "  virtctl addvolume myvm --volume-name=data\n\n"
                 "  # With a number by which the guest knows it:\n"
                 "  virtctl addvolume myvm --volume-name=data --serial=0815\n",
     .flags = add_flags,
     .run = add_volume},
    {.name = "removevolume",
     .args = "VM",
     .n_args = 1,
     .help = "Take a volume that was plugged in out of a virtual machine.",
     .examples = "  # Take the claim 'data' from the VM 'myvm':\n"
                 "  virtctl removevolume myvm --volume-name=data\n",
     .flags = remove_flags,
     .run = remove_volume},
    {0},
};
