/* Binds claims to volumes, and makes volumes for the classes that Godwit provides.
 *
 * A binding is two references: volume.spec.claimRef (with the claim's uid) and claim.spec.volumeName. The volume's is
 * written first; it decides when two claims want the same one (a patch on a stale version fails), and from it the
 * binding is finished after any interruption. A volume that is made here is made with its claimRef, under a name that
 * follows from the claim ("pvc-" and its uid), so that it cannot be made twice. */
#include <string.h>

#include "api/volumes.h"
#include "base/alloc.h"
#include "base/str.h"
#include "controllers/claims.h"
#include "controllers/kubernetes.h"
#include "controllers/volume.h"

#define FINALIZER_IN_USE "kubernetes.io/pvc-protection"
#define INDEX_CLAIM "claim"
#define CLAIM_KEY "claim:"
#define VOLUME_KEY "volume:"

/* --- keys --- */

static void add_key(struct keys *out, const char *prefix, const char *key)
{
    _cleanup_free_ char *full = xasprintf("%s%s", prefix, key);

    keys_add(out, full);
}

static void add_claim(struct keys *out, const char *ns, const char *name)
{
    char key[OBJECT_KEY_MAX];

    if (name && *name)
        add_key(out, CLAIM_KEY, object_key_of(ns, name, key));
}

static void map_claim(struct keys *out, yyjson_val *old, yyjson_val *claim)
{
    yyjson_val *c = claim ? claim : old;
    const char *volume = json_str_or(c, "/spec/volumeName", "");

    add_claim(out, meta_namespace(c), meta_name(c));
    if (*volume)
        add_key(out, VOLUME_KEY, volume);
    if (claim)
        return;
    /* A volume may refer to it though it never learned of the volume. */
    _cleanup_free_ char *made = xasprintf("pvc-%s", meta_uid(old));
    add_key(out, VOLUME_KEY, made);
}

static void add_open_claims(struct keys *out)
{
    yyjson_val *claim;

    for (size_t at = 0; informer_next(keys_informer(out, &API_PERSISTENTVOLUMECLAIMS), &at, NULL, &claim);)
        if (!claim_is_bound(claim))
            add_claim(out, meta_namespace(claim), meta_name(claim));
}

static void map_volume(struct keys *out, yyjson_val *old, yyjson_val *volume)
{
    yyjson_val *v = volume ? volume : old;

    add_key(out, VOLUME_KEY, meta_name(v));
    if (*json_str_or(v, "/spec/claimRef/name", ""))
        add_claim(out, json_str_or(v, "/spec/claimRef/namespace", ""), json_str(v, "/spec/claimRef/name"));
    else
        add_open_claims(out);
}

static void map_class(struct keys *out, _unused_ yyjson_val *old, _unused_ yyjson_val *class)
{
    add_open_claims(out);
}

/* A pod that ends may have been the last user of a claim that is to go. */
static void map_pod(struct keys *out, yyjson_val *old, yyjson_val *pod)
{
    yyjson_val *volume;

    if (!old)
        return;
    json_each(json_at(old, "/spec/volumes"), volume)
        add_claim(out, meta_namespace(old), json_str(volume, "/persistentVolumeClaim/claimName"));
}

/* Volumes that VMs use besides those of their pods: the hot ones of the spec, and those that are not out of the guest
 * yet. fn: for each claim. */
static void each_hot_claim(yyjson_val *vmi, void (*fn)(void *userdata, const char *ns, const char *name),
                           void *userdata)
{
    yyjson_val *item;

    json_each(json_at(vmi, "/spec/volumes"), item)
        if (volume_is_hot(item) && volume_claim(item))
            fn(userdata, meta_namespace(vmi), volume_claim(item));
    json_each(json_at(vmi, "/status/volumeStatus"), item)
        if (volume_status_attached(item))
            fn(userdata, meta_namespace(vmi), json_str(item, "/persistentVolumeClaimInfo/claimName"));
}

static void add_one(void *userdata, const char *ns, const char *name)
{
    add_claim(userdata, ns, name);
}

/* It may need a claim, or be done with one. */
static void map_vmi(struct keys *out, yyjson_val *old, yyjson_val *vmi)
{
    each_hot_claim(old, add_one, out);
    each_hot_claim(vmi, add_one, out);
}

static void index_one(void *userdata, const char *ns, const char *name)
{
    char key[OBJECT_KEY_MAX];

    if (name)
        index_value(userdata, object_key_of(ns, name, key));
}

static void by_hot_claim(yyjson_val *vmi, struct index_values *out)
{
    if (!is_final(vmi))
        each_hot_claim(vmi, index_one, out);
}

static void by_claim(yyjson_val *pod, struct index_values *out)
{
    yyjson_val *volume;

    if (is_final(pod))
        return;
    json_each(json_at(pod, "/spec/volumes"), volume)
        index_one(out, meta_namespace(pod), volume_claim(volume));
}

/* --- binding --- */

/* One that refers to the claim already, else the smallest. */
static yyjson_val *find_volume(struct task *t, yyjson_val *claim, yyjson_val *node)
{
    yyjson_val *volume, *best = NULL;

    for (size_t at = 0; informer_next(task_informer(t, &API_PERSISTENTVOLUMES), &at, NULL, &volume);) {
        if (!volume_fits(claim, volume, node))
            continue;
        if (volume_refers_to(volume, claim))
            return volume;
        if (!best || volume_size(volume) < volume_size(best))
            best = volume;
    }
    return best;
}

static void sync_bound(struct task *t, yyjson_val *claim, yyjson_val *volume)
{
    yyjson_mut_doc *patch;

    if (streq(json_str_or(claim, "/status/phase", ""), "Bound") &&
        json_equal(json_at(claim, "/status/capacity"), json_at(volume, "/spec/capacity")))
        return;
    patch = json_object();
    json_set_str(patch, "/status/phase", "Bound");
    json_set(patch, "/status/capacity", yyjson_val_mut_copy(patch, json_at(volume, "/spec/capacity")));
    json_set(patch, "/status/accessModes", yyjson_val_mut_copy(patch, json_at(volume, "/spec/accessModes")));
    task_patch(t, &API_PERSISTENTVOLUMECLAIMS, claim, "status", false, patch);
}

static void bind(struct task *t, yyjson_val *claim, yyjson_val *volume)
{
    if (!streq(json_str_or(volume, "/spec/claimRef/uid", ""), meta_uid(claim))) {
        yyjson_mut_doc *patch = json_object();
        volume_set_claim(patch, claim);
        task_patch(t, &API_PERSISTENTVOLUMES, volume, NULL, true, patch);
    }
    if (!*json_str_or(claim, "/spec/volumeName", "")) {
        yyjson_mut_doc *patch = json_object();
        json_set_str(patch, "/spec/volumeName", meta_name(volume));
        task_patch(t, &API_PERSISTENTVOLUMECLAIMS, claim, NULL, false, patch);
    }
    sync_bound(t, claim, volume);
}

/* --- claims --- */

/* A VM that runs and wants it plugged is its consumer: the volume is to be where the VM is. */
static bool choose_node(struct task *t, yyjson_val *claim)
{
    _cleanup_val_vec_ struct val_vec users = {0};
    char key[OBJECT_KEY_MAX];

    task_select(t, &API_VIRTUALMACHINEINSTANCES, INDEX_CLAIM, object_key(claim, key), &users);
    VEC_EACH(&users, vmi) {
        const char *node = json_str(*vmi, "/status/nodeName");
        yyjson_mut_doc *patch;
        if (!node || !streq(json_str_or(*vmi, "/status/phase", ""), "Running"))
            continue;
        patch = json_object();
        meta_set_annotation(patch, ANNOTATION_SELECTED_NODE, node);
        task_patch(t, &API_PERSISTENTVOLUMECLAIMS, claim, NULL, true, patch);
        return true;
    }
    return false;
}

static void find_or_make(struct task *t, yyjson_val *claim)
{
    yyjson_val *class = task_get_ns(t, &API_STORAGECLASSES, NULL, claim_class(claim));
    const char *chosen = meta_annotation(claim, ANNOTATION_SELECTED_NODE);
    yyjson_val *node = chosen ? task_get(t, &API_NODES, chosen) : NULL;

    if (class_waits(class) && !chosen && choose_node(t, claim))
        return;
    if (class_waits(class) && !node) {
        task_event(t, claim, EVENT_NORMAL, "WaitForFirstConsumer",
                   "waiting for first consumer to be created before binding");
        return;
    }
    yyjson_val *volume = find_volume(t, claim, node);
    if (volume)
        bind(t, claim, volume);
    else
        volume_make_or_wait(t, claim, class, node);
}

static void follow_volume(struct task *t, yyjson_val *claim, const char *name)
{
    yyjson_val *volume = task_get(t, &API_PERSISTENTVOLUMES, name);
    yyjson_mut_doc *patch;

    if (volume && volume_is_free_for(volume, claim)) {
        bind(t, claim, volume);
    } else if (streq(json_str_or(claim, "/status/phase", ""), "Bound")) {
        patch = json_object();
        json_set_str(patch, "/status/phase", "Lost");
        task_patch(t, &API_PERSISTENTVOLUMECLAIMS, claim, "status", false, patch);
        task_event(t, claim, EVENT_WARNING, "ClaimLost",
                   "Bound claim has lost its PersistentVolume %s; its data are lost", name);
    } else if (volume) {
        task_event(t, claim, EVENT_WARNING, "FailedBinding", "volume \"%s\" already bound to a different claim.", name);
    }
}

struct claim_search {
    const char *name;
    bool found;
};

static void match_one(void *userdata, const char *ns, const char *name)
{
    struct claim_search *s = userdata;

    s->found = s->found || str_same(s->name, name);
}

/* A launcher pod names the claims that the VM had when the pod was made; a hot one may have left the VM since. */
static bool pod_uses(struct task *t, yyjson_val *pod, yyjson_val *claim)
{
    const char *owner = json_str_or(meta_controller(pod), "/name", "");
    yyjson_val *vmi = task_get_ns(t, &API_VIRTUALMACHINEINSTANCES, meta_namespace(pod), owner), *volume;
    struct claim_search search = {meta_name(claim), false};

    if (!vmi || !str_same(meta_uid(vmi), json_str(meta_controller(pod), "/uid")))
        return true;
    json_each(json_at(vmi, "/spec/volumes"), volume)
        search.found = search.found || str_same(volume_claim(volume), search.name);
    each_hot_claim(vmi, match_one, &search);
    return search.found;
}

static bool has_users(struct task *t, yyjson_val *claim, const char *key)
{
    _cleanup_val_vec_ struct val_vec pods = {0}, vmis = {0};

    task_select(t, &API_VIRTUALMACHINEINSTANCES, INDEX_CLAIM, key, &vmis);
    if (vmis.len)
        return true;
    task_select(t, &API_PODS, INDEX_CLAIM, key, &pods);
    VEC_EACH(&pods, pod)
        if (pod_uses(t, *pod, claim))
            return true;
    return false;
}

/* A claim stays while a pod or a VM uses it, however it is deleted. */
static bool protect(struct task *t, yyjson_val *claim, const char *key)
{
    bool has = meta_has_finalizer(claim, FINALIZER_IN_USE);

    if (meta_deleting(claim) ? !has || has_users(t, claim, key) : has)
        return meta_deleting(claim);
    if (meta_deleting(claim))
        task_remove_finalizer(t, &API_PERSISTENTVOLUMECLAIMS, claim, FINALIZER_IN_USE);
    else
        task_add_finalizer(t, &API_PERSISTENTVOLUMECLAIMS, claim, FINALIZER_IN_USE);
    return meta_deleting(claim);
}

static void reconcile_claim(struct task *t, const char *key)
{
    yyjson_val *claim = task_get(t, &API_PERSISTENTVOLUMECLAIMS, key);

    if (!claim || protect(t, claim, key))
        return;
    const char *volume = json_str_or(claim, "/spec/volumeName", "");
    if (*volume)
        follow_volume(t, claim, volume);
    else
        find_or_make(t, claim);
}

/* --- volumes --- */

static void set_phase(struct task *t, yyjson_val *volume, const char *phase)
{
    yyjson_mut_doc *patch;

    if (streq(json_str_or(volume, "/status/phase", ""), phase))
        return;
    patch = json_object();
    json_set_str(patch, "/status/phase", phase);
    task_patch(t, &API_PERSISTENTVOLUMES, volume, "status", false, patch);
}

static void release(struct task *t, yyjson_val *volume)
{
    bool made_here = volume_is_made_here(volume);

    task_require_absent(t, &API_PERSISTENTVOLUMECLAIMS, json_str(volume, "/spec/claimRef/namespace"),
                        json_str(volume, "/spec/claimRef/name"), json_str(volume, "/spec/claimRef/uid"));
    if (made_here && streq(json_str_or(volume, "/spec/persistentVolumeReclaimPolicy", ""), "Delete"))
        task_delete(t, &API_PERSISTENTVOLUMES, volume, NULL);
    else
        set_phase(t, volume, "Released");
}

static void reconcile_volume(struct task *t, const char *name)
{
    yyjson_val *volume = task_get(t, &API_PERSISTENTVOLUMES, name);
    const char *uid = json_str_or(volume, "/spec/claimRef/uid", "");
    yyjson_val *claim;

    if (!volume || meta_deleting(volume))
        return;
    if (!*uid) {
        set_phase(t, volume, "Available");
        return;
    }
    claim = task_get_ns(t, &API_PERSISTENTVOLUMECLAIMS, json_str(volume, "/spec/claimRef/namespace"),
                        json_str(volume, "/spec/claimRef/name"));
    if (claim && streq(meta_uid(claim), uid))
        set_phase(t, volume, "Bound");
    else
        release(t, volume);
}

static void reconcile(struct task *t, const char *key)
{
    if (str_starts(key, CLAIM_KEY))
        reconcile_claim(t, key + strlen(CLAIM_KEY));
    else
        reconcile_volume(t, key + strlen(VOLUME_KEY));
}

const struct controller volume_controller = {
    .name = "persistent-volume",
    .reconcile = reconcile,
    .watches =
        (const struct controller_watch[]){
            {.resource = &API_PERSISTENTVOLUMECLAIMS,
             .map = map_claim,
             .keep = (const char *const[]){"/spec", "/status/phase", "/status/capacity", NULL}},
            {.resource = &API_PERSISTENTVOLUMES,
             .map = map_volume,
             .keep = (const char *const[]){"/spec", "/status/phase", NULL}},
            {.resource = &API_STORAGECLASSES,
             .map = map_class,
             .keep = (const char *const[]){"/provisioner", "/reclaimPolicy", "/volumeBindingMode", NULL}},
            {.resource = &API_NODES, .silent = true, .keep = (const char *const[]){NULL}},
            {.resource = &API_PODS,
             .map = map_pod,
             .indexes = (const struct informer_index[]){{INDEX_CLAIM, by_claim}, {0}},
             .keep = (const char *const[]){"/spec/volumes", "/status/phase", NULL}},
            {.resource = &API_VIRTUALMACHINEINSTANCES,
             .map = map_vmi,
             .indexes = (const struct informer_index[]){{INDEX_CLAIM, by_hot_claim}, {0}},
             .keep = (const char *const[]){"/spec/volumes", "/status/volumeStatus", "/status/phase", "/status/nodeName",
                                           NULL}},
            {0},
        },
};
