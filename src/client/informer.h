/* An informer keeps a local copy of the objects of one kind: it lists, then watches, and goes on doing so through lost
 * connections (back-off with jitter), expired versions (410: lists anew) and repeated or late events.
 *
 * Read your writes. informer_observe() puts the object that a write returned into the cache at once, unless the watch
 * has already passed it. A reconcile that runs after a successful write therefore never sees the world before it, and
 * cannot create the same thing twice; no expectations need to be counted. It relies on resourceVersions being
 * comparable numbers (as our store has them, and Kubernetes since 1.35 promises). A create whose answer was lost is
 * caught by names that follow from their cause (informer's users choose such names), and then AlreadyExists.
 *
 * Values given out are borrowed and valid until the loop turns: keep no pointer beyond the callback. */
#pragma once

#include "base/vec.h"
#include "client/client.h"
#include "client/env.h"
#include "client/object.h"

struct informer;
struct index_values;

VEC_DEFINE(val_vec, yyjson_val *);
static inline void val_vec_donep(struct val_vec *v)
{
    val_vec_done(v);
}
#define _cleanup_val_vec_ _cleanup_(val_vec_donep)

/* Adds the values by which obj is found, through index_value(). */
typedef void (*index_fn)(yyjson_val *obj, struct index_values *out);
void index_value(struct index_values *out, const char *value);

/* An index "owner" over the uids in metadata.ownerReferences is there for all. */
#define INDEX_OWNER "owner"

struct informer_index {
    const char *name; /* NULL ends a table */
    index_fn fn;
};

/* One change: old is NULL for a new object, obj is NULL for one that is gone. Both are the (trimmed) objects. */
typedef void (*informer_fn)(void *userdata, const char *key, yyjson_val *old, yyjson_val *obj);

struct informer_config {
    const struct api_resource *resource;
    const char *ns; /* NULL = all */
    const char *label_selector;
    const char *field_selector;
    /* What to keep besides apiVersion, kind and metadata (without managedFields): JSON pointers, NULL-terminated; NULL
     * keeps all. Memory: objects are kept as text, packed where there are many, and decoded (two to three times that)
     * while they are being read. */
    const char *const *keep;
    const struct informer_index *indexes;
};

/* Starts at once; strings of cfg are copied, tables referenced. */
struct informer *informer_new(struct env *env, const struct informer_config *cfg);
struct informer *informer_free(struct informer *inf);
DEFINE_CLEANUP(struct informer *, informer_free)

/* Handlers are called in order of addition, on each change; for what is already there, as new objects, at once. */
void informer_add_handler(struct informer *inf, informer_fn fn, void *userdata);

/* Adds an index that is not there yet (by name); existing objects are indexed at once. */
void informer_add_index(struct informer *inf, const char *name, index_fn fn);

/* The first list is complete: absence in the cache means absence. */
bool informer_has_synced(const struct informer *inf);

/* The object of "ns/name" (or "name" for kinds without namespaces); NULL if absent. */
yyjson_val *informer_get(const struct informer *inf, const char *key);
yyjson_val *informer_get_ns(const struct informer *inf, const char *ns, const char *name);
size_t informer_len(const struct informer *inf);

/* Iteration as map_next has it: start with *cursor = 0. ret_obj NULL: keys alone, which costs no decoding. */
bool informer_next(const struct informer *inf, size_t *cursor, const char **ret_key, yyjson_val **ret_obj);

/* Calls visit for each object, which is valid during that call only: for many objects, of which none is left decoded.
 */
void informer_each(const struct informer *inf, void (*visit)(void *userdata, const char *key, yyjson_val *obj),
                   void *userdata);

/* Appends all objects with `value` in the index. */
void informer_select(const struct informer *inf, const char *index, const char *value, struct val_vec *ret);

/* Takes over what a write of ours returned (see above): obj, which matches the informer's selectors, is copied.
 * Handlers hear of it as of any change. */
void informer_observe(struct informer *inf, yyjson_val *obj);
/* The same for a delete that was carried out at once (the server answered with a Status, not with the object). */
void informer_observe_deleted(struct informer *inf, const char *key, const char *uid);

/* Since when (monotonic ms) the cache is not kept up to date, 0 while all is well; and why, for logs and health. */
int64_t informer_lost_since(const struct informer *inf);
const char *informer_error(const struct informer *inf);
