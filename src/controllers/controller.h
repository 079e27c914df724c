/* The frame for controllers.
 *
 * A controller is a const descriptor: a name, a table of what it watches, and one function reconcile(task, key), which
 * looks at the caches and says what to write. It is level-triggered: reconcile reads the present state only, may be
 * called at any time and any number of times for a key, and never remembers events. The frame does the rest:
 *
 *   - Reads come from informers that all controllers of a `struct controllers` share.
 *   - Writes are queued by task_create, task_patch... while reconcile runs and performed in order afterwards, each one
 * only after the one before it succeeded. What a write returned is in the cache before the key is reconciled again
 *     (informer.h, "read your writes"), so nothing is created twice.
 *   - A key is never reconciled while its writes are under way. If a write fails the rest are dropped and the key is
 *     reconciled again with back-off; task_error() then tells reconcile what went wrong, for a condition or an event.
 *     Conflict and AlreadyExists are ordinary: the object is read anew and the key reconciled again, unlogged. NotFound
 * on delete is success.
 *   - A key is also reconciled when any watched object that maps to it changes, and after task_requeue().
 *
 * So a controller has no callbacks, no locks and no error paths of its own; and because clock, randomness and API sit
 * behind `struct env`, simulations run it unchanged. Rules: give created objects names that follow from their cause
 * (the answer to a create may be lost); put a precondition on writes that depend on what was read (patch with
 * resourceVersion); do not keep borrowed values beyond reconcile.
 *
 * Example (complete):
 *
 *   static void reconcile(struct task *t, const char *key)
 *   {
 *       yyjson_val *vmi = task_get(t, &API_VIRTUALMACHINEINSTANCES, key);
 *       if (!vmi)
 *           return;
 *       _cleanup_val_vec_ struct val_vec pods = {0};
 *       task_select(t, &API_PODS, INDEX_OWNER, json_str(vmi, "/metadata/uid"), &pods);
 *       if (!pods.len)
 *           task_create(t, &API_PODS, json_str(vmi, "/metadata/namespace"), launcher_pod(vmi));
 *   }
 *   const struct controller vmi_controller = {
 *       .name = "vmi",
 *       .reconcile = reconcile,
 *       .watches = (const struct controller_watch[]){
 *           {.resource = &API_VIRTUALMACHINEINSTANCES},
 *           {.resource = &API_PODS, .owner_kind = "VirtualMachineInstance"},
 *           {0}},
 *   };
 */
#pragma once

#include "api/meta.h"
#include "client/client.h"
#include "client/env.h"
#include "client/events.h"
#include "client/informer.h"

struct task;
struct controllers;
struct keys;

/* The keys to reconcile when an object changes: old is NULL for a new one, obj NULL for one that is gone. Says them
 * with keys_add; may look around with keys_informer. Conversions from label to key and the like go here. */
typedef void (*map_fn)(struct keys *out, yyjson_val *old, yyjson_val *obj);
void keys_add(struct keys *out, const char *key);
void keys_add_ns(struct keys *out, const char *ns, const char *name);
/* All keys of a kind's cache: for changes that may concern everybody. */
void keys_add_all(struct keys *out, const struct api_resource *r);
struct informer *keys_informer(struct keys *out, const struct api_resource *r);
/* Iteration over the kinds that the controller watches, users' own among them: begin with *at = 0, NULL ends it. */
const struct api_resource *keys_next_resource(struct keys *out, size_t *at);
/* One of them by group ("" = legacy) and kind; NULL if it is not known. The resource stays valid; when the definition
 * of a user's kind has gone, it reads as empty. */
const struct api_resource *keys_resource(struct keys *out, const char *group, const char *kind);
void *keys_state(struct keys *out); /* what the controller's start returned */

struct controller_watch {
    const struct api_resource *resource; /* NULL ends the table */
    const char *owner_kind;              /* map to the owner (ownerReference with controller: true) of this kind */
    map_fn map;                          /* or by a function; neither: the object's own key */
    bool silent;                         /* only to be read: changes reconcile nothing */
    const struct informer_index *indexes;
    const char *const *keep; /* the fields that reconcile reads (informer.h); caches are shared: they keep the union */
};

struct controller {
    const char *name; /* "scheduler": work queue, logs; events come from "godwit-NAME" */
    const struct controller_watch *watches;
    /* How the kinds of CustomResourceDefinitions are watched, each as if it stood in the table above; its resource is
     * NULL. NULL: they are not. */
    const struct controller_watch *custom;
    void (*reconcile)(struct task *t, const char *key);
    unsigned parallel; /* keys at a time, 0 = 8 */
    const void
        *options; /* of the controller's own kind; servers run a copy of the descriptor with theirs. NULL: defaults */
    /* Optional state of the running controller, for what the API does not hold (a heap of times, say): returned by
     * start, given to reconcile by task_state, freed by stop. */
    void *(*start)(struct env *env);
    void (*stop)(void *state);
};

/* --- inside reconcile --- */

struct env *task_env(struct task *t);
void *task_state(struct task *t);
const void *task_options(struct task *t);
int64_t task_now_ms(struct task *t); /* monotonic */
int64_t task_wall_ms(struct task *t);
struct informer *task_informer(struct task *t, const struct api_resource *r); /* NULL: a user's kind that is gone */
/* As for keys. Reading a kind that is not watched aborts. */
const struct api_resource *task_next_resource(struct task *t, size_t *at);
const struct api_resource *task_resource(struct task *t, const char *group, const char *kind);
/* Absence in the cache means absence. Always true when reconcile runs, but for users' own kinds. */
bool task_has_synced(struct task *t, const struct api_resource *r);
yyjson_val *task_get(struct task *t, const struct api_resource *r, const char *key);
yyjson_val *task_get_ns(struct task *t, const struct api_resource *r, const char *ns, const char *name);
void task_select(struct task *t, const struct api_resource *r, const char *index, const char *value,
                 struct val_vec *ret);

/* Writes; the document is taken over (freed by the frame). ns NULL for kinds without namespaces. */
void task_create(struct task *t, const struct api_resource *r, const char *ns, yyjson_mut_doc *obj);
/* POST to a subresource, such as pods' binding; the object is read again afterwards. */
void task_create_sub(struct task *t, const struct api_resource *r, const char *ns, const char *name, const char *sub,
                     yyjson_mut_doc *obj);
/* A merge patch; sub NULL, "status" or another subresource. obj is what was read: its uid goes along, so that a
 * successor of the same name is left alone; with precondition its resourceVersion too, so that the patch fails with
 * Conflict if anybody else changed the object since (needed for lists, which a merge patch replaces as a whole). */
void task_patch(struct task *t, const struct api_resource *r, yyjson_val *obj, const char *sub, bool precondition,
                yyjson_mut_doc *patch);
/* A JSON patch (RFC 6902), for lists. The document is an array. */
void task_json_patch(struct task *t, const struct api_resource *r, yyjson_val *obj, const char *sub,
                     yyjson_mut_doc *patch);
/* Patches of metadata.finalizers; removing does nothing if it is not there. */
void task_add_finalizer(struct task *t, const struct api_resource *r, yyjson_val *obj, const char *finalizer);
void task_remove_finalizer(struct task *t, const struct api_resource *r, yyjson_val *obj, const char *finalizer);
/* Deletes obj if it is still the one with this uid. propagation as in api_delete. */
void task_delete(struct task *t, const struct api_resource *r, yyjson_val *obj, const char *propagation);
/* The same without waiting for anybody (gracePeriodSeconds 0): for pods that are known to run no more. */
void task_delete_now(struct task *t, const struct api_resource *r, yyjson_val *obj);
/* Deletes all objects of a kind in a namespace (deletecollection). */
void task_delete_all(struct task *t, const struct api_resource *r, const char *ns);
/* The writes after this one are made only if the server says now that there is no object of that name with that uid.
 * Caches fill independently, so an owner may be missing in one although it is there. If it is, it comes into the cache,
 * the other writes are dropped and the key is reconciled again. */
void task_require_absent(struct task *t, const struct api_resource *r, const char *ns, const char *name,
                         const char *uid);
/* An event; told after the writes that were queued before it have succeeded. */
void task_event(struct task *t, yyjson_val *obj, const char *type, const char *reason, const char *fmt, ...)
    _printf_(5, 6);

/* Reconcile this key again after delay_ms (an earlier change does so earlier). */
void task_requeue(struct task *t, int64_t delay_ms);

/* Reconcile another key of this controller too: for what is known here and not seen in any object. */
void task_wake(struct task *t, const char *key);

/* How the key's previous run failed (its first failed write); NULL if it went well. Valid during reconcile. */
const struct gw_error *task_error(struct task *t);
unsigned task_failures(struct task *t);

/* --- running --- */

/* Runs the controllers of a NULL-terminated table on env's loop. Reconciling begins when all caches are filled. */
struct controllers *controllers_start(struct env *env, const struct controller *const *table);
struct controllers *controllers_stop(struct controllers *cs);
bool controllers_synced(const struct controllers *cs);
/* Nothing queued, nothing under way (delayed keys do not count): for tests. */
bool controllers_idle(const struct controllers *cs);

/* The same in a thread of its own with its own loop, behind leader election on Lease kube-system/NAME where lease_name
 * is not NULL (only the leader runs them). connect makes their client, on that loop. For `godwit server`. */
struct controllers_thread;
typedef int controllers_connect_fn(void *data, sd_event *loop, struct api_client **ret, struct gw_error *err);
int controllers_run(controllers_connect_fn *connect, void *data, const char *lease_name,
                    const struct controller *const *table, struct controllers_thread **ret, struct gw_error *err);
/* Stops the loop, joins the thread, frees. */
struct controllers_thread *controllers_join(struct controllers_thread *thread);

/* --- helpers for objects --- */

/* A suffix of 5 characters that follows from its cause: same seed, same suffix ("virt-launcher-vm1-" + suffix). buf
 * holds 6; returns buf. */
char *name_suffix(const char *seed, char *buf);

/* Puts "/status/conditions" into a merge patch: obj's conditions with one replaced or added (api/meta.h,
 * condition_set). May be called for several types. false if obj has it exactly so already. Send it with precondition.
 */
bool patch_condition(yyjson_mut_doc *patch, yyjson_val *obj, const char *type, const char *status, const char *reason,
                     const char *message, int64_t wall_ms);
