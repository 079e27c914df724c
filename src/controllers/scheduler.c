/* Puts pods on nodes. The decisions are src/scheduling's; here they get their snapshot and their effect.
 *
 * There is one key for all pods: a run takes a snapshot once and places a batch of waiting pods on it, each counting
 * for the next. What the pods on each node take is not added up for it, but kept in a ledger that hears of each change
 * in the cache; of the pods themselves it has only those that one of the batch may want near or far, or that may want
 * one of the batch far. The cache holds what was bound (the frame reads each pod after its binding), so the next run
 * sees the room as it is. A pod that fits nowhere gets condition PodScheduled False with the reason for each node,
 * and is tried again when a node, a pod or a claim changes: such a change begins a new epoch, and each pod is tried
 * once in an epoch, those that were tried longest ago first.
 *
 * Claims of a class that waits for its consumer get the node by annotation; their pod is bound when the volume is
 * there, which then says itself which nodes reach it. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "controllers/claims.h"
#include "controllers/kubernetes.h"
#include "controllers/kubevirt.h"
#include "scheduling/scheduling.h"

#define KEY "pods"
#define BATCH 64

/* Pods on nodes that want others far, by the label that these must have at least: "key=value", or this. */
#define INDEX_WARY "wary"
#define WARY_OF_ANY "*"

/* --- which pods, and when --- */

/* A pod that waits for its node. */
struct waiting {
    unsigned tried; /* the epoch in which it was last tried; 0 = never */
    int64_t created;
};

struct scheduler {
    unsigned epoch;
    struct map *waiting; /* by the pod's key; thousands may wait, so those of a batch alone are decoded */
    struct sched_ledger *ledger;
};

static void *start(_unused_ struct env *env)
{
    struct scheduler *s = xnew(struct scheduler);

    s->epoch = 1;
    s->waiting = map_new(free);
    s->ledger = sched_ledger_new();
    return s;
}

static void stop(void *state)
{
    struct scheduler *s = state;

    map_free(s->waiting);
    sched_ledger_free(s->ledger);
    free(s);
}

static void begin_epoch(struct keys *out)
{
    ((struct scheduler *)keys_state(out))->epoch++;
    keys_add(out, KEY);
}

static bool is_waiting(yyjson_val *pod)
{
    const char *scheduler = json_str_or(pod, "/spec/schedulerName", "");

    return pod && !*json_str_or(pod, "/spec/nodeName", "") && !meta_deleting(pod) &&
           streq(json_str_or(pod, "/status/phase", "Pending"), "Pending") &&
           (!*scheduler || streq(scheduler, "default-scheduler"));
}

/* True if pod waits, and was not known to. */
static bool note_waiting(struct scheduler *s, yyjson_val *old, yyjson_val *pod)
{
    char key[OBJECT_KEY_MAX];
    struct waiting *w;

    object_key(pod ? pod : old, key);
    if (!is_waiting(pod)) {
        (void)map_remove(s->waiting, key);
        return false;
    }
    if (is_waiting(old) && streq(meta_uid(old), meta_uid(pod)))
        return false;
    w = xnew(struct waiting);
    w->created = meta_created(pod);
    map_put(s->waiting, key, w);
    return true;
}

static void by_wary(yyjson_val *pod, struct index_values *out)
{
    yyjson_val *terms = sched_takes_room(pod) ? json_at(pod, SCHED_FAR_REQUIRED) : NULL, *term, *key, *value;

    json_each(terms, term) {
        yyjson_val *labels = json_at(term, "/labelSelector/matchLabels");
        if (!yyjson_obj_size(labels))
            index_value(out, WARY_OF_ANY);
        json_each_member(labels, key, value) {
            _cleanup_free_ char *label = xasprintf("%s=%s", yyjson_get_str(key), yyjson_get_str(value));
            index_value(out, label);
            break; /* whom it means has them all */
        }
    }
}

/* A new pod that waits, or room that has become free. */
static void map_pod(struct keys *out, yyjson_val *old, yyjson_val *pod)
{
    struct scheduler *s = keys_state(out);

    bool news = note_waiting(s, old, pod);

    sched_ledger_change(s->ledger, old, pod);
    if (sched_takes_room(old) && !sched_takes_room(pod))
        begin_epoch(out);
    else if (news)
        keys_add(out, KEY);
}

/* Nodes change often (conditions are reported anew); only what placing depends on counts. */
static void map_node(struct keys *out, yyjson_val *old, yyjson_val *node)
{
    static const char *const relevant[] = {"/metadata/labels", "/metadata/deletionTimestamp", "/spec/taints",
                                           "/spec/unschedulable", "/status/allocatable"};
    bool changed = !old || !node || condition_true(old, "Ready") != condition_true(node, "Ready");

    for (size_t i = 0; !changed && i < ARRAY_SIZE(relevant); i++)
        changed = !json_equal(json_at(old, relevant[i]), json_at(node, relevant[i]));
    if (changed)
        begin_epoch(out);
}

static void map_claim(struct keys *out, _unused_ yyjson_val *old, _unused_ yyjson_val *claim)
{
    begin_epoch(out);
}

/* What a claim needs to know of its volume does not change after the volume has come. */
static void map_volume(struct keys *out, yyjson_val *old, _unused_ yyjson_val *volume)
{
    if (!old)
        begin_epoch(out);
}

/* --- claims --- */

/* What a pod's claims come to. */
struct claims {
    struct affinity_vec affinities;
    struct val_vec unplaced; /* claims that wait for a node to be chosen */
    const char *chosen;      /* the node that was chosen for one of them already */
    char *blocked;
};

static void claims_done(struct claims *c)
{
    affinity_vec_done(&c->affinities);
    val_vec_done(&c->unplaced);
    free(c->blocked);
}

static void block(struct claims *c, char *why)
{
    free(c->blocked);
    c->blocked = why;
}

static void add_claim(struct task *t, struct claims *c, const char *ns, const char *name)
{
    yyjson_val *claim = task_get_ns(t, &API_PERSISTENTVOLUMECLAIMS, ns, name);

    if (!claim) {
        block(c, xasprintf("persistentvolumeclaim \"%s\" not found", name));
    } else if (meta_deleting(claim)) {
        block(c, xasprintf("persistentvolumeclaim \"%s\" is being deleted", name));
    } else if (claim_is_bound(claim)) {
        yyjson_val *volume = task_get_ns(t, &API_PERSISTENTVOLUMES, NULL, json_str(claim, "/spec/volumeName"));
        yyjson_val *required = json_at(volume, "/spec/nodeAffinity/required");
        if (!volume)
            block(c, xasprintf("persistentvolume \"%s\" not found", json_str(claim, "/spec/volumeName")));
        else if (required)
            affinity_vec_push(&c->affinities, required);
    } else if (class_waits(task_get_ns(t, &API_STORAGECLASSES, NULL, claim_class(claim)))) {
        const char *node = meta_annotation(claim, ANNOTATION_SELECTED_NODE);
        if (node && task_get(t, &API_NODES, node))
            c->chosen = node;
        val_vec_push(&c->unplaced, claim);
    } else {
        block(c, xstrdup("pod has unbound immediate PersistentVolumeClaims"));
    }
}

static struct claims claims_of(struct task *t, yyjson_val *pod)
{
    struct claims c = {0};
    yyjson_val *volume;

    json_each(json_at(pod, "/spec/volumes"), volume) {
        const char *name = json_str(volume, "/persistentVolumeClaim/claimName");
        if (name)
            add_claim(t, &c, meta_namespace(pod), name);
    }
    return c;
}

/* --- effects --- */

static void bind(struct task *t, yyjson_val *pod, const char *node)
{
    yyjson_mut_doc *binding = json_object();

    json_set_str(binding, "/apiVersion", "v1");
    json_set_str(binding, "/kind", "Binding");
    json_set_str(binding, "/metadata/name", meta_name(pod));
    json_set_str(binding, "/metadata/uid", meta_uid(pod));
    json_set_str(binding, "/target/apiVersion", "v1");
    json_set_str(binding, "/target/kind", "Node");
    json_set_str(binding, "/target/name", node);
    task_create_sub(t, &API_PODS, meta_namespace(pod), meta_name(pod), "binding", binding);
    task_event(t, pod, EVENT_NORMAL, "Scheduled", "Successfully assigned %s/%s to %s", meta_namespace(pod),
               meta_name(pod), node);
}

static void choose_node(struct task *t, const struct claims *c, const char *node)
{
    VEC_EACH(&c->unplaced, claim) {
        yyjson_mut_doc *patch = json_object();
        meta_set_annotation(patch, ANNOTATION_SELECTED_NODE, node);
        task_patch(t, &API_PERSISTENTVOLUMECLAIMS, *claim, NULL, true, patch);
    }
}

static void refuse(struct task *t, yyjson_val *pod, const char *why)
{
    yyjson_mut_doc *patch = json_object();

    if (!patch_condition(patch, pod, "PodScheduled", "False", "Unschedulable", why, task_wall_ms(t))) {
        yyjson_mut_doc_free(patch);
        return;
    }
    task_patch(t, &API_PODS, pod, "status", true, patch);
    task_event(t, pod, EVENT_WARNING, "FailedScheduling", "%s", why);
}

/* --- whom the batch may want near or far --- */

struct batch {
    struct task *t;
    struct sched_state state;
    struct map *neighbours; /* uids of those in the state */
    bool all;
};

static void add_neighbour(struct batch *b, yyjson_val *pod)
{
    if (map_has(b->neighbours, meta_uid(pod)))
        return;
    map_put(b->neighbours, meta_uid(pod), b);
    sched_add_neighbour(&b->state, pod);
}

static void add_indexed(struct batch *b, const char *index, const char *value)
{
    _cleanup_val_vec_ struct val_vec pods = {0};

    task_select(b->t, &API_PODS, index, value, &pods);
    VEC_EACH(&pods, pod)
        add_neighbour(b, *pod);
}

/* Pods that a term may mean: a VM's own, which it owns (launcher_pod.c: this is what migrations ask for), or any. */
static void add_meant(struct batch *b, yyjson_val *term)
{
    const char *vmi = json_key_str(term, "/labelSelector/matchLabels", LABEL_CREATED_BY);
    yyjson_val *pod;

    if (vmi) {
        add_indexed(b, INDEX_OWNER, vmi);
        return;
    }
    for (size_t at = 0; !b->all && informer_next(task_informer(b->t, &API_PODS), &at, NULL, &pod);)
        add_neighbour(b, pod);
    b->all = true;
}

static void add_neighbours(struct batch *b, yyjson_val *pod)
{
    static const struct {
        const char *path, *term;
    } wishes[] = {
        {SCHED_NEAR_REQUIRED, ""},
        {SCHED_FAR_REQUIRED, ""},
        {SCHED_NEAR_PREFERRED, "/podAffinityTerm"},
        {SCHED_FAR_PREFERRED, "/podAffinityTerm"},
    };
    yyjson_val *item, *key, *value;

    for (size_t i = 0; i < ARRAY_SIZE(wishes); i++)
        json_each(json_at(pod, wishes[i].path), item)
            add_meant(b, json_at(item, wishes[i].term));
    add_indexed(b, INDEX_WARY, WARY_OF_ANY);
    json_each_member(json_at(pod, "/metadata/labels"), key, value) {
        _cleanup_free_ char *label = xasprintf("%s=%s", yyjson_get_str(key), yyjson_get_str(value));
        add_indexed(b, INDEX_WARY, label);
    }
}

/* --- a run --- */

static void begin_batch(struct task *t, struct batch *b)
{
    const struct scheduler *s = task_state(t);
    yyjson_val *obj;

    *b = (struct batch){.t = t, .neighbours = map_new(NULL)};
    for (size_t at = 0; informer_next(task_informer(t, &API_NAMESPACES), &at, NULL, &obj);)
        sched_add_namespace(&b->state, obj);
    for (size_t at = 0; informer_next(task_informer(t, &API_NODES), &at, NULL, &obj);)
        sched_add_node(&b->state, obj, s->ledger);
}

static void end_batch(struct batch *b)
{
    sched_state_done(&b->state);
    map_free(b->neighbours);
}

static void place(struct batch *b, yyjson_val *pod)
{
    _cleanup_(claims_done) struct claims c = claims_of(b->t, pod);
    const struct sched_request req = {.pod = pod, .volume_affinities = c.affinities, .blocked = c.blocked};
    _cleanup_str_ struct str why = {0};

    if (c.chosen && !c.blocked) { /* its volume is being made there */
        sched_add_pod(&b->state, pod, c.chosen);
        return;
    }
    add_neighbours(b, pod);
    ssize_t at = sched_pick(&b->state, &req, env_random(task_env(b->t)), &why);
    if (at < 0) {
        refuse(b->t, pod, str_text(&why));
        return;
    }
    const char *node = b->state.nodes.items[at].name;
    if (c.unplaced.len)
        choose_node(b->t, &c, node);
    else
        bind(b->t, pod, node);
    sched_add_pod(&b->state, pod, node);
}

struct turn {
    const char *key;
    struct waiting *pod;
};
VEC_DEFINE(turn_vec, struct turn);

/* Who was tried longest ago first, then the oldest; names decide among those of one second. */
static int by_turn(const void *a, const void *b)
{
    const struct turn *x = a, *y = b;

    if (x->pod->tried != y->pod->tried)
        return x->pod->tried > y->pod->tried ? 1 : -1;
    if (x->pod->created != y->pod->created)
        return x->pod->created > y->pod->created ? 1 : -1;
    return strcmp(x->key, y->key);
}

/* Those that were not tried in this epoch, in their order. */
static void take_turns(const struct scheduler *s, struct turn_vec *ret)
{
    const char *key;
    void *pod;

    for (size_t at = 0; map_next(s->waiting, &at, &key, &pod);)
        if (((struct waiting *)pod)->tried < s->epoch)
            turn_vec_push(ret, (struct turn){key, pod});
    if (ret->len)
        qsort(ret->items, ret->len, sizeof(*ret->items), by_turn);
}

static void place_batch(struct task *t, struct turn *turns, size_t n)
{
    const struct scheduler *s = task_state(t);
    struct batch b;

    begin_batch(t, &b);
    for (struct turn *turn = turns; turn < turns + n; turn++) {
        yyjson_val *pod = task_get(t, &API_PODS, turn->key);

        turn->pod->tried = s->epoch;
        if (pod)
            place(&b, pod);
    }
    end_batch(&b);
}

static void reconcile(struct task *t, _unused_ const char *key)
{
    struct scheduler *s = task_state(t);
    struct turn_vec turns = {0};

    if (task_failures(t)) /* of a batch that failed nobody knows who was placed */
        s->epoch++;
    take_turns(s, &turns);
    if (turns.len)
        place_batch(t, turns.items, MIN(turns.len, (size_t)BATCH));
    if (turns.len > BATCH)
        task_requeue(t, 0);
    turn_vec_done(&turns);
}

const struct controller scheduler_controller = {
    .name = "scheduler",
    .reconcile = reconcile,
    .start = start,
    .stop = stop,
    .watches =
        (const struct controller_watch[]){
            {.resource = &API_PODS,
             .map = map_pod,
             .indexes = (const struct informer_index[]){{INDEX_WARY, by_wary}, {0}},
             .keep =
                 (const char *const[]){"/spec/nodeName", "/spec/nodeSelector", "/spec/affinity", "/spec/tolerations",
                                       "/spec/containers", "/spec/initContainers", "/spec/overhead", "/spec/volumes",
                                       "/spec/schedulerName", "/status/phase", "/status/conditions", NULL}},
            {.resource = &API_NODES,
             .map = map_node,
             .keep = (const char *const[]){"/spec", "/status/allocatable", "/status/conditions", NULL}},
            {.resource = &API_PERSISTENTVOLUMECLAIMS,
             .map = map_claim,
             .keep = (const char *const[]){"/spec", "/status/phase", NULL}},
            {.resource = &API_PERSISTENTVOLUMES,
             .map = map_volume,
             .keep = (const char *const[]){"/spec", "/status/phase", NULL}},
            {.resource = &API_STORAGECLASSES,
             .map = map_claim,
             .keep = (const char *const[]){"/volumeBindingMode", NULL}},
            {.resource = &API_NAMESPACES, .silent = true, .keep = (const char *const[]){NULL}},
            {0},
        },
};
