/* addvolume, removevolume: volumes that are plugged while the VM runs. On a VirtualMachine they change its template,
 * and its controller passes that on to the instance; on an instance they last until the VM is restarted. The texts are
 * those of KubeVirt's virt-api (rest/volumes.go); what Godwit refuses besides, it refuses here rather than in a status.
 */
#include <errno.h>
#include <string.h>

#include "api/meta.h"
#include "api/volumes.h"
#include "apiserver/local.h"
#include "apiserver/vm_subresources.h"
#include "base/alloc.h"
#include "base/str.h"

#define TEMPLATE "/spec/template/spec"

static bool is_instance(const struct vm_call *c)
{
    return streq(c->target->resource, "virtualmachineinstances");
}

static yyjson_val *object_of(const struct vm_call *c)
{
    return is_instance(c) ? vmi_of(c) : vm_of(c);
}

static const char *base_of(const struct vm_call *c)
{
    return is_instance(c) ? "/spec" : TEMPLATE;
}

static int read_objects(struct vm_call *c, struct gw_error *err)
{
    int r = is_instance(c) ? vm_read_instance(c, true, err) : vm_read(c, err);

    if (r == 0 && !is_instance(c))
        r = vm_read_instance(c, false, err);
    if (r == 0 && is_instance(c) && !streq(json_str_or(vmi_of(c), "/status/phase", ""), "Running"))
        r = vm_conflict(c, err, "VMI is not running");
    return r;
}

static const char *source_name(yyjson_val *source)
{
    const char *claim = volume_claim(source);

    return claim ? claim : json_str_or(source, "/dataVolume/name", "");
}

/* --- what is refused --- */

/* The VM's controller waits with what the template says; what is asked of the instance itself nobody would remember. */
static int check_stays(struct vm_call *c, struct gw_error *err)
{
    const struct kind *kind = vm_kind(c, "kubevirt.io", "VirtualMachineInstanceMigration");
    _cleanup_free_ char *path = local_target(kind, c->target->namespace, NULL, NULL);
    _cleanup_free_ char *target = xasprintf("%s?labelSelector=kubevirt.io/vmi-name=%s", path, c->target->name);
    _cleanup_doc_ yyjson_doc *list = NULL;
    yyjson_val *migration;

    (void)local_call(c->server, "GET", target, NULL, NULL, &list, NULL);
    json_each(json_at(yyjson_doc_get_root(list), "/items"), migration) {
        const char *phase = json_str_or(migration, "/status/phase", "");
        if (*phase && !streq(phase, "Pending") && !is_final(migration))
            return vm_conflict(c, err, "volumes are not plugged while migration %s is under way (%s)",
                               meta_name(migration), phase);
    }
    return 0;
}

static int check_add_options(struct vm_call *c, struct gw_error *err)
{
    static const char *const rows[][2] = {
        {"/name", "AddVolumeOptions requires name to be set"},
        {"/disk", "AddVolumeOptions requires disk to not be nil"},
        {"/volumeSource", "AddVolumeOptions requires VolumeSource to not be nil"},
    };

    if (!c->options)
        return gw_error_set(err, GW_BAD_REQUEST, "Request with no body, a new name is expected as the request body");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        yyjson_val *v = json_at(options_of(c), rows[i][0]);
        if (!(i == 0 ? yyjson_get_len(v) > 0 && yyjson_is_str(v) : yyjson_is_obj(v)))
            return gw_error_set(err, GW_BAD_REQUEST, "%s", rows[i][1]);
    }
    return 0;
}

/* The lists of the object itself, and those of the instance that the volume would be plugged into. */
static int check_free(struct vm_call *c, yyjson_val *volumes, const char *name, const char *source,
                      struct gw_error *err)
{
    yyjson_val *volume;

    json_each(volumes, volume) {
        if (streq(json_str_or(volume, "/name", ""), name))
            return vm_conflict(c, err, "Unable to add volume [%s] because volume with that name already exists", name);
        if (*source && streq(source_name(volume), source))
            return vm_conflict(c, err, "Unable to add volume source [%s] because it already exists", source);
    }
    return 0;
}

/* Another VM of the namespace that has the claim. Caller frees. */
static char *find_user(struct vm_call *c, const char *claim)
{
    _cleanup_free_ char *path =
        local_target(vm_kind(c, "kubevirt.io", "VirtualMachineInstance"), c->target->namespace, NULL, NULL);
    _cleanup_doc_ yyjson_doc *list = NULL;
    yyjson_val *vmi;

    if (local_call(c->server, "GET", path, NULL, NULL, &list, NULL) < 0)
        return NULL;
    json_each(json_at(yyjson_doc_get_root(list), "/items"), vmi) {
        if (!streq(meta_name(vmi), c->target->name) && !is_final(vmi) && vmi_uses_claim(vmi, claim))
            return xstrdup(meta_name(vmi));
    }
    return NULL;
}

static int check_claim(struct vm_call *c, const char *name, const char *claim_name, struct gw_error *err)
{
    static const char field[] = "volumeSource.persistentVolumeClaim.claimName";
    _cleanup_doc_ yyjson_doc *claim = NULL;

    if (rest_read(c->server, vm_kind(c, "", "PersistentVolumeClaim"), c->target->namespace, claim_name, &claim, NULL) <
        0)
        return vm_conflict(c, err, "Unable to add volume [%s]: %s: persistentvolumeclaim \"%s\" not found", name, field,
                           claim_name);
    yyjson_val *v = yyjson_doc_get_root(claim);
    if (meta_deleting(v))
        return vm_conflict(c, err, "Unable to add volume [%s]: %s: persistentvolumeclaim \"%s\" is being deleted", name,
                           field, claim_name);
    if (streq(json_str_or(v, "/spec/volumeMode", "Filesystem"), "Block"))
        return vm_conflict(c, err,
                           "Unable to add volume [%s]: %s: persistentvolumeclaim \"%s\" has volumeMode Block, which is "
                           "not supported yet",
                           name, field, claim_name);
    _cleanup_free_ char *user = find_user(c, claim_name);
    if (user)
        return vm_conflict(c, err,
                           "Unable to add volume [%s]: %s: persistentvolumeclaim \"%s\" is in use by virtual machine "
                           "instance %s",
                           name, field, claim_name, user);
    return 0;
}

static int check_sockets(struct vm_call *c, const char *name, struct gw_error *err)
{
    yyjson_val *spec = json_at(object_of(c), base_of(c));

    if (!json_bool(spec, "/domain/devices/disableHotplug", false))
        return 0;
    return vm_conflict(c, err, "Unable to add volume [%s]: spec.domain.devices.disableHotplug of the VM is true", name);
}

/* --- add --- */

/* The volume of the spec: the source, marked. Caller frees. */
static yyjson_doc *new_volume(yyjson_val *source, const char *name)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_copy(source);

    json_set_str(d, "/name", name);
    if (volume_claim(source))
        json_set_bool(d, "/persistentVolumeClaim/hotpluggable", true);
    else if (json_at(source, "/dataVolume"))
        json_set_bool(d, "/dataVolume/hotpluggable", true);
    return yyjson_mut_doc_imut_copy(d, NULL);
}

static int check_add(struct vm_call *c, const char *name, yyjson_val *source, struct gw_error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/volumes", base_of(c));
    const char *what = source_name(source);
    int r = check_free(c, json_at(object_of(c), path), name, what, err);

    if (r == 0 && !is_instance(c) && c->vmi)
        r = check_free(c, json_at(vmi_of(c), "/spec/volumes"), name, what, err);
    if (r == 0)
        r = check_sockets(c, name, err);
    return r < 0 || !volume_claim(source) ? r : check_claim(c, name, what, err);
}

static bool has_vm(const struct vm_call *c)
{
    return streq(json_str_or(meta_controller(vmi_of(c)), "/kind", ""), "VirtualMachine");
}

int vm_add_volume(struct vm_call *c, struct gw_error *err)
{
    int r = check_add_options(c, err);
    const char *name = json_str_or(options_of(c), "/name", "");
    yyjson_val *source = json_at(options_of(c), "/volumeSource");

    r = r < 0 ? r : read_objects(c, err);
    r = r < 0 ? r : check_add(c, name, source, err);
    if (r == 0 && is_instance(c))
        r = check_stays(c, err);
    if (r < 0)
        return r;
    _cleanup_doc_ yyjson_doc *volume = new_volume(source, name);
    _cleanup_mut_doc_ yyjson_mut_doc *patch =
        volumes_patch_add(object_of(c), base_of(c), json_at(options_of(c), "/disk"), yyjson_doc_get_root(volume), name);
    if (is_instance(c) && has_vm(c))
        volume_set_ephemeral(patch, vmi_of(c), name, true);
    return vm_patch(c, object_of(c), NULL, patch, err);
}

/* --- remove --- */

/* By the volume's name, or by that of its source, as KubeVirt has it. */
static yyjson_val *find_volume(yyjson_val *volumes, const char *name)
{
    yyjson_val *volume;

    json_each(volumes, volume)
        if (streq(json_str_or(volume, "/name", ""), name) || streq(source_name(volume), name))
            return volume;
    return NULL;
}

static int remove_from(struct vm_call *c, yyjson_val *object, const char *base, const char *asked, struct gw_error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/volumes", base);
    yyjson_val *volume = find_volume(json_at(object, path), asked);
    const char *name = json_str_or(volume, "/name", "");

    if (!volume)
        return vm_conflict(c, err, "Unable to remove volume [%s] because it does not exist", asked);
    if (!volume_is_hot(volume))
        return vm_conflict(c, err, "Unable to remove volume [%s] because it is not hotpluggable", name);
    _cleanup_mut_doc_ yyjson_mut_doc *patch = volumes_patch_remove(object, base, name);
    if (streq(base, "/spec"))
        volume_set_ephemeral(patch, object, name, false);
    return vm_patch(c, object, NULL, patch, err);
}

/* One that was added to the instance alone is no part of the template. */
static bool is_ephemeral(const struct vm_call *c, const char *asked)
{
    yyjson_val *volume = c->vmi ? find_volume(json_at(vmi_of(c), "/spec/volumes"), asked) : NULL;

    return volume && volume_is_ephemeral(vmi_of(c), json_str_or(volume, "/name", ""));
}

int vm_remove_volume(struct vm_call *c, struct gw_error *err)
{
    const char *name = json_str_or(options_of(c), "/name", "");

    if (!c->options)
        return gw_error_set(err, GW_BAD_REQUEST, "Request with no body, a new name is expected as the request body");
    if (!*name)
        return gw_error_set(err, GW_BAD_REQUEST, "RemoveVolumeOptions requires name to be set");
    int r = read_objects(c, err);
    if (r < 0)
        return r;
    if (is_instance(c) || is_ephemeral(c, name))
        r = check_stays(c, err);
    if (r < 0)
        return r;
    if (is_ephemeral(c, name))
        return remove_from(c, vmi_of(c), "/spec", name, err);
    if (is_instance(c) && has_vm(c) && find_volume(json_at(vmi_of(c), "/spec/volumes"), name)) /* it would come back */
        return gw_error_set(err, GW_BAD_REQUEST, "VMI %s/%s is owned by a VM", c->target->namespace, c->target->name);
    return remove_from(c, object_of(c), base_of(c), name, err);
}
