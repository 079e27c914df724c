/* The garbage collector's watches and keys; namespace.c shares the watches. */
#pragma once

#include "controllers/controller.h"

/* All kinds but Event, of which there are many and which own nothing. */
#define GC_EACH(X) \
    X(API_NAMESPACES) \
    X(API_NODES) \
    X(API_PODS) \
    X(API_SECRETS) \
    X(API_CONFIGMAPS) \
    X(API_SERVICEACCOUNTS) \
    X(API_PERSISTENTVOLUMES) \
    X(API_PERSISTENTVOLUMECLAIMS) \
    X(API_STORAGECLASSES) \
    X(API_LEASES) \
    X(API_CSRS) \
    X(API_CRDS) \
    X(API_VIRTUALMACHINES) \
    X(API_VIRTUALMACHINEINSTANCES) \
    X(API_MIGRATIONS) \
    X(API_KUBEVIRTS) \
    X(API_HYPERCONVERGEDS) \
    X(API_MIGRATIONPOLICIES) \
    X(API_ROLES) \
    X(API_ROLEBINDINGS) \
    X(API_NODENETWORKS)
