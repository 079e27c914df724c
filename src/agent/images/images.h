/* The local image store: container disks and kernel-boot images under names like "registry.example/test-guest:v1".
 *
 *   STORE/names/NAME/image.json   what the name stands for now (NAME with '/' as "%2F")
 *   STORE/blobs/HEX/...           the files of one image, read-only, by the digest over their paths and contents
 *
 * A digest never changes its meaning, so VMs pin it: a new import under the same name makes a new blob and leaves the
 * old one where running VMs and their migrations find it. */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/vec.h"

struct image_file {
    char *path;           /* in the image: "/disk/disk.qcow2" */
    char *file;           /* on this host, absolute */
    char *format;         /* "raw" or "qcow2" */
    int64_t size;         /* of the file */
    int64_t virtual_size; /* of the disk in it */
};
VEC_DEFINE(image_file_vec, struct image_file);

struct image {
    char *name;   /* "registry.example/test-guest:v1" */
    char *digest; /* "sha256:..." */
    struct image_file_vec files;
};

void image_done(struct image *i);
#define _cleanup_image_ _cleanup_(image_done)

/* Finds an image by name (":latest" if it has no tag), or by digest where one is given: then name is used in messages
 * only. NotFound says how to import it. */
int image_resolve(const char *store, const char *name, const char *digest, struct image *ret, struct gw_error *err);

/* The file at path, e.g. "/boot/vmlinuz"; with NULL the one disk in /disk. NotFound names what is there. The result is
 * borrowed from image. */
int image_find(const struct image *image, const char *path, const struct image_file **ret, struct gw_error *err);

/* Imports a disk (qcow2 or raw), or an archive of a container image (docker save, or an OCI layout in a tar file) with
 * its disk in /disk or with kernel and initrd. Replaces what the name stood for. */
int image_import(const char *store, const char *name, const char *file, struct image *ret, struct gw_error *err);

/* Calls fn for each name in the store, sorted. */
int image_list(const char *store, void (*fn)(void *userdata, const struct image *image), void *userdata,
               struct gw_error *err);

/* Format and virtual size of a disk file. A qcow2 that refers to other files is Invalid: importing it must not make
 * files of the host readable. A file that is no qcow2 is raw. */
int disk_inspect(const char *file, const char **ret_format, int64_t *ret_virtual_size, struct gw_error *err);
/* The same from the first bytes of a file (at least 104 of them for qcow2); for the fuzzer too. */
int disk_inspect_header(const void *data, size_t len, int64_t file_size, const char **ret_format,
                        int64_t *ret_virtual_size, struct gw_error *err);
