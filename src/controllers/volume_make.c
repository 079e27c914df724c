/* Makes volumes for the classes that Godwit provides.
 *
 * The classes (kinds/initial): godwit.io/shared-directory makes a directory that all nodes see;
 * godwit.io/node-directory one on a node, once the scheduler has chosen it. Agents make the directory when they first
 * use it, under the folder that they were given for the class and by the volume's name, and remove it when its volume
 * is gone. */
#include <string.h>

#include "api/volumes.h"
#include "base/alloc.h"
#include "base/str.h"
#include "controllers/claims.h"
#include "controllers/kubernetes.h"
#include "controllers/volume.h"

#define HOSTNAME "kubernetes.io/hostname"

static const struct provisioner {
    const char *name;
    const char *annotation; /* of nodes: their folder for this class */
    const char *root;       /* where no node tells */
    bool local;
} provisioners[] = {
    {PROVISIONER_SHARED, ANNOTATION_SHARED_DIR, "/var/lib/godwit/shared", false},
    {PROVISIONER_LOCAL, ANNOTATION_LOCAL_DIR, "/var/lib/godwit/local", true},
};

static const struct provisioner *provisioner_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(provisioners); i++)
        if (streq(provisioners[i].name, name))
            return &provisioners[i];
    return NULL;
}

bool volume_is_made_here(yyjson_val *volume)
{
    return provisioner_find(meta_annotation(volume, ANNOTATION_PROVISIONED_BY) ?: "") != NULL;
}

void volume_set_claim(yyjson_mut_doc *d, yyjson_val *claim)
{
    json_set_str(d, "/spec/claimRef/apiVersion", "v1");
    json_set_str(d, "/spec/claimRef/kind", "PersistentVolumeClaim");
    json_set_str(d, "/spec/claimRef/namespace", meta_namespace(claim));
    json_set_str(d, "/spec/claimRef/name", meta_name(claim));
    json_set_str(d, "/spec/claimRef/uid", meta_uid(claim));
}

static void set_affinity(yyjson_mut_doc *d, yyjson_val *node)
{
    static const char text[] =
        "[{\"matchExpressions\":[{\"key\":\"" HOSTNAME "\",\"operator\":\"In\",\"values\":[]}]}]";
    _cleanup_doc_ yyjson_doc *terms = yyjson_read(text, strlen(text), 0);
    const char *host = meta_label(node, HOSTNAME);

    json_set(d, "/spec/nodeAffinity/required/nodeSelectorTerms", yyjson_val_mut_copy(d, yyjson_doc_get_root(terms)));
    yyjson_mut_arr_add_strcpy(
        d, json_mut_at(d, "/spec/nodeAffinity/required/nodeSelectorTerms/0/matchExpressions/0/values"),
        host ? host : meta_name(node));
}

/* Why the class cannot make it, NULL if it can. */
static const char *refusal(const struct provisioner *p, yyjson_val *claim)
{
    yyjson_val *modes = json_at(claim, "/spec/accessModes");

    if (streq(json_str_or(claim, "/spec/volumeMode", "Filesystem"), "Block"))
        return "this class makes directories: volumeMode Block is not possible";
    if (p->local && (json_find(modes, "", "ReadWriteMany") || json_find(modes, "", "ReadOnlyMany")))
        return "this class makes volumes of one node: use ReadWriteOnce here, or a class of shared volumes";
    return NULL;
}

/* What the node says, or for shared ones any node: it is the path that people look for. */
static const char *root_of(struct task *t, const struct provisioner *p, yyjson_val *node)
{
    const char *root = NULL;

    if (p->local)
        return meta_annotation(node, p->annotation) ?: p->root;
    for (size_t at = 0; !root && informer_next(task_informer(t, &API_NODES), &at, NULL, &node);)
        root = meta_annotation(node, p->annotation);
    return root ? root : p->root;
}

static void provision(struct task *t, yyjson_val *claim, yyjson_val *class, const struct provisioner *p,
                      yyjson_val *node)
{
    _cleanup_free_ char *name = xasprintf("pvc-%s", meta_uid(claim));
    _cleanup_free_ char *path = xasprintf("%s/%s", root_of(t, p, node), name);
    yyjson_mut_doc *d = json_object();

    json_set_str(d, "/metadata/name", name);
    meta_set_annotation(d, ANNOTATION_PROVISIONED_BY, p->name);
    json_set(d, "/spec/capacity", yyjson_val_mut_copy(d, json_at(claim, "/spec/resources/requests")));
    json_set(d, "/spec/accessModes", yyjson_val_mut_copy(d, json_at(claim, "/spec/accessModes")));
    json_set_str(d, "/spec/persistentVolumeReclaimPolicy", json_str_or(class, "/reclaimPolicy", "Delete"));
    json_set_str(d, "/spec/storageClassName", meta_name(class));
    json_set_str(d, "/spec/volumeMode", "Filesystem");
    json_set_str(d, p->local ? "/spec/local/path" : "/spec/hostPath/path", path);
    if (p->local) {
        meta_set_label(d, LABEL_VOLUME_NODE, meta_name(node));
        set_affinity(d, node);
    } else {
        meta_set_label(d, LABEL_VOLUME_PLACE, PLACE_SHARED);
        json_set_str(d, "/spec/hostPath/type", "DirectoryOrCreate");
    }
    volume_set_claim(d, claim);
    task_create(t, &API_PERSISTENTVOLUMES, NULL, d);
    task_event(t, claim, EVENT_NORMAL, "ProvisioningSucceeded", "Successfully provisioned volume %s", name);
    task_requeue(t, 0);
}

void volume_make_or_wait(struct task *t, yyjson_val *claim, yyjson_val *class, yyjson_val *node)
{
    const char *name = claim_class(claim), *provisioner = json_str_or(class, "/provisioner", "");
    const struct provisioner *p = provisioner_find(provisioner);
    const char *why = p ? refusal(p, claim) : NULL;

    if (!*name)
        task_event(t, claim, EVENT_NORMAL, "FailedBinding",
                   "no persistent volumes available for this claim and no storage class is set");
    else if (!class)
        task_event(t, claim, EVENT_WARNING, "ProvisioningFailed", "storageclass.storage.k8s.io \"%s\" not found", name);
    else if (!p)
        task_event(
            t, claim, EVENT_NORMAL, "ExternalProvisioning",
            "Waiting for a volume to be created either by the external provisioner '%s' or manually by the system "
            "administrator.",
            provisioner);
    else if (why)
        task_event(t, claim, EVENT_WARNING, "ProvisioningFailed", "storage class %s: %s", name, why);
    else if (p->local && !node)
        task_event(t, claim, EVENT_WARNING, "ProvisioningFailed",
                   "storage class %s makes volumes of one node: it needs volumeBindingMode WaitForFirstConsumer", name);
    else
        provision(t, claim, class, p, node);
}
