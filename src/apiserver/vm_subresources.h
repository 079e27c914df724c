/* The subresources of subresources.kubevirt.io that need no access to the guest: starting and stopping, migrating,
 * cancelling an evacuation, adding and removing volumes, expanding a spec; and the group's version and healthz.
 * Answers, codes and texts are KubeVirt's. */
#pragma once

#include "apiserver/rest.h"

/* For struct rest_server's extras; the second are those that Godwit does not have, each with the reason. */
extern const struct rest_extra vm_extras[], vm_refused_extras[];

/* A request on its way. */
struct vm_call {
    struct rest_server *server;
    const struct api_request *request;
    const struct rest_target *target;
    yyjson_doc *options;  /* the body; NULL: there is none */
    yyjson_doc *vm, *vmi; /* what vm_read() found */
    bool dry_run;
    struct api_response *response;
    const char *about; /* the resource that a refusal names: "virtualmachine" unless it is said otherwise */
};

/* One of them: 0, or negative with err filled; -ESTALE has it done again from the start. */
typedef int vm_act_fn(struct vm_call *c, struct gw_error *err);

/* vm_lifecycle.c, vm_migration.c, vm_volumes.c */
vm_act_fn vm_start, vm_stop, vm_restart, vm_migrate, vm_cancel_evacuation, vm_add_volume, vm_remove_volume;

/* --- for the acts --- */

/* The VirtualMachine of the target's name, or NotFound; and its VirtualMachineInstance, which may be absent (then
 * c->vmi stays NULL) unless required. */
int vm_read(struct vm_call *c, struct gw_error *err);
int vm_read_instance(struct vm_call *c, bool required, struct gw_error *err);

static inline yyjson_val *vm_of(const struct vm_call *c)
{
    return yyjson_doc_get_root(c->vm);
}

static inline yyjson_val *vmi_of(const struct vm_call *c)
{
    return yyjson_doc_get_root(c->vmi);
}

static inline yyjson_val *options_of(const struct vm_call *c)
{
    return yyjson_doc_get_root(c->options);
}

/* 'Operation cannot be fulfilled on virtualmachine.kubevirt.io "vm1": ...'. -ECANCELED. */
int vm_conflict(struct vm_call *c, struct gw_error *err, const char *fmt, ...) _printf_(3, 4);
/* "Internal error occurred: ...", which is how KubeVirt passes on the refusals of others. -EIO. */
int vm_internal(struct gw_error *err, const char *fmt, ...) _printf_(2, 3);

/* The kind of that name; and what a target's query must be for the request's dry run. */
const struct kind *vm_kind(const struct vm_call *c, const char *group, const char *kind);
const char *vm_query(const struct vm_call *c);

/* A merge patch of the object that was read, as long as nobody changed it since (else -ESTALE). sub: NULL or "status".
 * What the object's rules refuse (Invalid) is passed on as it is, other refusals as vm_internal has them. */
int vm_patch(struct vm_call *c, yyjson_val *object, const char *sub, yyjson_mut_doc *patch, struct gw_error *err);
