/* addvolume and removevolume (virtctl 1.8, pkg/virtctl/vm). --persist is taken and changes nothing: volumes are always
 * persisted where there is a VirtualMachine. */
#include <stdio.h>

#include "base/alloc.h"
#include "base/str.h"
#include "cli/virtctl/virtctl.h"

static int check_name(const struct virtctl *v, struct gw_error *err)
{
    return v->volume ? 0 : gw_error_set(err, GW_BAD_REQUEST, "required flag(s) \"volume-name\" not set");
}

/* To the VM of that name; to an instance that has no VM. */
static int send(struct virtctl *v, yyjson_mut_doc *body, struct gw_error *err)
{
    int r = virtctl_sub(v, "PUT", "virtualmachines", v->args[0], v->verb, body, NULL, err);

    if (r == 0 || err->reason != GW_NOT_FOUND)
        return r;
    gw_error_done(err);
    return virtctl_sub(v, "PUT", "virtualmachineinstances", v->args[0], v->verb, body, NULL, err);
}

static bool exists(struct virtctl *v, const char *group, const char *resource)
{
    _cleanup_free_ char *path = xasprintf("/%s/namespaces/%s/%s/%s", group, v->ns, resource, v->volume);
    _cleanup_doc_ yyjson_doc *doc = NULL;
    _cleanup_error_ struct gw_error fault = GW_ERROR_INIT;

    return cli_api_get(&v->api, path, &doc, &fault) == 0;
}

static int set_source(struct virtctl *v, yyjson_mut_doc *body, struct gw_error *err)
{
    if (exists(v, "apis/cdi.kubevirt.io/v1beta1", "datavolumes")) {
        json_set_str(body, "/volumeSource/dataVolume/name", v->volume);
        json_set_bool(body, "/volumeSource/dataVolume/hotpluggable", true);
    } else if (exists(v, "api/v1", "persistentvolumeclaims")) {
        json_set_str(body, "/volumeSource/persistentVolumeClaim/claimName", v->volume);
        json_set_bool(body, "/volumeSource/persistentVolumeClaim/hotpluggable", true);
    } else {
        return gw_error_set(err, GW_NOT_FOUND,
                            "error adding volume, Volume %s is not a DataVolume or PersistentVolumeClaim", v->volume);
    }
    return 0;
}

static int set_disk(const struct virtctl *v, yyjson_mut_doc *body, struct gw_error *err)
{
    const char *type = v->disk_type ? v->disk_type : "disk", *bus = v->bus ? v->bus : "scsi";

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
    json_set_str(body, "/disk/serial", v->serial && *v->serial ? v->serial : v->volume);
    if (!v->cache || !*v->cache)
        return 0;
    if (!streq(v->cache, "none") && !streq(v->cache, "writethrough") && !streq(v->cache, "writeback"))
        return gw_error_set(err, GW_BAD_REQUEST, "error adding volume, invalid cache value %s", v->cache);
    json_set_str(body, "/disk/cache", v->cache);
    return 0;
}

int virtctl_add_volume(struct virtctl *v, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *body = NULL;
    int r = check_name(v, err);

    if (r < 0)
        return r;
    body = virtctl_options(v);
    json_set_str(body, "/name", v->volume);
    r = set_source(v, body, err);
    r = r < 0 ? r : set_disk(v, body, err);
    if (r < 0)
        return r;
    r = send(v, body, err);
    if (r < 0)
        return virtctl_fail(err, r, "error adding volume, ");
    printf("Successfully submitted add volume request to VM %s for volume %s\n", v->args[0], v->volume);
    return 0;
}

int virtctl_remove_volume(struct virtctl *v, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *body = NULL;
    int r = check_name(v, err);

    if (r < 0)
        return r;
    body = virtctl_options(v);
    json_set_str(body, "/name", v->volume);
    r = send(v, body, err);
    if (r < 0)
        return virtctl_fail(err, r, "error removing volume, ");
    printf("Successfully submitted remove volume request to VM %s for volume %s\n", v->args[0], v->volume);
    return 0;
}
