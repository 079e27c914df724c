/* ISO 9660 images with a few files in the root folder, as cloud-init's NoCloud wants them: primary names for those who
 * read nothing else, Joliet names as given. No time stamps, so equal input gives equal bytes on every node. */
#pragma once

#include <stddef.h>

#include "base/str.h"

struct iso_file {
    const char *name; /* at most 28 ASCII characters */
    const void *data;
    size_t len;
};

/* files must be sorted by name. label: at most 16 characters. Appends the image to out. */
void iso_write(const char *label, const struct iso_file *files, size_t n, struct str *out);
