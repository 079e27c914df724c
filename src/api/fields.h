/* docs/fields.md: every field of the kinds that describe VMs and the cluster's settings, and whether it works. */
#pragma once

#include "api/kind.h"
#include "base/str.h"

/* Calls visit for each field of the kind below "spec" and "status", with its path ("spec.volumes[].name"). Shared types
 * that have a place of their own in the document are not entered. The path belongs to the caller of visit. */
void fields_each(const struct kind *kind, void (*visit)(void *data, const char *path, const struct property *p),
                 void *data);

/* Writes the whole document as Markdown. */
void fields_write(struct kinds *kinds, struct str *out);
