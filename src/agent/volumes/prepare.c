#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/images/images.h"
#include "agent/volumes/iso.h"
#include "agent/volumes/volumes.h"
#include "base/alloc.h"
#include "base/fs.h"
#include "base/process.h"

void prepared_volumes_done(struct prepared_volumes *p)
{
    disks_done(&p->disks);
    strv_done(&p->digests);
    free(p->kernel);
    free(p->initrd);
    free(p->kernel_digest);
    strv_done(&p->read_only);
    strv_done(&p->writable);
    *p = (struct prepared_volumes){0};
}

/* File systems say no to O_DIRECT when the file is opened. */
static bool takes_direct(const char *path)
{
    _cleanup_close_ int fd = path ? open(path, O_RDONLY | O_DIRECT | O_CLOEXEC) : -1;

    return fd >= 0;
}

static int give_to_qemu(const char *path, const struct volume_place *place, struct gw_error *err)
{
    if (chown(path, place->uid, place->gid) < 0 || chmod(path, 0600) < 0)
        return gw_error_errno(err, errno, "%s", path);
    return 0;
}

/* qemu-img makes the file under another name first, so that a file that is there is whole. */
static int make_qcow2(const char *path, const struct image_file *backing, int64_t size,
                      const struct volume_place *place, struct gw_error *err)
{
    _cleanup_free_ char *part = xasprintf("%s.part", path), *bytes = xasprintf("%" PRId64, size);
    const char *overlay[] = {"qemu-img",
                             "create",
                             "-q",
                             "-f",
                             "qcow2",
                             "-b",
                             backing ? backing->file : "",
                             "-F",
                             backing ? backing->format : "",
                             "--",
                             part,
                             NULL};
    const char *empty[] = {"qemu-img", "create", "-q", "-f", "qcow2", "--", part, bytes, NULL};

    if (fs_exists(path))
        return 0;
    int r = process_run(backing ? overlay : empty, NULL, NULL, err);
    if (r == 0)
        r = give_to_qemu(part, place, err);
    if (r == 0 && rename(part, path) < 0)
        r = gw_error_errno(err, errno, "%s", path);
    if (r < 0)
        (void)unlink(part);
    return r;
}

static int prepare_container_disk(const struct volume *v, const struct volume_place *place, const char *base,
                                  struct disk *d, char **ret_digest, const char **ret_reason, struct gw_error *err)
{
    _cleanup_image_ struct image image = {0};
    const struct image_file *f;

    *ret_reason = "ErrImagePull";
    int r = image_resolve(place->images, v->image, v->digest, &image, err);
    if (r == 0)
        r = image_find(&image, v->path, &f, err);
    if (r < 0)
        return r;
    *ret_reason = "FailedMount";
    *ret_digest = xstrdup(image.digest);
    d->size = f->virtual_size;
    if (v->read_only) {
        d->path = xstrdup(f->file);
        d->format = xstrdup(f->format);
        return 0;
    }
    d->path = xasprintf("%s.qcow2", base);
    d->format = xstrdup("qcow2");
    d->backing = xstrdup(f->file);
    d->backing_format = xstrdup(f->format);
    return make_qcow2(d->path, f, 0, place, err);
}

static int prepare_cloud_init(const struct volume *v, const struct volume_place *place, const char *base,
                              struct disk *d, struct gw_error *err)
{
    struct iso_file files[3] = {{"meta-data", v->meta_data, strlen(v->meta_data)}};
    _cleanup_str_ struct str iso = {0};
    size_t n = 1;

    if (v->network_data)
        files[n++] = (struct iso_file){"network-config", v->network_data, v->network_len};
    files[n++] = (struct iso_file){"user-data", v->user_data ? v->user_data : "", v->user_len};
    iso_write("cidata", files, n, &iso);
    d->path = xasprintf("%s.iso", base);
    d->format = xstrdup("raw");
    d->size = (int64_t)iso.len;
    if (fs_exists(d->path) && !v->read_only)
        return 0; /* the guest may have written to it */
    int r = fs_write(d->path, iso.data, iso.len, 0600, err);
    return r < 0 ? r : give_to_qemu(d->path, place, err);
}

/* A sparse disk.img of the claim's size. Both ends of a shared folder may do it at once: it is made under a name of its
 * own and linked, and whose link comes second takes the first one's. */
static int make_claim_file(const char *path, const char *folder, const struct volume *v,
                           const struct volume_place *place, struct gw_error *err)
{
    _cleanup_free_ char *part = xasprintf("%s/.disk.img-XXXXXX", folder);
    int r = 0;

    if (v->capacity <= 0)
        return gw_error_set(err, GW_INVALID, "claim %s says no size for a new disk.img", v->claim);
    _cleanup_close_ int fd = mkostemp(part, O_CLOEXEC);
    if (fd < 0)
        return gw_error_errno(err, errno, "%s", folder);
    if (ftruncate(fd, v->capacity) < 0)
        r = gw_error_errno(err, errno, "%s of %" PRId64 " bytes", path, v->capacity);
    if (r == 0)
        r = give_to_qemu(part, place, err);
    if (r == 0 && link(part, path) < 0 && errno != EEXIST)
        r = gw_error_errno(err, errno, "%s", path);
    (void)unlink(part);
    return r;
}

/* Where the claim's volume is on this node. Caller frees. */
static char *claim_folder(const struct volume *v, const struct volume_place *place)
{
    const char *root = v->of_node ? place->local_dir : place->shared_dir;
    _cleanup_free_ char *old = v->made_as && place->local_dir ? xasprintf("%s/%s", place->local_dir, v->made_as) : NULL;

    /* Until 0.1.0 a claim for one node lay in that node's folder also if its class was that of shared volumes. */
    if (old && fs_exists(old))
        return TAKE_PTR(old);
    return v->made_as && root ? xasprintf("%s/%s", root, v->made_as) : xstrdup(v->folder);
}

static int make_claim_folder(const struct volume *v, const char *folder, struct gw_error *err)
{
    _cleanup_free_ char *mark = xasprintf("%s/" VOLUME_RECLAIM_MARK, folder);
    int r = v->make_folder ? fs_mkdirs(folder, 0711, err) : 0;

    if (r == 0 && v->reclaim && !fs_exists(mark))
        r = fs_write(mark, "", 0, 0600, err);
    else if (r == 0 && v->made_as && !v->reclaim)
        (void)unlink(mark);
    return r;
}

static int prepare_claim(const struct volume *v, const struct volume_place *place, struct disk *d, struct gw_error *err)
{
    _cleanup_free_ char *folder = claim_folder(v, place);
    struct stat st;
    int r = make_claim_folder(v, folder, err);

    d->path = xasprintf("%s/disk.img", folder);
    d->format = xstrdup("raw");
    d->shared = v->shared;
    if (r < 0)
        return r;
    if (stat(folder, &st) < 0)
        return gw_error_errno(err, errno, "claim %s: folder %s on this node", v->claim, folder);
    if (stat(d->path, &st) < 0 && ((r = make_claim_file(d->path, folder, v, place, err)) < 0 || stat(d->path, &st) < 0))
        return r < 0 ? r : gw_error_errno(err, errno, "%s", d->path);
    if (st.st_uid != place->uid && (r = give_to_qemu(d->path, place, err)) < 0)
        return r;
    d->size = st.st_size;
    return 0;
}

static int prepare_disk(const struct volume *v, size_t i, const struct volume_place *place, struct disk *d,
                        char **ret_digest, const char **ret_reason, struct gw_error *err)
{
    _cleanup_free_ char *base = xasprintf("%s/disk%zu", place->folder, i);

    *ret_reason = "FailedMount";
    d->name = xstrdup(v->name);
    d->read_only = v->read_only;
    d->target = xstrdup(v->target);
    d->hot = v->hot;
    d->definition = xstrdup(v->definition);
    switch (v->kind) {
    case VOLUME_CONTAINER_DISK:
        return prepare_container_disk(v, place, base, d, ret_digest, ret_reason, err);
    case VOLUME_CLOUD_INIT:
        return prepare_cloud_init(v, place, base, d, err);
    case VOLUME_CLAIM:
        return prepare_claim(v, place, d, err);
    default:
        d->path = xasprintf("%s.qcow2", base);
        d->format = xstrdup("qcow2");
        d->size = v->capacity;
        return make_qcow2(d->path, NULL, v->capacity, place, err);
    }
}

static void need_path(struct strv *list, const char *path)
{
    if (!strv_has(list, path))
        strv_push(list, path);
}

static int prepare_kernel(const struct volume_plan *plan, const struct volume_place *place, struct prepared_volumes *p,
                          struct gw_error *err)
{
    _cleanup_image_ struct image image = {0};
    const struct image_file *f;

    if (!plan->kernel_image)
        return 0;
    int r = image_resolve(place->images, plan->kernel_image, plan->kernel_digest, &image, err);
    if (r == 0)
        r = image_find(&image, plan->kernel_path, &f, err);
    if (r < 0)
        return r;
    p->kernel = xstrdup(f->file);
    p->kernel_digest = xstrdup(image.digest);
    need_path(&p->read_only, f->file);
    if (!plan->initrd_path)
        return 0;
    if ((r = image_find(&image, plan->initrd_path, &f, err)) < 0)
        return r;
    p->initrd = xstrdup(f->file);
    need_path(&p->read_only, f->file);
    return 0;
}

static int prepare_all(const struct volume_plan *plan, const struct volume_place *place, struct prepared_volumes *p,
                       const char **ret_reason, struct gw_error *err)
{
    int r = 0;

    for (size_t i = 0; i < plan->disks.len && r == 0; i++) {
        _cleanup_free_ char *digest = NULL;
        struct disk d = {0};
        r = prepare_disk(&plan->disks.items[i], i, place, &d, &digest, ret_reason, err);
        if (r == 0) {
            d.direct = takes_direct(d.path) && (!d.backing || takes_direct(d.backing));
            need_path(d.read_only ? &p->read_only : &p->writable, d.path);
            if (d.backing)
                need_path(&p->read_only, d.backing);
        } else {
            r = gw_error_wrap(err, r, "volume %s", plan->disks.items[i].name);
        }
        disk_vec_push(&p->disks, d);
        strv_push(&p->digests, digest ? digest : "");
    }
    if (r == 0) {
        *ret_reason = "ErrImagePull";
        r = prepare_kernel(plan, place, p, err);
    }
    return r;
}

int volumes_prepare(const struct volume_plan *plan, const struct volume_place *place, struct prepared_volumes *ret,
                    const char **ret_reason, struct gw_error *err)
{
    struct prepared_volumes p = {0};

    *ret_reason = "FailedMount";
    int r = fs_mkdirs(place->folder, 0700, err);
    if (r == 0)
        r = prepare_all(plan, place, &p, ret_reason, err);
    if (r < 0) {
        prepared_volumes_done(&p);
        return r;
    }
    *ret = p;
    return 0;
}
