/* Archives of container images: `docker save` (manifest.json) and OCI image layouts (index.json) in a tar file;
 * also a tar file of just the image's files (disk/ or boot/). */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* Whether the file is a tar archive, by its magic. */
bool archive_is_tar(const char *file);

/* Unpacks the layers of the image in the archive into folder `rootfs`, whiteouts applied. work is a folder for scraps.
 * The unpacking is tar's, which refuses names that lead outside. */
int archive_unpack(const char *file, const char *work, const char *rootfs, struct gw_error *err);
