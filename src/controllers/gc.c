/* Deletes what has lost its owners, and carries out foreground and orphaning deletion, as Kubernetes' garbage collector
 * does.
 *
 * An object is looked at when it comes, when its references change, when an owner goes, and when it is being deleted:
 *
 *   - All owners gone: it is deleted. Some gone: their references are removed.
 *   - Its deletion waits with finalizer foregroundDeletion: its dependents are deleted; when those that block it
 *     (blockOwnerDeletion) are gone the finalizer is removed. A dependent with another owner loses the reference only.
 *   - Its deletion waits with finalizer orphan: references to it are removed from its dependents, then the finalizer.
 *
 * That an owner is gone is asked of the server before anything is deleted, because the caches of two kinds fill
 * independently of each other. Owners of unknown kinds are taken to be there. Kinds that users define are collected
 * like all others. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "controllers/gc.h"
#include "controllers/kubernetes.h"

#define FINALIZER_FOREGROUND "foregroundDeletion"
#define FINALIZER_ORPHAN "orphan"

/* --- keys: "KIND.GROUP:NS/NAME" --- */

static char *group_of(yyjson_val *v)
{
    const char *version = json_str_or(v, "/apiVersion", ""), *slash = strchr(version, '/');

    return slash ? xstrndup(version, (size_t)(slash - version)) : xstrdup("");
}

/* What an object, or a reference, names by apiVersion and kind. */
static const struct api_resource *resource_of(struct task *t, yyjson_val *v)
{
    _cleanup_free_ char *group = group_of(v);

    return task_resource(t, group, json_str_or(v, "/kind", ""));
}

static const struct api_resource *resource_for(struct keys *out, yyjson_val *v)
{
    _cleanup_free_ char *group = group_of(v);

    return keys_resource(out, group, json_str_or(v, "/kind", ""));
}

static void add_key(struct keys *out, const struct api_resource *r, const char *ns, const char *name)
{
    char object[OBJECT_KEY_MAX];
    _cleanup_free_ char *key = NULL;

    if (!r)
        return;
    key = xasprintf("%s.%s:%s", r->kind, r->group, object_key_of(r->namespaced ? ns : NULL, name, object));
    keys_add(out, key);
}

static void add_object(struct keys *out, yyjson_val *obj)
{
    add_key(out, resource_for(out, obj), meta_namespace(obj), meta_name(obj));
}

/* The object of a key; *ret_key points behind the prefix. */
static const struct api_resource *split_key(struct task *t, const char *key, const char **ret_key)
{
    const char *colon = strchr(key, ':'), *dot = strchr(key, '.');
    _cleanup_free_ char *kind = xstrndup(key, (size_t)(dot - key));
    _cleanup_free_ char *group = xstrndup(dot + 1, (size_t)(colon - dot - 1));

    *ret_key = colon + 1;
    return task_resource(t, group, kind);
}

/* --- from changes to keys --- */

static bool waits_with(yyjson_val *obj, const char *finalizer)
{
    return obj && meta_deleting(obj) && meta_has_finalizer(obj, finalizer);
}

static void add_dependents(struct keys *out, const char *uid)
{
    const struct api_resource *r;

    for (size_t at = 0; (r = keys_next_resource(out, &at));) {
        _cleanup_val_vec_ struct val_vec v = {0};
        informer_select(keys_informer(out, r), INDEX_OWNER, uid, &v);
        VEC_EACH(&v, obj)
            add_object(out, *obj);
    }
}

static void add_owners(struct keys *out, yyjson_val *obj)
{
    yyjson_val *ref;

    json_each(json_at(obj, "/metadata/ownerReferences"), ref)
        add_key(out, resource_for(out, ref), meta_namespace(obj), json_str_or(ref, "/name", ""));
}

static bool references_changed(yyjson_val *old, yyjson_val *obj)
{
    yyjson_val *refs = json_at(obj, "/metadata/ownerReferences");

    return yyjson_arr_size(refs) && (!old || !json_equal(refs, json_at(old, "/metadata/ownerReferences")));
}

static void map(struct keys *out, yyjson_val *old, yyjson_val *obj)
{
    if (!obj) {
        add_dependents(out, meta_uid(old));
        add_owners(out, old);
        return;
    }
    if (references_changed(old, obj) || waits_with(obj, FINALIZER_FOREGROUND) || waits_with(obj, FINALIZER_ORPHAN))
        add_object(out, obj);
    if (old && !json_equal(json_at(old, "/metadata/ownerReferences"), json_at(obj, "/metadata/ownerReferences")))
        add_owners(out, old); /* one of them may have waited for it */
    if (!old || !waits_with(obj, FINALIZER_FOREGROUND) || waits_with(old, FINALIZER_FOREGROUND))
        return;
    add_dependents(out, meta_uid(obj));
}

/* --- an object and its owners --- */

enum owner_state { OWNER_THERE, OWNER_GONE, OWNER_WAITS };

static enum owner_state owner_state(struct task *t, yyjson_val *obj, yyjson_val *ref)
{
    const struct api_resource *r = resource_of(t, ref);
    yyjson_val *owner;

    if (!r)
        return OWNER_THERE;
    owner = task_get_ns(t, r, r->namespaced ? meta_namespace(obj) : NULL, json_str_or(ref, "/name", ""));
    if (!owner || !streq(meta_uid(owner), json_str_or(ref, "/uid", "")))
        return OWNER_GONE;
    return waits_with(owner, FINALIZER_FOREGROUND) ? OWNER_WAITS : OWNER_THERE;
}

static void require_gone(struct task *t, yyjson_val *obj, yyjson_val *ref)
{
    const struct api_resource *r = resource_of(t, ref);

    task_require_absent(t, r, r->namespaced ? meta_namespace(obj) : NULL, json_str_or(ref, "/name", ""),
                        json_str_or(ref, "/uid", ""));
}

/* Keeps only the references to owners that are there. */
static void drop_references(struct task *t, const struct api_resource *r, yyjson_val *obj)
{
    yyjson_mut_doc *patch = json_object();
    yyjson_mut_val *kept = yyjson_mut_arr(patch);
    yyjson_val *ref;

    json_each(json_at(obj, "/metadata/ownerReferences"), ref)
        if (owner_state(t, obj, ref) == OWNER_THERE)
            yyjson_mut_arr_append(kept, yyjson_val_mut_copy(patch, ref));
    json_set(patch, "/metadata/ownerReferences", kept);
    task_patch(t, r, obj, NULL, true, patch);
}

static void collect_dependents(struct task *t, const char *uid, struct val_vec *ret)
{
    const struct api_resource *r;

    for (size_t at = 0; (r = task_next_resource(t, &at));)
        task_select(t, r, INDEX_OWNER, uid, ret);
}

static bool blocks(yyjson_val *obj, const char *owner_uid)
{
    return json_bool(json_find(json_at(obj, "/metadata/ownerReferences"), "/uid", owner_uid), "/blockOwnerDeletion",
                     false);
}

static bool has_blocking_dependents(struct task *t, yyjson_val *obj)
{
    _cleanup_val_vec_ struct val_vec v = {0};

    collect_dependents(t, meta_uid(obj), &v);
    VEC_EACH(&v, d)
        if (blocks(*d, meta_uid(obj)))
            return true;
    return false;
}

static void check_owners(struct task *t, const struct api_resource *r, yyjson_val *obj)
{
    size_t count[3] = {0};
    yyjson_val *ref;

    json_each(json_at(obj, "/metadata/ownerReferences"), ref)
        count[owner_state(t, obj, ref)]++;
    if (!count[OWNER_GONE] && !count[OWNER_WAITS])
        return;
    json_each(json_at(obj, "/metadata/ownerReferences"), ref)
        if (owner_state(t, obj, ref) == OWNER_GONE)
            require_gone(t, obj, ref);
    if (count[OWNER_THERE]) {
        drop_references(t, r, obj);
        return;
    }
    /* In the foreground if its owner waits, so that the owner goes last even over several generations. */
    bool foreground = count[OWNER_WAITS] && has_blocking_dependents(t, obj);
    if (!meta_deleting(obj))
        task_delete(t, r, obj, foreground ? "Foreground" : "Background");
}

/* --- an object and its dependents --- */

/* The dependents have keys of their own and see that their owner waits. */
static void finish_foreground(struct task *t, const struct api_resource *r, yyjson_val *obj)
{
    if (!has_blocking_dependents(t, obj))
        task_remove_finalizer(t, r, obj, FINALIZER_FOREGROUND);
}

static void orphan(struct task *t, yyjson_val *dependent, const char *owner_uid)
{
    yyjson_mut_doc *patch = json_object();
    yyjson_mut_val *kept = yyjson_mut_arr(patch);
    yyjson_val *ref;

    json_each(json_at(dependent, "/metadata/ownerReferences"), ref)
        if (!streq(json_str_or(ref, "/uid", ""), owner_uid))
            yyjson_mut_arr_append(kept, yyjson_val_mut_copy(patch, ref));
    json_set(patch, "/metadata/ownerReferences", kept);
    task_patch(t, resource_of(t, dependent), dependent, NULL, true, patch);
}

static void finish_orphaning(struct task *t, const struct api_resource *r, yyjson_val *obj)
{
    _cleanup_val_vec_ struct val_vec v = {0};

    collect_dependents(t, meta_uid(obj), &v);
    VEC_EACH(&v, d)
        orphan(t, *d, meta_uid(obj));
    task_remove_finalizer(t, r, obj, FINALIZER_ORPHAN);
}

static void reconcile(struct task *t, const char *key)
{
    const char *object;
    const struct api_resource *r = split_key(t, key, &object);
    yyjson_val *obj = r ? task_get(t, r, object) : NULL;

    if (!obj)
        return;
    if (waits_with(obj, FINALIZER_ORPHAN))
        finish_orphaning(t, r, obj);
    else if (waits_with(obj, FINALIZER_FOREGROUND))
        finish_foreground(t, r, obj);
    check_owners(t, r, obj);
}

const struct controller gc_controller = {
    .name = "garbage-collector",
    .reconcile = reconcile,
    .watches =
        (const struct controller_watch[]){
#define X(r) {.resource = &r, .map = map, .keep = (const char *const[]){NULL}},
            GC_EACH(X)
#undef X
                {0},
        },
    .custom = &(const struct controller_watch){.map = map},
};
