/* image.json: one lies under the name, and the same beside the files, to find an image by its digest. */
#pragma once

#include "agent/images/images.h"

#define IMAGE_NOTE "image.json"

char *image_full_name(const char *name);                           /* with ":latest"; caller frees */
char *image_name_folder(const char *store, const char *full_name); /* caller frees */
int image_note_read(const char *store, const char *path, struct image *ret, struct gw_error *err);
