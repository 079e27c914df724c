/* How the API addresses the kinds that clients use. Constants, so that code names them: &API_PODS. */
#pragma once

#include <stdbool.h>

struct api_resource {
    const char *group; /* "" is the legacy group, under /api */
    const char *version;
    const char *plural;
    const char *kind;
    bool namespaced;
};

extern const struct api_resource API_NAMESPACES, API_NODES, API_PODS, API_EVENTS, API_SECRETS, API_CONFIGMAPS,
    API_SERVICEACCOUNTS, API_PERSISTENTVOLUMES, API_PERSISTENTVOLUMECLAIMS, API_STORAGECLASSES, API_LEASES, API_CSRS,
    API_CRDS, API_VIRTUALMACHINES, API_VIRTUALMACHINEINSTANCES, API_MIGRATIONS, API_KUBEVIRTS, API_HYPERCONVERGEDS,
    API_MIGRATIONPOLICIES, API_ROLES, API_ROLEBINDINGS, API_NODENETWORKS;

/* All of them, NULL-terminated. */
extern const struct api_resource *const api_resources[];

/* Is it of this group ("" = legacy) and kind. */
bool api_resource_is(const struct api_resource *r, const char *group, const char *kind);

/* The one of group ("" = legacy), and kind; NULL if it is not listed. */
const struct api_resource *api_resource_find(const char *group, const char *kind);

/* "v1" or "kubevirt.io/v1". Caller frees. */
char *api_resource_version(const struct api_resource *r);
