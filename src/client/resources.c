#include "client/resources.h"

#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

#define RESOURCE(id, group_, version_, plural_, kind_, namespaced_) \
    const struct api_resource id = {group_, version_, plural_, kind_, namespaced_};
#define CORE(id, plural_, kind_, namespaced_) RESOURCE(id, "", "v1", plural_, kind_, namespaced_)

CORE(API_NAMESPACES, "namespaces", "Namespace", false)
CORE(API_NODES, "nodes", "Node", false)
CORE(API_PODS, "pods", "Pod", true)
CORE(API_EVENTS, "events", "Event", true)
CORE(API_SECRETS, "secrets", "Secret", true)
CORE(API_CONFIGMAPS, "configmaps", "ConfigMap", true)
CORE(API_SERVICEACCOUNTS, "serviceaccounts", "ServiceAccount", true)
CORE(API_PERSISTENTVOLUMES, "persistentvolumes", "PersistentVolume", false)
CORE(API_PERSISTENTVOLUMECLAIMS, "persistentvolumeclaims", "PersistentVolumeClaim", true)
RESOURCE(API_STORAGECLASSES, "storage.k8s.io", "v1", "storageclasses", "StorageClass", false)
RESOURCE(API_LEASES, "coordination.k8s.io", "v1", "leases", "Lease", true)
RESOURCE(API_CSRS, "certificates.k8s.io", "v1", "certificatesigningrequests", "CertificateSigningRequest", false)
RESOURCE(API_CRDS, "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false)
RESOURCE(API_VIRTUALMACHINES, "kubevirt.io", "v1", "virtualmachines", "VirtualMachine", true)
RESOURCE(API_VIRTUALMACHINEINSTANCES, "kubevirt.io", "v1", "virtualmachineinstances", "VirtualMachineInstance", true)
RESOURCE(API_MIGRATIONS, "kubevirt.io", "v1", "virtualmachineinstancemigrations", "VirtualMachineInstanceMigration",
         true)
RESOURCE(API_KUBEVIRTS, "kubevirt.io", "v1", "kubevirts", "KubeVirt", true)
RESOURCE(API_HYPERCONVERGEDS, "hco.kubevirt.io", "v1beta1", "hyperconvergeds", "HyperConverged", true)
RESOURCE(API_MIGRATIONPOLICIES, "migrations.kubevirt.io", "v1alpha1", "migrationpolicies", "MigrationPolicy", false)
RESOURCE(API_ROLES, "rbac.authorization.k8s.io", "v1", "roles", "Role", true)
RESOURCE(API_ROLEBINDINGS, "rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", true)
RESOURCE(API_NODENETWORKS, "godwit.io", "v1alpha1", "nodenetworks", "NodeNetwork", false)

const struct api_resource *const api_resources[] = {
    &API_NAMESPACES,
    &API_NODES,
    &API_PODS,
    &API_EVENTS,
    &API_SECRETS,
    &API_CONFIGMAPS,
    &API_SERVICEACCOUNTS,
    &API_PERSISTENTVOLUMES,
    &API_PERSISTENTVOLUMECLAIMS,
    &API_STORAGECLASSES,
    &API_LEASES,
    &API_CSRS,
    &API_CRDS,
    &API_VIRTUALMACHINES,
    &API_VIRTUALMACHINEINSTANCES,
    &API_MIGRATIONS,
    &API_KUBEVIRTS,
    &API_HYPERCONVERGEDS,
    &API_MIGRATIONPOLICIES,
    &API_ROLES,
    &API_ROLEBINDINGS,
    &API_NODENETWORKS,
    NULL,
};

bool api_resource_is(const struct api_resource *r, const char *group, const char *kind)
{
    return streq(r->group, group) && streq(r->kind, kind);
}

const struct api_resource *api_resource_find(const char *group, const char *kind)
{
    for (const struct api_resource *const *r = api_resources; *r; r++)
        if (api_resource_is(*r, group, kind))
            return *r;
    return NULL;
}

char *api_resource_version(const struct api_resource *r)
{
    return *r->group ? xasprintf("%s/%s", r->group, r->version) : xstrdup(r->version);
}
