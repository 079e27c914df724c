#include <string.h>

#include "agent/qemu/attach.h"
#include "agent/volumes/volumes.h"
#include "api/meta.h"
#include "api/quantity.h"
#include "api/volumes.h"
#include "base/alloc.h"
#include "base/base64.h"
#include "base/str.h"

#define USER_DATA_MAX (1 << 20)

static void volume_done(struct volume *v)
{
    free(v->name);
    free(v->image);
    free(v->path);
    free(v->digest);
    free(v->user_data);
    free(v->meta_data);
    free(v->network_data);
    free(v->claim);
    free(v->folder);
    free(v->made_as);
    free(v->target);
    free(v->definition);
}

void volume_plan_done(struct volume_plan *p)
{
    VEC_EACH(&p->disks, v)
        volume_done(v);
    volume_vec_done(&p->disks);
    free(p->kernel_image);
    free(p->kernel_path);
    free(p->initrd_path);
    free(p->kernel_digest);
    *p = (struct volume_plan){0};
}

/* --- cloud-init --- */

/* The decoded bytes of the first of keys in a Secret (data, or stringData of one that was never stored). */
static bool secret_value(yyjson_val *secret, const char *const *keys, char **ret, size_t *ret_len)
{
    for (; *keys; keys++) {
        const char *text = json_key_str(secret, "/data", *keys);
        if (text && base64_decode(text, strlen(text), ret, ret_len) == 0)
            return true;
    }
    return false;
}

struct cloud_field {
    const char *plain, *base64, *secret;
    const char *keys[3];
};

static const struct cloud_field user_field = {
    "/userData", "/userDataBase64", "/secretRef/name", {"userdata", "userData"}};
static const struct cloud_field network_field = {
    "/networkData", "/networkDataBase64", "/networkDataSecretRef/name", {"networkdata", "networkData"}};

struct lookup {
    volume_lookup_fn fn;
    void *userdata;
    const char **ret_reason;
};

/* *ret stays NULL when the spec does not give the field. */
static int cloud_value(yyjson_val *source, const struct cloud_field *f, const struct lookup *l, char **ret,
                       size_t *ret_len, struct gw_error *err)
{
    const char *plain = json_str(source, f->plain), *base64 = json_str(source, f->base64),
               *name = json_str(source, f->secret);

    if (plain) {
        *ret = xstrdup(plain);
        *ret_len = strlen(plain);
        return 0;
    }
    if (base64)
        return base64_decode(base64, strlen(base64), ret, ret_len) == 0
                   ? 0
                   : gw_error_set(err, GW_INVALID, "cloudInitNoCloud%s: not base64", f->base64);
    if (!name)
        return 0;
    yyjson_val *secret = l->fn(l->userdata, "Secret", name);
    *l->ret_reason = "FailedMount";
    if (!secret)
        return gw_error_set(err, GW_NOT_FOUND, "secret %s is not there", name);
    if (!secret_value(secret, f->keys, ret, ret_len))
        return gw_error_set(err, GW_NOT_FOUND, "secret %s has no key %s", name, f->keys[0]);
    return 0;
}

/* What KubeVirt gives NoCloud as meta-data: JSON, which is YAML too. */
static char *meta_data(yyjson_val *vmi)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    const char *name = json_str_or(vmi, "/metadata/name", "vmi");
    _cleanup_free_ char *id = xasprintf("%s.%s", name, json_str_or(vmi, "/metadata/namespace", "default"));

    json_set_str(d, "/instance-id", id);
    json_set_str(d, "/local-hostname", json_str_or(vmi, "/spec/hostname", name));
    return json_text(yyjson_mut_doc_get_root(d));
}

static int plan_cloud_init(yyjson_val *vmi, yyjson_val *source, const struct lookup *l, struct volume *v,
                           struct gw_error *err)
{
    v->kind = VOLUME_CLOUD_INIT;
    v->meta_data = meta_data(vmi);
    int r = cloud_value(source, &user_field, l, &v->user_data, &v->user_len, err);
    if (r == 0)
        r = cloud_value(source, &network_field, l, &v->network_data, &v->network_len, err);
    if (r == 0 && v->user_len + v->network_len > USER_DATA_MAX)
        r = gw_error_set(err, GW_INVALID, "cloudInitNoCloud: more than 1 MiB of data");
    return r;
}

/* --- claims --- */

/* A quantity, which may be written as a number too. */
static int64_t bytes_at(yyjson_val *v, const char *path)
{
    return quantity_text_value(json_str(v, path), json_int(v, path, 0));
}

/* Until the VMI's controller has given it to this one. */
static int check_given(yyjson_val *vmi, yyjson_val *claim, const struct lookup *l, struct gw_error *err)
{
    _cleanup_free_ char *user = NULL;
    const char *uid;

    if (claim_is_given_to(claim, vmi))
        return 0;
    *l->ret_reason = "FailedAttachVolume";
    if (claim_user(claim, &user, &uid))
        return gw_error_set(err, GW_SERVICE_UNAVAILABLE, "claim %s is in use by virtual machine instance %s",
                            meta_name(claim), user);
    return gw_error_set(err, GW_SERVICE_UNAVAILABLE, "claim %s is not given to this virtual machine instance yet",
                        meta_name(claim));
}

static int plan_claim(yyjson_val *vmi, yyjson_val *source, const struct lookup *l, struct volume *v,
                      struct gw_error *err)
{
    const char *name = json_str_or(source, "/claimName", "");
    yyjson_val *claim = l->fn(l->userdata, "PersistentVolumeClaim", name);

    *l->ret_reason = "FailedMount";
    if (!claim)
        return gw_error_set(err, GW_NOT_FOUND, "claim %s is not there", name);
    const char *pv_name = json_str(claim, "/spec/volumeName");
    if (!pv_name)
        return gw_error_set(err, GW_SERVICE_UNAVAILABLE, "claim %s is not bound to a volume yet", name);
    yyjson_val *pv = l->fn(l->userdata, "PersistentVolume", pv_name);
    if (!pv)
        return gw_error_set(err, GW_NOT_FOUND, "volume %s of claim %s is not there", pv_name, name);
    const char *folder = json_str(pv, "/spec/hostPath/path") ?: json_str(pv, "/spec/local/path");
    if (!folder || *folder != '/')
        return gw_error_set(err, GW_INVALID, "volume %s of claim %s: only hostPath and local volumes can be used",
                            pv_name, name);
    if (streq(json_str_or(claim, "/spec/volumeMode", "Filesystem"), "Block"))
        return gw_error_set(err, GW_INVALID, "claim %s: volumeMode Block is not supported yet", name);
    const char *provider = json_key_str(pv, "/metadata/annotations", "pv.kubernetes.io/provisioned-by");
    const char *capacity = json_str(claim, "/status/capacity/storage");
    int r = check_given(vmi, claim, l, err);
    if (r < 0)
        return r;
    v->kind = VOLUME_CLAIM;
    v->claim = xstrdup(name);
    v->folder = xstrdup(folder);
    v->made_as = provider && str_starts(provider, "godwit.io/") ? xstrdup(pv_name) : NULL;
    v->of_node = json_at(pv, "/spec/local") != NULL;
    v->make_folder = v->made_as || streq(json_str_or(pv, "/spec/hostPath/type", ""), "DirectoryOrCreate");
    v->reclaim = v->made_as && streq(json_str_or(pv, "/spec/persistentVolumeReclaimPolicy", "Delete"), "Delete");
    v->shared = claim_is_shared(claim);
    v->capacity = capacity ? quantity_text_value(capacity, 0) : bytes_at(claim, "/spec/resources/requests/storage");
    v->read_only = v->read_only || json_bool(source, "/readOnly", false);
    return 0;
}

/* --- all --- */

static void plan_container_disk(yyjson_val *vmi, yyjson_val *source, struct volume *v)
{
    yyjson_val *status = json_find(json_at(vmi, "/status/volumeStatus"), "/name", v->name);

    v->kind = VOLUME_CONTAINER_DISK;
    v->image = xstrdup(json_str_or(source, "/image", ""));
    v->path = xstrdup(json_str(source, "/path"));
    v->digest = xstrdup(json_str(status, "/containerDiskVolume/digest"));
}

static int plan_source(yyjson_val *vmi, yyjson_val *volume, const struct lookup *l, struct volume *v,
                       struct gw_error *err)
{
    yyjson_val *source;

    if ((source = json_at(volume, "/containerDisk"))) {
        plan_container_disk(vmi, source, v);
        return 0;
    }
    if ((source = json_at(volume, "/cloudInitNoCloud")))
        return plan_cloud_init(vmi, source, l, v, err);
    if ((source = json_at(volume, "/persistentVolumeClaim")))
        return plan_claim(vmi, source, l, v, err);
    if ((source = json_at(volume, "/emptyDisk"))) {
        v->kind = VOLUME_EMPTY_DISK;
        v->capacity = bytes_at(source, "/capacity");
        return v->capacity > 0 ? 0 : gw_error_set(err, GW_INVALID, "emptyDisk.capacity is needed");
    }
    return gw_error_set(err, GW_INVALID, "its source is not supported");
}

static int plan_disk(yyjson_val *vmi, yyjson_val *disk, const struct lookup *l, struct volume *v, struct gw_error *err)
{
    const char *name = json_str_or(disk, "/name", "");
    yyjson_val *volume = json_find(json_at(vmi, "/spec/volumes"), "/name", name);
    bool sata = streq(json_str_or(disk, "/disk/bus", ""), "sata");

    v->name = xstrdup(name);
    v->read_only =
        json_at(disk, "/cdrom") ? json_bool(disk, "/cdrom/readonly", true) : json_bool(disk, "/disk/readonly", false);
    if (!volume)
        return gw_error_set(err, GW_INVALID, "spec.domain.devices.disks: disk %s has no volume of its name", name);
    int r = plan_source(vmi, volume, l, v, err);
    if (r < 0)
        return gw_error_wrap(err, r, "volume %s", name);
    /* The seed of a first boot: the guest only reads it, so nothing of it needs to travel. SATA disks can't be
     * read-only. */
    if (v->kind == VOLUME_CLOUD_INIT && !sata)
        v->read_only = true;
    if (v->read_only && sata)
        return gw_error_set(err, GW_INVALID,
                            "spec.domain.devices.disks: disk %s: a SATA disk cannot be read-only; use "
                            "cdrom or another bus",
                            name);
    return 0;
}

static void plan_kernel(yyjson_val *vmi, struct volume_plan *p)
{
    yyjson_val *container = json_at(vmi, "/spec/domain/firmware/kernelBoot/container");

    if (!json_str(container, "/image"))
        return;
    p->kernel_image = xstrdup(json_str(container, "/image"));
    p->kernel_path = xstrdup(json_str(container, "/kernelPath"));
    p->initrd_path = xstrdup(json_str(container, "/initrdPath"));
    p->kernel_digest = xstrdup(json_key_str(vmi, "/metadata/annotations", "godwit.io/kernel-boot-digest"));
}

/* {"disk":...,"volume":...}: what a migration's target will be told. Caller frees. */
static char *definition_of(yyjson_val *disk, yyjson_val *volume)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();

    json_set(d, "/disk", yyjson_val_mut_copy(d, disk));
    json_set(d, "/volume", yyjson_val_mut_copy(d, volume));
    json_remove(d, "/disk/target");
    return json_text(d->root);
}

/* Names are given in the order of the list, in which the cold ones come first. */
static int plan_place(yyjson_val *vmi, yyjson_val *disk, struct attachment_places *places, struct disk_vec *named,
                      struct volume *v, struct gw_error *err)
{
    yyjson_val *volume = json_find(json_at(vmi, "/spec/volumes"), "/name", v->name);
    const char *target = json_str(disk, "/target");
    char name[DISK_TARGET_MAX];
    int r = 0;

    v->hot = volume && volume_is_hot(volume);
    if (!v->hot)
        target = attachment_cold_name(disk, places, name);
    else if (!target && (r = attachment_find_place(disk, named, name, err)) == 0)
        target = name;
    if (r < 0)
        return r;
    v->target = xstrdup(target);
    if (v->hot)
        v->definition = definition_of(disk, volume);
    disk_vec_push(named, (struct disk){.name = v->name, .target = v->target, .hot = v->hot});
    return 0;
}

int volumes_plan(yyjson_val *vmi, volume_lookup_fn lookup, void *userdata, struct volume_plan *ret,
                 const char **ret_reason, struct gw_error *err)
{
    const struct lookup l = {lookup, userdata, ret_reason};
    __attribute__((cleanup(disk_vec_done))) struct disk_vec named = {0};
    struct attachment_places places = {0};
    struct volume_plan p = {0};
    yyjson_val *disk;

    *ret_reason = "InvalidVolume";
    plan_kernel(vmi, &p);
    json_each(json_at(vmi, "/spec/domain/devices/disks"), disk) {
        struct volume v = {0};
        int r = plan_disk(vmi, disk, &l, &v, err);
        if (r == 0)
            r = plan_place(vmi, disk, &places, &named, &v, err);
        volume_vec_push(&p.disks, v);
        if (r < 0) {
            volume_plan_done(&p);
            return r;
        }
    }
    *ret = p;
    return 0;
}

static void need(struct strv *ret, const char *kind, const char *name)
{
    _cleanup_free_ char *entry = name ? xasprintf("%s/%s", kind, name) : NULL;

    if (entry && !strv_has(ret, entry))
        strv_push(ret, entry);
}

void volumes_needs(yyjson_val *vmi, volume_lookup_fn lookup, void *userdata, struct strv *ret)
{
    yyjson_val *volume;

    json_each(json_at(vmi, "/spec/volumes"), volume) {
        const char *claim = json_str(volume, "/persistentVolumeClaim/claimName");
        need(ret, "Secret", json_str(volume, "/cloudInitNoCloud/secretRef/name"));
        need(ret, "Secret", json_str(volume, "/cloudInitNoCloud/networkDataSecretRef/name"));
        need(ret, "PersistentVolumeClaim", claim);
        if (claim)
            need(ret, "PersistentVolume",
                 json_str(lookup(userdata, "PersistentVolumeClaim", claim), "/spec/volumeName"));
    }
}
