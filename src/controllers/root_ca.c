/* ConfigMap kube-root-ca.crt in every namespace: what to trust of this API server, for whoever looks where Kubernetes
 * has it (there by kube-controller-manager's root-ca-cert-publisher). It follows ConfigMap kube-system/godwit-ca, so
 * during a roll-over of the authority it holds the old one and the new one. */
#include "base/str.h"
#include "controllers/kubernetes.h"

#define NAME "kube-root-ca.crt"
#define KEY "/data/ca.crt"
#define SOURCE_NAMESPACE "kube-system"
#define SOURCE "godwit-ca"
#define SOURCE_KEY "/data/cluster-ca.crt"
#define DESCRIPTION_ANNOTATION "kubernetes.io/description"
#define DESCRIPTION "Certificates of the authority that the API server's own certificate is to be verified with."

static yyjson_mut_doc *wanted(const char *bundle)
{
    _cleanup_free_ char *description = json_path("/metadata/annotations", DESCRIPTION_ANNOTATION);
    yyjson_mut_doc *d = json_object();

    json_set_str(d, description, DESCRIPTION);
    json_set_str(d, KEY, bundle);
    return d;
}

static bool is_right(yyjson_val *map, const char *bundle)
{
    return streq(json_str_or(map, KEY, ""), bundle) && meta_annotation(map, DESCRIPTION_ANNOTATION);
}

static void reconcile(struct task *t, const char *key)
{
    yyjson_val *ns = task_get(t, &API_NAMESPACES, key), *map = task_get_ns(t, &API_CONFIGMAPS, key, NAME);
    const char *bundle = json_str(task_get_ns(t, &API_CONFIGMAPS, SOURCE_NAMESPACE, SOURCE), SOURCE_KEY);

    if (!ns || meta_deleting(ns) || !bundle || (map && (meta_deleting(map) || is_right(map, bundle))))
        return;
    yyjson_mut_doc *d = wanted(bundle);
    if (map) {
        task_patch(t, &API_CONFIGMAPS, map, NULL, false, d);
    } else {
        json_set_str(d, "/metadata/name", NAME);
        task_create(t, &API_CONFIGMAPS, key, d);
    }
}

static void map_config_map(struct keys *out, yyjson_val *old, yyjson_val *obj)
{
    yyjson_val *map = obj ? obj : old;

    if (streq(meta_name(map), NAME))
        keys_add(out, meta_namespace(map));
    else if (streq(meta_name(map), SOURCE) && streq(meta_namespace(map), SOURCE_NAMESPACE))
        keys_add_all(out, &API_NAMESPACES);
}

const struct controller root_ca_controller = {
    .name = "root-ca",
    .reconcile = reconcile,
    .watches =
        (const struct controller_watch[]){
            {.resource = &API_NAMESPACES, .keep = (const char *const[]){NULL}},
            {.resource = &API_CONFIGMAPS, .map = map_config_map, .keep = (const char *const[]){KEY, SOURCE_KEY, NULL}},
            {0},
        },
};
