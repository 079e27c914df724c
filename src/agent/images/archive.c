#include "agent/images/archive.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/process.h"
#include "base/str.h"
#include "base/strv.h"

#define TAR_TIMEOUT_MS (10 * 60 * 1000)
#define WHITEOUT ".wh."
#define WHITEOUT_OPAQUE ".wh..wh..opq"

bool archive_is_tar(const char *file)
{
    char magic[5] = "";
    _cleanup_close_ int fd = open(file, O_RDONLY | O_CLOEXEC);

    return fd >= 0 && pread(fd, magic, sizeof(magic), 257) == sizeof(magic) && memcmp(magic, "ustar", 5) == 0;
}

static int untar(const char *file, const char *folder, struct gw_error *err)
{
    const char *argv[] = {"tar",
                          "-xf",
                          file,
                          "-C",
                          folder,
                          "--no-same-owner",
                          "--no-same-permissions",
                          "--delay-directory-restore",
                          "--exclude=dev/*",
                          "--exclude=" WHITEOUT "*",
                          NULL};
    struct process_options options = {.timeout_ms = TAR_TIMEOUT_MS};

    return process_run(argv, &options, NULL, err);
}

static int read_json(const char *folder, const char *name, yyjson_doc **ret, struct gw_error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", folder, name);

    return json_load(path, 4 << 20, ret, err);
}

/* A name from a manifest, as a path below the archive's folder. */
static int add_layer(struct strv *layers, const char *name, struct gw_error *err)
{
    if (!name || *name == '/' || strstr(name, ".."))
        return gw_error_set(err, GW_INVALID, "the archive names a layer \"%s\"", name ? name : "");
    strv_push(layers, name);
    return 0;
}

/* "sha256:abc" as the layout stores it: "blobs/sha256/abc". Caller frees. */
static char *blob_path(const char *digest)
{
    char *path = xasprintf("blobs/%s", digest ? digest : "");
    char *colon = strchr(path, ':');

    if (colon)
        *colon = '/';
    return path;
}

static int docker_layers(yyjson_val *manifests, struct strv *ret, struct gw_error *err)
{
    yyjson_val *layer;
    int r;

    json_each(json_at(manifests, "/0/Layers"), layer)
        if ((r = add_layer(ret, yyjson_get_str(layer), err)) < 0)
            return r;
    return 0;
}

/* The first manifest that is for this architecture, or names none; an index may refer to another index. */
static int oci_layers(const char *folder, const char *file, int depth, struct strv *ret, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;
    yyjson_val *item;
    int r =
        depth > 4 ? gw_error_set(err, GW_INVALID, "index.json refers to itself") : read_json(folder, file, &doc, err);

    if (r < 0)
        return r;
    json_each(json_at(yyjson_doc_get_root(doc), "/manifests"), item) {
        if (!streq(json_str_or(item, "/platform/architecture", "amd64"), "amd64"))
            continue;
        _cleanup_free_ char *next = blob_path(json_str(item, "/digest"));
        return strstr(next, "..") ? gw_error_set(err, GW_INVALID, "index.json names a digest \"%s\"", next)
                                  : oci_layers(folder, next, depth + 1, ret, err);
    }
    json_each(json_at(yyjson_doc_get_root(doc), "/layers"), item) {
        _cleanup_free_ char *layer = blob_path(json_str(item, "/digest"));
        if ((r = add_layer(ret, layer, err)) < 0)
            return r;
    }
    return 0;
}

static int find_layers(const char *folder, struct strv *ret, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;
    _cleanup_free_ char *index = xasprintf("%s/index.json", folder), *manifest = xasprintf("%s/manifest.json", folder);
    int r;

    if (fs_exists(manifest))
        r = (r = read_json(folder, "manifest.json", &doc, err)) < 0 ? r
                                                                    : docker_layers(yyjson_doc_get_root(doc), ret, err);
    else if (fs_exists(index))
        r = oci_layers(folder, "index.json", 0, ret, err);
    else
        return gw_error_set(err, GW_INVALID,
                            "the archive has neither manifest.json (docker save) nor index.json (OCI)");
    if (r == 0 && ret->len == 0)
        return gw_error_set(err, GW_INVALID, "the image in the archive has no layers for amd64");
    return r;
}

/* Removes all that a folder holds. */
static int empty_folder(const char *path, struct gw_error *err)
{
    int r = fs_exists(path) ? fs_remove_tree(path, err) : 0;

    return r < 0 ? r : fs_mkdirs(path, 0755, err);
}

/* One member of a layer: ".wh.NAME" hides NAME of the layers below, ".wh..wh..opq" all of its folder. */
static int apply_whiteout(const char *rootfs, const char *member, struct gw_error *err)
{
    const char *slash = strrchr(member, '/'), *name = slash ? slash + 1 : member;
    int folder_len = slash ? (int)(slash - member) : 0;

    if (!str_starts(name, WHITEOUT) || strstr(member, "../") || *member == '/')
        return 0;
    _cleanup_free_ char *folder = xasprintf("%s/%.*s", rootfs, folder_len, member);
    if (streq(name, WHITEOUT_OPAQUE))
        return empty_folder(folder, err);
    _cleanup_free_ char *hidden = xasprintf("%s/%s", folder, name + strlen(WHITEOUT));
    return fs_remove_tree(hidden, err);
}

/* Whiteouts speak of the layers below, so they come before the layer's own files. */
static int apply_whiteouts(const char *layer, const char *rootfs, struct gw_error *err)
{
    const char *argv[] = {"tar", "-tf", layer, NULL};
    struct process_options options = {.timeout_ms = TAR_TIMEOUT_MS};
    _cleanup_free_ char *list = NULL;
    char *rest, *line;
    int r = process_run(argv, &options, &list, err);

    for (line = r < 0 ? NULL : strtok_r(list, "\n", &rest); line && r == 0; line = strtok_r(NULL, "\n", &rest))
        r = apply_whiteout(rootfs, line, err);
    return r;
}

/* No image around them, just the files. */
static bool is_plain(const char *outer)
{
    static const char *const names[] = {"disk", "boot"};

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        _cleanup_free_ char *path = xasprintf("%s/%s", outer, names[i]);
        if (fs_exists(path))
            return true;
    }
    return false;
}

int archive_unpack(const char *file, const char *work, const char *rootfs, struct gw_error *err)
{
    _cleanup_free_ char *outer = xasprintf("%s/archive", work);
    _cleanup_strv_ struct strv layers = {0};
    int r = fs_mkdirs(outer, 0700, err);

    if (r == 0)
        r = untar(file, outer, err);
    if (r == 0 && is_plain(outer))
        return untar(file, rootfs, err);
    if (r == 0)
        r = find_layers(outer, &layers, err);
    for (size_t i = 0; i < layers.len && r == 0; i++) {
        _cleanup_free_ char *layer = xasprintf("%s/%s", outer, layers.items[i]);
        r = apply_whiteouts(layer, rootfs, err);
        if (r == 0)
            r = untar(layer, rootfs, err);
    }
    return r;
}
