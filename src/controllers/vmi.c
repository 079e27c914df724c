/* VirtualMachineInstance: gives the VM its address, makes its launcher pod, and says what its pods are. From phase
 * Scheduled on the agent of the owner's node writes status; this controller then only
 *
 *   - keeps activePods, and deletes pods that have ended while the guest lives on in another one;
 *   - makes the VMI Failed (or Succeeded) when the owner's pod is over and nobody has said so: its agent had its
 * chance, or the node was declared dead. Never while an epoch is unsettled (docs/handover.md, section 3): until then
 * the guest may still come to run elsewhere. And never for a node that is only silent: there the guest may be running.
 *   - lets the VMI go when its deletion was asked for and all its pods are over. */
#include "api/volumes.h"
#include "base/alloc.h"
#include "base/map.h"
#include "base/str.h"
#include "controllers/launcher_pod.h"
#include "controllers/vmi_work.h"
#include "migration/evacuation.h"

#define FINALIZER "kubevirt.io/foregroundDeleteVirtualMachine"
#define INDEX_CLAIM "claim"

static void *state_new(_unused_ struct env *env)
{
    struct vmi_state *s = xnew(struct vmi_state);

    s->addresses = addresses_new();
    s->over = map_new(free);
    return s;
}

static void state_free(void *userdata)
{
    struct vmi_state *s = userdata;

    addresses_free(s->addresses);
    map_free(s->over);
    free(s);
}

static bool before_handover(yyjson_val *vmi)
{
    const char *phase = json_str_or(vmi, "/status/phase", "");

    return *phase == '\0' || streq(phase, "Pending") || streq(phase, "Scheduling");
}

/* --- life --- */

/* activePods: the pods that are bound and not over, with their nodes. A key is written only where it differs. */
static void keep_active_pods(struct vmi_work *w)
{
    yyjson_mut_doc *patch = json_object();
    yyjson_val *have = json_at(w->vmi, "/status/activePods"), *key, *value;

    VEC_EACH(&w->pods, pod) {
        const char *uid = meta_uid(*pod), *node = json_str(*pod, "/spec/nodeName");
        _cleanup_free_ char *path = json_path("/status/activePods", uid);
        if (node && !is_final(*pod) && !str_same(json_key_str(have, "", uid), node))
            json_set_str(patch, path, node);
    }
    json_each_member(have, key, value) {
        const char *uid = yyjson_get_str(key);
        _cleanup_free_ char *path = json_path("/status/activePods", uid);
        bool active = false;
        VEC_EACH(&w->pods, pod)
            active = active || (streq(meta_uid(*pod), uid) && !is_final(*pod));
        if (!active)
            json_set(patch, path, yyjson_mut_null(patch));
    }
    if (json_mut_at(patch, "/status"))
        task_patch(w->t, &API_VIRTUALMACHINEINSTANCES, w->vmi, NULL, false, patch);
    else
        yyjson_mut_doc_free(patch);
}

/* The pods of a VMI that is over, or is to be: true if all are over too. */
static bool end_pods(struct vmi_work *w)
{
    bool over = true;

    VEC_EACH(&w->pods, pod) {
        if (is_final(*pod))
            continue;
        over = false;
        if (!meta_deleting(*pod))
            task_delete(w->t, &API_PODS, *pod, NULL);
    }
    return over;
}

static void let_go(struct vmi_work *w)
{
    keep_active_pods(w);
    if (end_pods(w) && meta_deleting(w->vmi))
        task_remove_finalizer(w->t, &API_VIRTUALMACHINEINSTANCES, w->vmi, FINALIZER);
}

/* A target pod belongs to its migration as long as that is not over. */
static bool is_migrating(struct vmi_work *w, yyjson_val *pod)
{
    const char *uid = meta_label(pod, LABEL_MIGRATION_UID), *name = meta_annotation(pod, ANNOTATION_MIGRATION_NAME);
    yyjson_val *migration = uid && name ? task_get_ns(w->t, &API_MIGRATIONS, meta_namespace(pod), name) : NULL;

    return migration && streq(meta_uid(migration), uid) && !is_final(migration);
}

/* Pods that the guest has left. */
static void sweep(struct vmi_work *w, yyjson_val *owner)
{
    VEC_EACH(&w->pods, pod)
        if (*pod != owner && is_final(*pod) && !is_migrating(w, *pod))
            task_delete(w->t, &API_PODS, *pod, NULL);
}

/* --- end --- */

/* Whether it may be said that the VM is over, now or (asking again) a little later. */
static bool is_time(struct vmi_work *w, bool dead)
{
    int64_t *since = map_get(w->state->over, w->key), now = task_now_ms(w->t);

    if (dead)
        return true;
    if (informer_lost_since(task_informer(w->t, &API_PODS))) {
        map_remove(w->state->over, w->key);
        since = NULL;
    }
    if (!since) {
        since = xmemdup(&now, sizeof(now));
        map_put(w->state->over, w->key, since);
    }
    if (now - *since >= VMI_PATIENCE_MS)
        return true;
    task_requeue(w->t, VMI_PATIENCE_MS - (now - *since));
    return false;
}

/* A node that answers would have told; one that is silent may be running the guest. */
static bool may_run_unseen(struct vmi_work *w)
{
    const char *name = json_str(w->vmi, "/status/nodeName");
    yyjson_val *node = name ? task_get(w->t, &API_NODES, name) : NULL;

    return name && !(node && (node_is_dead(node) || condition_true(node, "Ready")));
}

static void finish(struct vmi_work *w, const char *phase, const char *reason, const char *message)
{
    yyjson_mut_doc *patch = json_object();

    patch_phase(patch, w->vmi, phase, task_wall_ms(w->t));
    json_set_str(patch, "/status/reason", reason);
    (void)patch_condition(patch, w->vmi, "Ready", "False", reason, message, task_wall_ms(w->t));
    task_patch(w->t, &API_VIRTUALMACHINEINSTANCES, w->vmi, NULL, true, patch);
    map_remove(w->state->over, w->key);
    task_event(w->t, w->vmi, streq(phase, "Failed") ? EVENT_WARNING : EVENT_NORMAL, "Stopped", "%s", message);
}

static void owner_is_over(struct vmi_work *w, yyjson_val *pod)
{
    bool dead = node_declared_dead(w->t, pod ? json_str(pod, "/spec/nodeName") : json_str(w->vmi, "/status/nodeName"));

    if (!epoch_settled(w->epoch.state) || (!pod && may_run_unseen(w)) || !is_time(w, dead))
        return;
    if (pod)
        finish(w, json_str_or(pod, "/status/phase", ""), json_str_or(pod, "/status/reason", "PodTerminated"),
               json_str_or(pod, "/status/message", "the launcher pod has ended"));
    else
        finish(w, "Failed", "PodNotExists", "the launcher pod is gone");
}

/* Keeps the descheduler from asking again, and from counting the pod twice, while its VM is to leave the node. */
static void tell_descheduler(struct vmi_work *w, yyjson_val *owner)
{
    bool marked = evacuation_is_marked(w->vmi);

    if (marked == (meta_annotation(owner, ANNOTATION_EVICTING) != NULL) || meta_deleting(owner))
        return;
    yyjson_mut_doc *patch = json_object();
    if (marked)
        meta_set_annotation(patch, ANNOTATION_EVICTING, "true");
    else
        json_set(patch, "/metadata/annotations/descheduler.alpha.kubernetes.io~1eviction-in-progress",
                 yyjson_mut_null(patch));
    task_patch(w->t, &API_PODS, owner, NULL, false, patch);
}

static void live(struct vmi_work *w)
{
    yyjson_val *owner = owner_pod(w->vmi, &w->pods);
    bool pending = before_handover(w->vmi);

    if (vmi_has_pod_network(w->vmi) && !meta_annotation(w->vmi, ANNOTATION_ADDRESS)) {
        vmi_allocate(w);
        return;
    }
    if (!owner && pending && !phase_is(w->vmi, "Scheduling")) {
        vmi_create_pod(w);
        return;
    }
    if (!owner || is_final(owner)) {
        owner_is_over(w, owner);
        return;
    }
    map_remove(w->state->over, w->key);
    if (pending)
        vmi_schedule(w, owner);
    vmi_take_claims(w); /* of volumes to be plugged */
    keep_active_pods(w);
    tell_descheduler(w, owner);
    if (epoch_settled(w->epoch.state))
        sweep(w, owner);
}

static void reconcile(struct task *t, const char *key)
{
    struct vmi_work w = {
        .t = t, .state = task_state(t), .key = key, .vmi = task_get(t, &API_VIRTUALMACHINEINSTANCES, key)};
    _cleanup_val_vec_ struct val_vec pods = {0};

    addresses_forget(w.state->addresses, key);
    if (!w.vmi) {
        map_remove(w.state->over, key);
        return;
    }
    task_select(t, &API_PODS, INDEX_OWNER, meta_uid(w.vmi), &pods);
    w.pods = pods;
    epoch_read(w.vmi, &w.epoch);
    if (is_final(w.vmi) || meta_deleting(w.vmi))
        let_go(&w);
    else
        live(&w);
}

/* --- what is watched --- */

static void index_claims(yyjson_val *vmi, struct index_values *out)
{
    yyjson_val *volume;

    json_each(json_at(vmi, "/spec/volumes"), volume) {
        const char *claim = volume_claim(volume);
        char key[OBJECT_KEY_MAX];
        if (claim)
            index_value(out, object_key_of(meta_namespace(vmi), claim, key));
    }
}

static void add_selected(struct keys *out, const struct api_resource *r, const char *index, const char *value,
                         bool owners)
{
    _cleanup_val_vec_ struct val_vec list = {0};

    informer_select(keys_informer(out, r), index, value, &list);
    VEC_EACH(&list, obj)
        keys_add_ns(out, meta_namespace(*obj), owners ? json_str(meta_controller(*obj), "/name") : meta_name(*obj));
}

/* A claim that appears, or has another user. */
static void map_claim(struct keys *out, yyjson_val *old, yyjson_val *obj)
{
    char key[OBJECT_KEY_MAX];

    if (obj && (!old || !str_same(meta_annotation(old, ANNOTATION_USED_BY), meta_annotation(obj, ANNOTATION_USED_BY))))
        add_selected(out, &API_VIRTUALMACHINEINSTANCES, INDEX_CLAIM, object_key(obj, key), false);
}

/* Those who wait for a claim that this one had. */
static void map_waiting(struct keys *out, yyjson_val *old, const char *claim)
{
    char key[OBJECT_KEY_MAX];

    if (claim)
        add_selected(out, &API_VIRTUALMACHINEINSTANCES, INDEX_CLAIM, object_key_of(meta_namespace(old), claim, key),
                     false);
}

static void map_vmi(struct keys *out, yyjson_val *old, yyjson_val *obj)
{
    yyjson_val *any = obj ? obj : old, *volume;

    keys_add_ns(out, meta_namespace(any), meta_name(any));
    if (!old || (obj && is_final(obj) == is_final(old) &&
                 json_equal(json_at(old, "/spec/volumes"), json_at(obj, "/spec/volumes")) &&
                 json_equal(json_at(old, "/status/volumeStatus"), json_at(obj, "/status/volumeStatus"))))
        return;
    json_each(json_at(old, "/spec/volumes"), volume)
        map_waiting(out, old, volume_claim(volume));
    json_each(json_at(old, "/status/volumeStatus"), volume)
        map_waiting(out, old, json_str(volume, "/persistentVolumeClaimInfo/claimName"));
}

/* A node that is declared dead (node.c then ends its pods), or answers again. */
static void map_node(struct keys *out, yyjson_val *old, yyjson_val *obj)
{
    if (obj && (node_is_dead(obj) != (old && node_is_dead(old)) ||
                condition_true(obj, "Ready") != (old && condition_true(old, "Ready"))))
        add_selected(out, &API_PODS, INDEX_NODE, meta_name(obj), true);
}

const struct controller vmi_controller = {
    .name = "virtualmachineinstance",
    .reconcile = reconcile,
    .start = state_new,
    .stop = state_free,
    .watches =
        (const struct controller_watch[]){
            {.resource = &API_VIRTUALMACHINEINSTANCES,
             .map = map_vmi,
             .indexes = (const struct informer_index[]){{INDEX_CLAIM, index_claims},
                                                        {INDEX_ADDRESS, index_annotated_address},
                                                        {0}}},
            {.resource = &API_PODS,
             .owner_kind = "VirtualMachineInstance",
             .indexes = (const struct informer_index[]){{INDEX_NODE, index_node},
                                                        {INDEX_ADDRESS, index_annotated_address},
                                                        {0}}},
            {.resource = &API_PERSISTENTVOLUMECLAIMS,
             .map = map_claim,
             .keep = (const char *const[]){"/spec/accessModes", "/status/phase", NULL}},
            {.resource = &API_NODES,
             .map = map_node,
             .keep = (const char *const[]){"/spec/taints", "/status/conditions", NULL}},
            {.resource = &API_NODENETWORKS,
             .silent = true,
             .keep = (const char *const[]){"/spec/addresses", NULL},
             .indexes = (const struct informer_index[]){{INDEX_ADDRESS, index_announced_addresses}, {0}}},
            {.resource = &API_MIGRATIONS, .silent = true, .keep = (const char *const[]){"/spec", "/status", NULL}},
            {0}},
};
