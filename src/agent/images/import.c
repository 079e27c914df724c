/* Import: everything is prepared in a folder of its own below STORE, which becomes the blob by one rename; the name is
 * written last. An import that is interrupted leaves a folder ".import-..." and nothing else; the next import removes
 * it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <gnutls/crypto.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/images/archive.h"
#include "agent/images/images.h"
#include "agent/images/note.h"
#include "base/alloc.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/process.h"
#include "base/str.h"
#include "base/strv.h"

#define FILES_MAX 256
#define SCRAPS ".import-"

/* --- Digests --- */

static void to_hex(const unsigned char *bytes, char *hex)
{
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
}

static int hash_file(const char *path, char hex[65], struct gw_error *err)
{
    _cleanup_free_ char *buf = xmalloc(1 << 20);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    gnutls_hash_hd_t hash;
    unsigned char bytes[32];
    ssize_t n;

    if (fd < 0)
        return gw_error_errno(err, errno, "%s", path);
    if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) < 0)
        return gw_error_set(err, GW_INTERNAL_ERROR, "SHA-256 is not available");
    while ((n = read(fd, buf, 1 << 20)) > 0)
        gnutls_hash(hash, buf, (size_t)n);
    gnutls_hash_deinit(hash, bytes);
    to_hex(bytes, hex);
    return n < 0 ? gw_error_errno(err, errno, "%s", path) : 0;
}

/* --- Files of the new image --- */

static struct {
    size_t root_len;
    struct strv paths;
} walk; /* nftw has no user data */

static int visit(const char *path, const struct stat *st, int type, struct FTW *at)
{
    if (type == FTW_F && S_ISREG(st->st_mode) && walk.paths.len <= FILES_MAX)
        strv_push(&walk.paths, path + walk.root_len);
    return 0;
}

/* The regular files below root, sorted, as paths that begin with '/'. */
static int list_files(const char *root, struct strv *ret, struct gw_error *err)
{
    walk.root_len = strlen(root);
    walk.paths = (struct strv){0};
    if (nftw(root, visit, 16, FTW_PHYS) < 0)
        return gw_error_errno(err, errno, "%s", root);
    *ret = walk.paths;
    strv_sort(ret);
    if (ret->len == 0 || ret->len > FILES_MAX)
        return gw_error_set(err, GW_INVALID, "%s: a container disk holds a disk in /disk, or kernel and initrd",
                            ret->len ? "the image has more than 256 files" : "the image is empty");
    return 0;
}

static int add_file(const char *root, const char *path, struct image *image, struct str *sums, struct gw_error *err)
{
    _cleanup_free_ char *file = xasprintf("%s%s", root, path);
    struct image_file f = {0};
    const char *format;
    struct stat st;
    char hex[65];

    int r = disk_inspect(file, &format, &f.virtual_size, err);
    if (r == 0)
        r = hash_file(file, hex, err);
    if (r == 0 && (stat(file, &st) < 0 || chmod(file, 0444) < 0))
        r = gw_error_errno(err, errno, "%s", file);
    if (r < 0)
        return r;
    f.path = xstrdup(path);
    f.format = xstrdup(format);
    f.size = st.st_size;
    image_file_vec_push(&image->files, f);
    str_printf(sums, "%s  %s\n", hex, path);
    return 0;
}

static int describe(const char *root, struct image *image, struct gw_error *err)
{
    _cleanup_strv_ struct strv paths = {0};
    _cleanup_str_ struct str sums = {0};
    unsigned char bytes[32];
    char hex[65];
    int r = list_files(root, &paths, err);

    for (size_t i = 0; i < paths.len && r == 0; i++)
        r = add_file(root, paths.items[i], image, &sums, err);
    if (r < 0)
        return r;
    if (gnutls_hash_fast(GNUTLS_DIG_SHA256, sums.data, sums.len, bytes) < 0)
        return gw_error_set(err, GW_INTERNAL_ERROR, "SHA-256 is not available");
    to_hex(bytes, hex);
    image->digest = xasprintf("sha256:%s", hex);
    return 0;
}

static char *note_text(const struct image *image)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    yyjson_mut_val *files = yyjson_mut_arr(d);

    json_set_str(d, "/name", image->name);
    json_set_str(d, "/digest", image->digest);
    VEC_EACH(&image->files, f) {
        yyjson_mut_val *item = yyjson_mut_arr_add_obj(d, files);
        yyjson_mut_obj_add_strcpy(d, item, "path", f->path);
        yyjson_mut_obj_add_strcpy(d, item, "format", f->format);
        yyjson_mut_obj_add_int(d, item, "size", f->size);
        yyjson_mut_obj_add_int(d, item, "virtualSize", f->virtual_size);
    }
    json_set(d, "/files", files);
    return json_text(yyjson_mut_doc_get_root(d));
}

/* --- Steps --- */

/* A plain disk becomes /disk/NAME; holes stay holes. */
static int copy_disk(const char *file, const char *root, struct gw_error *err)
{
    _cleanup_free_ char *name = xstrdup(file), *folder = xasprintf("%s/disk", root);
    _cleanup_free_ char *target = xasprintf("%s/%s", folder, basename(name));
    const char *argv[] = {"cp", "--sparse=always", "--reflink=auto", "--", file, target, NULL};
    struct process_options options = {.timeout_ms = 30 * 60 * 1000};
    int r = fs_mkdirs(folder, 0755, err);

    return r < 0 ? r : process_run(argv, &options, NULL, err);
}

static int publish(const char *store, const char *root, const struct image *image, struct gw_error *err)
{
    _cleanup_free_ char *text = note_text(image), *in_blob = xasprintf("%s/" IMAGE_NOTE, root);
    _cleanup_free_ char *blob = xasprintf("%s/blobs/%s", store, image->digest + strlen("sha256:"));
    _cleanup_free_ char *folder = image_name_folder(store, image->name), *note = xasprintf("%s/" IMAGE_NOTE, folder);
    _cleanup_free_ char *blobs = xasprintf("%s/blobs", store);

    int r = fs_write(in_blob, text, strlen(text), 0644, err);
    if (r == 0)
        r = fs_mkdirs(blobs, 0755, err);
    if (r == 0 && chmod(root, 0755) < 0)
        r = gw_error_errno(err, errno, "%s", root);
    if (r == 0 && rename(root, blob) < 0 && errno != EEXIST && errno != ENOTEMPTY) /* there already: the same files */
        r = gw_error_errno(err, errno, "%s", blob);
    if (r == 0)
        r = fs_mkdirs(folder, 0755, err);
    return r < 0 ? r : fs_write(note, text, strlen(text), 0644, err);
}

static void remove_scraps(const char *store)
{
    DIR *d = opendir(store);
    struct dirent *e;

    while (d && (e = readdir(d))) {
        if (!str_starts(e->d_name, SCRAPS))
            continue;
        _cleanup_free_ char *path = xasprintf("%s/%s", store, e->d_name);
        fs_remove_tree(path, NULL);
    }
    if (d)
        closedir(d);
}

static int import_locked(const char *store, const char *name, const char *file, struct image *ret, struct gw_error *err)
{
    _cleanup_free_ char *work = xasprintf("%s/" SCRAPS "XXXXXX", store);
    _cleanup_image_ struct image image = {.name = image_full_name(name)};

    remove_scraps(store);
    if (!mkdtemp(work))
        return gw_error_errno(err, errno, "%s", work);
    _cleanup_free_ char *root = xasprintf("%s/root", work);
    int r = fs_mkdirs(root, 0755, err);
    if (r == 0)
        r = archive_is_tar(file) ? archive_unpack(file, work, root, err) : copy_disk(file, root, err);
    if (r == 0)
        r = describe(root, &image, err);
    if (r == 0)
        r = publish(store, root, &image, err);
    fs_remove_tree(work, NULL);
    return r < 0 ? r : image_resolve(store, image.name, NULL, ret, err);
}

int image_import(const char *store, const char *name, const char *file, struct image *ret, struct gw_error *err)
{
    struct stat st;
    int r = 0;

    if (strlen(name) == 0 || strlen(name) > 200 || strchr(name, '@') || strchr(name, ' '))
        return gw_error_set(err, GW_INVALID, "\"%s\" is no image name such as registry.example/test-guest:v1", name);
    if (stat(file, &st) < 0 || !S_ISREG(st.st_mode))
        return gw_error_set(err, GW_NOT_FOUND, "%s is not there or no file", file);
    if ((r = fs_mkdirs(store, 0755, err)) < 0)
        return r;
    _cleanup_close_ int lock = open(store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0 || flock(lock, LOCK_EX) < 0)
        return gw_error_errno(err, errno, "%s", store);
    r = import_locked(store, name, file, ret, err);
    return r < 0 ? gw_error_wrap(err, r, "import of %s", file) : 0;
}
