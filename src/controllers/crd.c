/* CustomResourceDefinitions take their objects along: while one is being deleted its objects are, in their own way, and
 * the definition stays (finalizer customresourcecleanup) until the last of them has gone, with finalizers of their own.
 */
#include "base/alloc.h"
#include "controllers/kubernetes.h"

#define FINALIZER "customresourcecleanup.apiextensions.k8s.io"
#define LOOK_AGAIN_MS 500

static const struct api_resource *kind_of(struct task *t, yyjson_val *crd)
{
    const struct api_resource *r =
        task_resource(t, json_str_or(crd, "/spec/group", ""), json_str_or(crd, "/spec/names/kind", ""));

    /* Another definition may have taken the kind: its objects are not meant. */
    return r && streq(r->plural, json_str_or(crd, "/spec/names/plural", "")) ? r : NULL;
}

static void say(struct task *t, yyjson_val *crd, const char *status, const char *reason, const char *message)
{
    yyjson_mut_doc *patch = json_object();

    if (patch_condition(patch, crd, "Terminating", status, reason, message, task_wall_ms(t)))
        task_patch(t, &API_CRDS, crd, "status", true, patch);
    else
        yyjson_mut_doc_free(patch);
}

/* Asks for the deletion of all objects; how many there are. */
static size_t remove_objects(struct task *t, const struct api_resource *r)
{
    struct informer *inf = r ? task_informer(t, r) : NULL;
    yyjson_val *obj;

    for (size_t at = 0; inf && informer_next(inf, &at, NULL, &obj);)
        if (!meta_deleting(obj))
            task_delete(t, r, obj, "Background");
    return inf ? informer_len(inf) : 0;
}

static void end(struct task *t, yyjson_val *crd)
{
    const struct api_resource *r = kind_of(t, crd);
    size_t left = remove_objects(t, r);
    _cleanup_free_ char *text =
        xasprintf("CustomResource deletion is in progress: %zu %s left", left, left == 1 ? "object is" : "objects are");

    if (r && !task_has_synced(t, r)) {
        task_requeue(t, LOOK_AGAIN_MS);
        return;
    }
    if (left)
        say(t, crd, "True", "InstanceDeletionInProgress", text);
    else
        task_remove_finalizer(t, &API_CRDS, crd, FINALIZER);
}

static void reconcile(struct task *t, const char *key)
{
    yyjson_val *crd = task_get(t, &API_CRDS, key);

    if (crd && meta_deleting(crd) && meta_has_finalizer(crd, FINALIZER))
        end(t, crd);
    else if (crd && !meta_deleting(crd) && !meta_has_finalizer(crd, FINALIZER))
        task_add_finalizer(t, &API_CRDS, crd, FINALIZER);
}

/* An object that goes may have been the last one. */
static void map_object(struct keys *out, yyjson_val *old, yyjson_val *obj)
{
    const char *version = json_str_or(old, "/apiVersion", ""), *kind = json_str_or(old, "/kind", "");
    _cleanup_free_ char *group = xstrndup(version, strcspn(version, "/"));
    const struct api_resource *r = obj ? NULL : keys_resource(out, group, kind);
    _cleanup_free_ char *name = r ? xasprintf("%s.%s", r->plural, r->group) : NULL;

    keys_add(out, name);
}

const struct controller crd_controller = {
    .name = "customresourcedefinition",
    .reconcile = reconcile,
    .watches =
        (const struct controller_watch[]){
            {.resource = &API_CRDS,
             .keep = (const char *const[]){"/spec/group", "/spec/names", "/status/conditions", NULL}},
            {0},
        },
    .custom = &(const struct controller_watch){.map = map_object},
};
