/* Empties namespaces that are being deleted, then lets them go (finalizer "kubernetes" in spec.finalizers, taken off
 * through the subresource finalize). Objects go in their own way: with their grace periods and finalizers, so a VM in
 * it is shut down properly. What is left, and why, is in the conditions as in Kubernetes. The caches that this goes by
 * may be behind each other: the server refuses the last step while anything is stored (apiserver/rest_namespace.c), and
 * it is tried again. */
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "controllers/gc.h"
#include "controllers/kubernetes.h"

#define INDEX_NAMESPACE "namespace"
#define LOOK_AGAIN_MS 500
#define ACCESS_MS 1500 /* deletionTimestamp has whole seconds, so this is half a second at least */

static void by_namespace(yyjson_val *obj, struct index_values *out)
{
    index_value(out, json_str(obj, "/metadata/namespace"));
}

static const struct informer_index indexes[] = {{INDEX_NAMESPACE, by_namespace}, {0}};

/* Of a namespace that is going, everything that goes (or comes) in it matters. */
static void map_object(struct keys *out, yyjson_val *old, yyjson_val *obj)
{
    const char *ns = meta_namespace(obj ? obj : old);
    yyjson_val *n = *ns ? informer_get(keys_informer(out, &API_NAMESPACES), ns) : NULL;

    if (n && meta_deleting(n) && (!obj || !old))
        keys_add(out, ns);
}

/* Asks for the deletion of all objects of one kind, if they are to go by now; what is left in words. A user's kind that
 * was not heard of yet may have some. */
static bool empty_kind(struct task *t, const struct api_resource *r, const char *ns, bool go, struct str *left)
{
    _cleanup_val_vec_ struct val_vec v = {0};

    task_select(t, r, INDEX_NAMESPACE, ns, &v);
    if (!task_has_synced(t, r))
        task_requeue(t, LOOK_AGAIN_MS);
    else if (!v.len)
        return true;
    str_printf(left, "%s%s%s%s has %zu resource instances", left->len ? ", " : "", r->plural, *r->group ? "." : "",
               r->group, v.len);
    VEC_EACH(&v, obj)
        if (go && !meta_deleting(*obj))
            task_delete(t, r, *obj, "Background");
    return false;
}

static bool empty_kinds(struct task *t, const char *ns, bool access, bool go, struct str *left)
{
    const struct api_resource *r;
    bool all = true;

    for (size_t at = 0; (r = task_next_resource(t, &at));)
        if (r->namespaced && access == streq(r->group, API_ROLEBINDINGS.group))
            all = empty_kind(t, r, ns, go, left) && all;
    return all;
}

/* Roles and bindings go last, and not before those who have asked for the deletion had the time to begin to wait for
 * it: without their roles they would not hear of its end. */
static bool empty(struct task *t, yyjson_val *namespace, struct str *left)
{
    const char *ns = meta_name(namespace);
    int64_t early = ACCESS_MS - (task_wall_ms(t) - meta_deleted(namespace));
    bool others = empty_kinds(t, ns, false, true, left), all = empty_kinds(t, ns, true, others && early <= 0, left);

    if (others && !all && early > 0)
        task_requeue(t, early);
    return others && all;
}

static void say_what_is_left(struct task *t, yyjson_val *ns, const char *left)
{
    _cleanup_free_ char *message = xasprintf("Some resources are remaining: %s", left);
    yyjson_mut_doc *patch = json_object();

    if (patch_condition(patch, ns, "NamespaceContentRemaining", "True", "SomeResourcesRemain", message,
                        task_wall_ms(t)))
        task_patch(t, &API_NAMESPACES, ns, "status", true, patch);
    else
        yyjson_mut_doc_free(patch);
}

static void reconcile(struct task *t, const char *key)
{
    yyjson_val *ns = task_get(t, &API_NAMESPACES, key);
    _cleanup_str_ struct str left = {0};

    if (!ns || !meta_deleting(ns) || !yyjson_arr_size(json_at(ns, "/spec/finalizers")))
        return;
    if (!empty(t, ns, &left)) {
        say_what_is_left(t, ns, str_text(&left));
        return;
    }
    yyjson_mut_doc *patch = json_object();
    json_set(patch, "/spec/finalizers", yyjson_mut_arr(patch));
    task_delete_all(t, &API_EVENTS, key);
    task_patch(t, &API_NAMESPACES, ns, "finalize", false, patch);
}

const struct controller namespace_controller = {
    .name = "namespace",
    .reconcile = reconcile,
    .watches =
        (const struct controller_watch[]){
            {.resource = &API_NAMESPACES,
             .keep = (const char *const[]){"/spec/finalizers", "/status/conditions", NULL}},
#define X(r) {.resource = &r, .map = map_object, .indexes = indexes, .keep = (const char *const[]){NULL}},
            GC_EACH(X)
#undef X
                {0},
        },
    .custom = &(const struct controller_watch){.map = map_object, .indexes = indexes},
};
