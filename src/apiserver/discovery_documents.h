/* The documents of discovery; each function gives the root of d. */
#pragma once

#include "apiserver/catalog.h"

/* GET /api, /apis, /apis/GROUP, and /api/v1 or /apis/GROUP/VERSION. */
void legacy_versions(yyjson_mut_doc *d, const struct catalog_group *core);
void legacy_groups(yyjson_mut_doc *d, const struct catalog_vec *catalog);
void legacy_group(yyjson_mut_doc *d, const struct catalog_group *g);
void legacy_resources(yyjson_mut_doc *d, const struct catalog_group *g, const char *version);

/* The same in one document (apidiscovery.k8s.io): the core group alone for /api, all others for /apis. */
void aggregated_groups(yyjson_mut_doc *d, const struct catalog_vec *catalog, bool core, const char *version);
