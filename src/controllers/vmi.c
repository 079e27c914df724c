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
#include "controllers/addresses.h"
#include "controllers/kubevirt.h"
#include "controllers/launcher_pod.h"
#include "migration/epoch.h"
#include "migration/evacuation.h"

#define FINALIZER "kubevirt.io/foregroundDeleteVirtualMachine"
/* So long an agent has to say itself how its VM ended, and a cache to catch up. */
#define PATIENCE_MS 5000
#define INDEX_CLAIM "claim"

struct state {
    struct addresses *addresses;
    struct map *over; /* VMI key -> int64_t *: since when (monotonic ms) its owner's pod is known to be over */
};

static void *state_new(_unused_ struct env *env)
{
    struct state *s = xnew(struct state);

    s->addresses = addresses_new();
    s->over = map_new(free);
    return s;
}

static void state_free(void *userdata)
{
    struct state *s = userdata;

    addresses_free(s->addresses);
    map_free(s->over);
    free(s);
}

/* What a reconcile looks at. */
struct look {
    struct task *t;
    struct state *state;
    const char *key;
    yyjson_val *vmi;
    struct val_vec pods;
    struct epoch epoch;
};

static bool before_handover(yyjson_val *vmi)
{
    const char *phase = json_str_or(vmi, "/status/phase", "");

    return *phase == '\0' || streq(phase, "Pending") || streq(phase, "Scheduling");
}

static void patch_vmi(struct look *l, yyjson_mut_doc *patch, bool precondition)
{
    task_patch(l->t, &API_VIRTUALMACHINEINSTANCES, l->vmi, NULL, precondition, patch);
}

/* --- start --- */

/* The first claim that is not there, NULL if all are. */
static const char *missing_claim(struct look *l)
{
    yyjson_val *volume;

    json_each(json_at(l->vmi, "/spec/volumes"), volume) {
        const char *claim = volume_claim(volume);
        if (claim && !task_get_ns(l->t, &API_PERSISTENTVOLUMECLAIMS, meta_namespace(l->vmi), claim))
            return claim;
    }
    return NULL;
}

/* A condition by itself; nothing if it is so already. */
static void say(struct look *l, const char *type, const char *status, const char *reason, const char *message)
{
    yyjson_mut_doc *patch = json_object();

    if (patch_condition(patch, l->vmi, type, status, reason, message, task_wall_ms(l->t)))
        patch_vmi(l, patch, true);
    else
        yyjson_mut_doc_free(patch);
}

/* The instance that has the claim and needs it still; NULL: it may be taken. */
static yyjson_val *user_of(struct look *l, yyjson_val *claim)
{
    _cleanup_free_ char *name = NULL;
    const char *uid;
    yyjson_val *vmi = claim_user(claim, &name, &uid)
                          ? task_get_ns(l->t, &API_VIRTUALMACHINEINSTANCES, meta_namespace(claim), name)
                          : NULL;

    return claim_is_in_use(claim, vmi) ? vmi : NULL;
}

static void take(struct look *l, yyjson_val *claim)
{
    _cleanup_free_ char *text = claim_user_text(l->vmi);
    yyjson_mut_doc *patch = json_object();

    meta_set_annotation(patch, ANNOTATION_USED_BY, text);
    task_patch(l->t, &API_PERSISTENTVOLUMECLAIMS, claim, NULL, true, patch);
}

/* Takes the claims that one VM has at a time. True when it has all of them; *ret_wanted is one that another has. */
static bool take_claims(struct look *l, const char **ret_wanted, yyjson_val **ret_user)
{
    yyjson_val *volume;
    bool all = true;

    json_each(json_at(l->vmi, "/spec/volumes"), volume) {
        const char *name = volume_claim(volume);
        yyjson_val *claim = name ? task_get_ns(l->t, &API_PERSISTENTVOLUMECLAIMS, meta_namespace(l->vmi), name) : NULL;
        if (!claim || claim_is_given_to(claim, l->vmi))
            continue;
        yyjson_val *user = user_of(l, claim);
        all = false;
        if (user) {
            *ret_wanted = name;
            *ret_user = user;
        } else {
            take(l, claim);
        }
    }
    return all;
}

static void wait_for_claim(struct look *l, const char *claim, yyjson_val *user)
{
    _cleanup_free_ char *message =
        xasprintf("pvc %s/%s is in use by virtual machine instance %s: it starts when that one has ended",
                  meta_namespace(l->vmi), claim, meta_name(user));

    say(l, "Synchronized", "False", "PvcInUse", message);
}

static void create_pod(struct look *l)
{
    const char *claim = missing_claim(l), *address = meta_annotation(l->vmi, ANNOTATION_ADDRESS);
    const struct gw_error *err = task_error(l->t);
    const char *wanted = NULL;
    yyjson_val *user = NULL;
    _cleanup_free_ char *name = launcher_pod_name(l->vmi, meta_uid(l->vmi));

    if (claim) {
        _cleanup_free_ char *message =
            xasprintf("failed to find pvc %s/%s: create it, or name another claim", meta_namespace(l->vmi), claim);
        say(l, "Synchronized", "False", "FailedPvcNotFound", message);
        return;
    }
    if (!take_claims(l, &wanted, &user)) {
        if (user)
            wait_for_claim(l, wanted, user);
        return;
    }
    if (err)
        say(l, "Synchronized", "False", "FailedCreate", gw_error_message(err));
    task_create(l->t, &API_PODS, meta_namespace(l->vmi), launcher_pod(l->vmi, address));
    task_event(l->t, l->vmi, EVENT_NORMAL, "SuccessfulCreate", "Created virtual machine pod %s", name);
}

static void allocate(struct look *l)
{
    const char *address = addresses_pick(l->state->addresses, l->t, l->key, meta_uid(l->vmi));
    yyjson_mut_doc *patch;

    if (!address) {
        say(l, "Synchronized", "False", "NoAddress",
            "all addresses of " VMS_CIDR " are in use: delete VMs that are not needed");
        task_requeue(l->t, PATIENCE_MS);
        return;
    }
    patch = json_object();
    meta_set_annotation(patch, ANNOTATION_ADDRESS, address);
    patch_vmi(l, patch, true);
}

/* Condition PodScheduled, as the scheduler gave it to the pod while it finds no node. In patch; true if it changed. */
static bool mirror_scheduling(struct look *l, yyjson_mut_doc *patch, yyjson_val *pod)
{
    yyjson_val *c = condition_find(pod, "PodScheduled");
    bool stuck = !json_str(pod, "/spec/nodeName") && c && streq(json_str_or(c, "/status", ""), "False");

    if (stuck)
        return patch_condition(patch, l->vmi, "PodScheduled", "False", json_str(c, "/reason"), json_str(c, "/message"),
                               task_wall_ms(l->t));
    if (!condition_find(l->vmi, "PodScheduled"))
        return false;
    /* One that is true says nothing: it goes. patch_condition puts the list there. */
    if (!json_mut_at(patch, "/status/conditions"))
        json_set(patch, "/status/conditions", yyjson_val_mut_copy(patch, json_at(l->vmi, "/status/conditions")));
    return condition_remove(patch, "PodScheduled");
}

/* Condition Synchronized: why the pod's agent cannot start it (a missing image, a full disk), as its container says;
 * gone when there is nothing to say, also of what the VMI waited for before it had a pod. True if it changed. */
static bool mirror_waiting(struct look *l, yyjson_mut_doc *patch, yyjson_val *pod)
{
    yyjson_val *waiting = json_at(pod, "/status/containerStatuses/0/state/waiting");
    const char *reason = json_str_or(waiting, "/reason", "ContainerCreating");

    if (!streq(reason, "ContainerCreating"))
        return patch_condition(patch, l->vmi, "Synchronized", "False", reason, json_str(waiting, "/message"),
                               task_wall_ms(l->t));
    if (!condition_find(l->vmi, "Synchronized"))
        return false;
    if (!json_mut_at(patch, "/status/conditions"))
        json_set(patch, "/status/conditions", yyjson_val_mut_copy(patch, json_at(l->vmi, "/status/conditions")));
    return condition_remove(patch, "Synchronized");
}

static void schedule(struct look *l, yyjson_val *pod)
{
    yyjson_mut_doc *patch = json_object();
    bool changed = mirror_scheduling(l, patch, pod);

    changed = mirror_waiting(l, patch, pod) || changed;
    if (!phase_is(l->vmi, "Scheduling")) {
        patch_phase(patch, l->vmi, "Scheduling", task_wall_ms(l->t));
        (void)patch_condition(patch, l->vmi, "Ready", "False", "GuestNotRunning", "Guest VM is not reported as running",
                              task_wall_ms(l->t));
        changed = true;
    }
    if (changed)
        patch_vmi(l, patch, true);
    else
        yyjson_mut_doc_free(patch);
}

/* --- life --- */

/* activePods: the pods that are bound and not over, with their nodes. A key is written only where it differs. */
static void keep_active_pods(struct look *l)
{
    yyjson_mut_doc *patch = json_object();
    yyjson_val *have = json_at(l->vmi, "/status/activePods"), *key, *value;

    VEC_EACH(&l->pods, pod) {
        const char *uid = meta_uid(*pod), *node = json_str(*pod, "/spec/nodeName");
        _cleanup_free_ char *path = json_path("/status/activePods", uid);
        if (node && !is_final(*pod) && !str_same(json_key_str(have, "", uid), node))
            json_set_str(patch, path, node);
    }
    json_each_member(have, key, value) {
        const char *uid = yyjson_get_str(key);
        _cleanup_free_ char *path = json_path("/status/activePods", uid);
        bool active = false;
        VEC_EACH(&l->pods, pod)
            active = active || (streq(meta_uid(*pod), uid) && !is_final(*pod));
        if (!active)
            json_set(patch, path, yyjson_mut_null(patch));
    }
    if (json_mut_at(patch, "/status"))
        patch_vmi(l, patch, false);
    else
        yyjson_mut_doc_free(patch);
}

/* The pods of a VMI that is over, or is to be: true if all are over too. */
static bool end_pods(struct look *l)
{
    bool over = true;

    VEC_EACH(&l->pods, pod) {
        if (is_final(*pod))
            continue;
        over = false;
        if (!meta_deleting(*pod))
            task_delete(l->t, &API_PODS, *pod, NULL);
    }
    return over;
}

static void let_go(struct look *l)
{
    keep_active_pods(l);
    if (end_pods(l) && meta_deleting(l->vmi))
        task_remove_finalizer(l->t, &API_VIRTUALMACHINEINSTANCES, l->vmi, FINALIZER);
}

/* A target pod belongs to its migration as long as that is not over. */
static bool is_migrating(struct look *l, yyjson_val *pod)
{
    const char *uid = meta_label(pod, LABEL_MIGRATION_UID), *name = meta_annotation(pod, ANNOTATION_MIGRATION_NAME);
    yyjson_val *migration = uid && name ? task_get_ns(l->t, &API_MIGRATIONS, meta_namespace(pod), name) : NULL;

    return migration && streq(meta_uid(migration), uid) && !is_final(migration);
}

/* Pods that the guest has left. */
static void sweep(struct look *l, yyjson_val *owner)
{
    VEC_EACH(&l->pods, pod)
        if (*pod != owner && is_final(*pod) && !is_migrating(l, *pod))
            task_delete(l->t, &API_PODS, *pod, NULL);
}

/* --- end --- */

/* Whether it may be said that the VM is over, now or (asking again) a little later. */
static bool is_time(struct look *l, bool dead)
{
    int64_t *since = map_get(l->state->over, l->key), now = task_now_ms(l->t);

    if (dead)
        return true;
    if (informer_lost_since(task_informer(l->t, &API_PODS))) {
        map_remove(l->state->over, l->key);
        since = NULL;
    }
    if (!since) {
        since = xmemdup(&now, sizeof(now));
        map_put(l->state->over, l->key, since);
    }
    if (now - *since >= PATIENCE_MS)
        return true;
    task_requeue(l->t, PATIENCE_MS - (now - *since));
    return false;
}

/* A node that answers would have told; one that is silent may be running the guest. */
static bool may_run_unseen(struct look *l)
{
    const char *name = json_str(l->vmi, "/status/nodeName");
    yyjson_val *node = name ? task_get(l->t, &API_NODES, name) : NULL;

    return name && !(node && (node_is_dead(node) || condition_true(node, "Ready")));
}

static void finish(struct look *l, const char *phase, const char *reason, const char *message)
{
    yyjson_mut_doc *patch = json_object();

    patch_phase(patch, l->vmi, phase, task_wall_ms(l->t));
    json_set_str(patch, "/status/reason", reason);
    (void)patch_condition(patch, l->vmi, "Ready", "False", reason, message, task_wall_ms(l->t));
    patch_vmi(l, patch, true);
    map_remove(l->state->over, l->key);
    task_event(l->t, l->vmi, streq(phase, "Failed") ? EVENT_WARNING : EVENT_NORMAL, "Stopped", "%s", message);
}

static void owner_is_over(struct look *l, yyjson_val *pod)
{
    bool dead = node_declared_dead(l->t, pod ? json_str(pod, "/spec/nodeName") : json_str(l->vmi, "/status/nodeName"));

    if (!epoch_settled(l->epoch.state) || (!pod && may_run_unseen(l)) || !is_time(l, dead))
        return;
    if (pod)
        finish(l, json_str_or(pod, "/status/phase", ""), json_str_or(pod, "/status/reason", "PodTerminated"),
               json_str_or(pod, "/status/message", "the launcher pod has ended"));
    else
        finish(l, "Failed", "PodNotExists", "the launcher pod is gone");
}

/* Keeps the descheduler from asking again, and from counting the pod twice, while its VM is to leave the node. */
static void tell_descheduler(struct look *l, yyjson_val *owner)
{
    bool marked = evacuation_is_marked(l->vmi);

    if (marked == (meta_annotation(owner, ANNOTATION_EVICTING) != NULL) || meta_deleting(owner))
        return;
    yyjson_mut_doc *patch = json_object();
    if (marked)
        meta_set_annotation(patch, ANNOTATION_EVICTING, "true");
    else
        json_set(patch, "/metadata/annotations/descheduler.alpha.kubernetes.io~1eviction-in-progress",
                 yyjson_mut_null(patch));
    task_patch(l->t, &API_PODS, owner, NULL, false, patch);
}

static void live(struct look *l)
{
    yyjson_val *owner = owner_pod(l->vmi, &l->pods);
    bool pending = before_handover(l->vmi);

    if (vmi_has_pod_network(l->vmi) && !meta_annotation(l->vmi, ANNOTATION_ADDRESS)) {
        allocate(l);
        return;
    }
    if (!owner && pending && !phase_is(l->vmi, "Scheduling")) {
        create_pod(l);
        return;
    }
    if (!owner || is_final(owner)) {
        owner_is_over(l, owner);
        return;
    }
    map_remove(l->state->over, l->key);
    if (pending)
        schedule(l, owner);
    (void)take_claims(l, &(const char *){NULL}, &(yyjson_val *){NULL}); /* of volumes to be plugged */
    keep_active_pods(l);
    tell_descheduler(l, owner);
    if (epoch_settled(l->epoch.state))
        sweep(l, owner);
}

static void reconcile(struct task *t, const char *key)
{
    struct look l = {.t = t, .state = task_state(t), .key = key, .vmi = task_get(t, &API_VIRTUALMACHINEINSTANCES, key)};
    _cleanup_val_vec_ struct val_vec pods = {0};

    addresses_forget(l.state->addresses, key);
    if (!l.vmi) {
        map_remove(l.state->over, key);
        return;
    }
    task_select(t, &API_PODS, INDEX_OWNER, meta_uid(l.vmi), &pods);
    l.pods = pods;
    epoch_read(l.vmi, &l.epoch);
    if (is_final(l.vmi) || meta_deleting(l.vmi))
        let_go(&l);
    else
        live(&l);
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
