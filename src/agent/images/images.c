#include "agent/images/images.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"
#include "base/strv.h"
#include "agent/images/note.h"

static void file_done(struct image_file *f)
{
    free(f->path);
    free(f->file);
    free(f->format);
}

void image_done(struct image *i)
{
    free(i->name);
    free(i->digest);
    VEC_EACH(&i->files, f)
        file_done(f);
    image_file_vec_done(&i->files);
    *i = (struct image){0};
}

char *image_full_name(const char *name)
{
    const char *last = strrchr(name, '/'), *tag = strchr(last ? last : name, ':');

    return tag ? xstrdup(name) : xasprintf("%s:latest", name);
}

char *image_name_folder(const char *store, const char *full_name)
{
    struct str s = {0};

    str_printf(&s, "%s/names/", store);
    for (const char *c = full_name; *c; c++) {
        if (*c == '/' || *c == '%')
            str_printf(&s, "%%%02X", (unsigned)(unsigned char)*c);
        else
            str_putc(&s, *c);
    }
    return str_take(&s);
}

int image_note_read(const char *store, const char *path, struct image *ret, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;
    yyjson_val *item;
    int r = json_load(path, 4 << 20, &doc, err);

    if (r < 0)
        return r;
    yyjson_val *v = yyjson_doc_get_root(doc);
    const char *digest = json_str_or(v, "/digest", "");
    if (!str_starts(digest, "sha256:"))
        return gw_error_set(err, GW_INVALID, "%s names no digest", path);
    struct image image = {.name = xstrdup(json_str_or(v, "/name", "")), .digest = xstrdup(digest)};
    json_each(json_at(v, "/files"), item) {
        const char *in_image = json_str_or(item, "/path", "/");
        image_file_vec_push(&image.files,
                            (struct image_file){
                                .path = xstrdup(in_image),
                                .file = xasprintf("%s/blobs/%s%s", store, digest + strlen("sha256:"), in_image),
                                .format = xstrdup(json_str_or(item, "/format", "raw")),
                                .size = json_int(item, "/size", 0),
                                .virtual_size = json_int(item, "/virtualSize", 0),
                            });
    }
    *ret = image;
    return 0;
}

int image_resolve(const char *store, const char *name, const char *digest, struct image *ret, struct gw_error *err)
{
    _cleanup_free_ char *full = image_full_name(name), *folder = image_name_folder(store, full), *path = NULL;
    int r;

    if (digest)
        path = xasprintf("%s/blobs/%s/" IMAGE_NOTE, store, str_starts(digest, "sha256:") ? digest + 7 : digest);
    else
        path = xasprintf("%s/" IMAGE_NOTE, folder);
    r = image_note_read(store, path, ret, err);
    if (r == -ENOENT && digest)
        return gw_error_set(err, GW_NOT_FOUND,
                            "image %s with digest %s is not in this node's store: import the same file "
                            "there (godwit image import %s FILE)",
                            full, digest, full);
    if (r == -ENOENT)
        return gw_error_set(err, GW_NOT_FOUND, "image %s is not in this node's store: godwit image import %s FILE",
                            full, full);
    return r;
}

static const struct image_file *only_disk(const struct image *image)
{
    const struct image_file *found = NULL;

    VEC_EACH(&image->files, f) {
        if (!str_starts(f->path, "/disk/"))
            continue;
        if (found)
            return NULL;
        found = f;
    }
    return found;
}

int image_find(const struct image *image, const char *path, const struct image_file **ret, struct gw_error *err)
{
    const struct image_file *found = path && *path ? NULL : only_disk(image);
    _cleanup_strv_ struct strv there = {0};

    VEC_EACH(&image->files, f) {
        if (path && streq(f->path, path))
            found = f;
        strv_push(&there, f->path);
    }
    if (found) {
        *ret = found;
        return 0;
    }
    _cleanup_free_ char *list = strv_join(&there, ", ");
    return gw_error_set(err, GW_NOT_FOUND, "image %s has %s%s; it has: %s", image->name,
                        path && *path ? "no file " : "not exactly one disk in /disk", path ? path : "", list);
}

int image_list(const char *store, void (*fn)(void *userdata, const struct image *image), void *userdata,
               struct gw_error *err)
{
    _cleanup_free_ char *names = xasprintf("%s/names", store);
    struct dirent **entries = NULL;
    int n = scandir(names, &entries, NULL, alphasort),
        r = n < 0 && errno != ENOENT ? gw_error_errno(err, errno, "%s", names) : 0;

    for (int i = 0; i < n; i++) {
        _cleanup_free_ char *path = xasprintf("%s/%s/" IMAGE_NOTE, names, entries[i]->d_name);
        _cleanup_image_ struct image image = {0};
        if (*entries[i]->d_name != '.' && image_note_read(store, path, &image, NULL) == 0)
            fn(userdata, &image);
        free(entries[i]);
    }
    free(entries);
    return r;
}
