/* VirtualMachineInstanceMigration: gathers what is to be seen (see), asks migration/phase.h for the next step, and has
 * it performed. Everything that concerns the guest is written with a precondition: a step that was decided on an old
 * copy of the VMI fails with Conflict and is decided anew. */
#include <stdlib.h>

#include "api/volumes.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/str.h"
#include "controllers/launcher_pod.h"
#include "controllers/migration_work.h"
#include "migration/evidence.h"

#define ANNOTATION_UNSCHEDULABLE "kubevirt.io/migrationUnschedulablePodTimeoutSeconds"
#define ANNOTATION_PENDING "kubevirt.io/migrationPendingPodTimeoutSeconds"
#define SOURCE_GONE_MS 10000

static void *state_new(_unused_ struct env *env)
{
    struct migration_state *s = xnew(struct migration_state);

    s->queue = queue_new();
    s->since = map_new(free);
    return s;
}

static void state_free(void *userdata)
{
    struct migration_state *s = userdata;

    queue_free(s->queue);
    map_free(s->since);
    free(s);
}

/* --- what is to be seen --- */

static yyjson_val *find_target(struct migration_work *w)
{
    VEC_EACH(&w->pods, pod)
        if (str_same(meta_label(*pod, LABEL_MIGRATION_UID), meta_uid(w->migration)))
            return *pod;
    return NULL;
}

static yyjson_val *find_named(struct migration_work *w, const char *name)
{
    VEC_EACH(&w->pods, pod)
        if (name && streq(meta_name(*pod), name))
            return *pod;
    return NULL;
}

static void find_objects(struct migration_work *w)
{
    const char *uid = json_str(w->migration, "/status/migrationState/sourceState/virtualMachineInstanceUID");

    w->phase = migration_phase_from(json_str(w->migration, "/status/phase"));
    w->vmi = task_get_ns(w->t, &API_VIRTUALMACHINEINSTANCES, meta_namespace(w->migration),
                         json_str_or(w->migration, "/spec/vmiName", ""));
    if (w->vmi && uid && !streq(uid, meta_uid(w->vmi)))
        w->vmi = NULL; /* a successor of the same name */
    if (!w->vmi)
        return;
    task_select(w->t, &API_PODS, INDEX_OWNER, meta_uid(w->vmi), &w->pods);
    epoch_read(w->vmi, &w->epoch);
    w->ours = w->epoch.number > 0 && str_same(w->epoch.migration_uid, meta_uid(w->migration));
    w->target = find_target(w);
    w->source = w->ours ? find_named(w, w->epoch.source_pod) : owner_pod(w->vmi, &w->pods);
}

static enum migrant_state migrant_state_of(yyjson_val *vmi)
{
    if (!vmi)
        return MIGRANT_ABSENT;
    if (is_final(vmi))
        return MIGRANT_OVER;
    if (meta_deleting(vmi))
        return MIGRANT_ENDING;
    return phase_is(vmi, "Running") ? MIGRANT_RUNNING : MIGRANT_STARTING;
}

static enum target_pod_state target_pod_state_of(yyjson_val *pod)
{
    if (!pod)
        return TARGET_POD_NONE;
    if (is_final(pod) || meta_deleting(pod))
        return TARGET_POD_OVER;
    return json_str(pod, "/spec/nodeName") && condition_true(pod, "Ready") ? TARGET_POD_READY : TARGET_POD_PENDING;
}

/* Another live migration of the VMI that began before this one: it has a phase already, or is the older of two new
 * ones. */
static bool has_rival(struct migration_work *w)
{
    _cleanup_val_vec_ struct val_vec all = {0};
    int64_t created = meta_created(w->migration);
    char key[OBJECT_KEY_MAX];

    task_select(w->t, &API_MIGRATIONS, INDEX_VMI, object_key_of(meta_namespace(w->vmi), meta_name(w->vmi), key), &all);
    VEC_EACH(&all, other) {
        int64_t age = meta_created(*other);
        if (*other == w->migration || is_final(*other))
            continue;
        if (json_str(*other, "/status/phase") || age < created ||
            (age == created && strcmp(meta_uid(*other), meta_uid(w->migration)) < 0))
            return true;
    }
    return false;
}

/* A pod of the VMI that is neither where the guest is nor where it is to go. */
static bool has_other_pods(struct migration_work *w)
{
    VEC_EACH(&w->pods, pod)
        if (*pod != w->source && *pod != w->target && !is_final(*pod))
            return true;
    return false;
}

static yyjson_val *find_claim(void *data, const char *name)
{
    struct migration_work *w = data;

    return task_get_ns(w->t, &API_PERSISTENTVOLUMECLAIMS, meta_namespace(w->vmi), name);
}

static int64_t limit_ms(struct migration_work *w, const char *annotation, int64_t fallback)
{
    const char *text = meta_annotation(w->migration, annotation);
    int64_t seconds = text ? strtoll(text, NULL, 10) : 0;

    return seconds > 0 ? seconds * 1000 : fallback;
}

static int64_t phase_age_ms(struct migration_work *w)
{
    yyjson_val *last = yyjson_arr_get_last(json_at(w->migration, "/status/phaseTransitionTimestamps"));
    const char *text = json_str(last, "/phaseTransitionTimestamp");
    int64_t then = text ? clock_parse(text) : -1;

    return then < 0 ? 0 : MAX(task_wall_ms(w->t) - then, 0);
}

static yyjson_val *node_of(struct migration_work *w, const char *name)
{
    return task_get(w->t, &API_NODES, name ? name : "");
}

/* The agent of the node answers, so a pod that it had would be there. One that has ended is that agent's to tell of. */
static bool source_pod_is_gone(struct migration_work *w)
{
    return !w->source && evidence_side_is_gone(node_of(w, w->epoch.source_node), NULL) &&
           !informer_lost_since(task_informer(w->t, &API_PODS));
}

/* How long `waiting` has been true without a break, as far as this process has seen it. */
static int64_t waited(struct migration_work *w, bool waiting)
{
    int64_t now = task_now_ms(w->t), *since = map_get(w->state->since, w->key);

    if (!waiting) {
        map_remove(w->state->since, w->key);
        return 0;
    }
    if (!since)
        map_put(w->state->since, w->key, xmemdup(&now, sizeof(now)));
    return since ? now - *since : 0;
}

static void see_handover(struct migration_work *w, struct migration_view *v)
{
    yyjson_val *state = json_at(w->vmi, "/status/migrationState");

    v->epoch = w->epoch.state;
    v->published = json_str(state, "/targetNodeAddress") && json_at(state, "/targetDirectMigrationNodePorts");
    v->started = json_str(state, "/startTimestamp") != NULL;
    v->figures = json_at(state, "/progress/totalTimeMs") != NULL;
    v->abort_requested = w->epoch.abort_requested;
    v->withdrawn = w->epoch.withdrawn;
    v->received = w->epoch.received;
    v->phase_ms = phase_age_ms(w);
    v->source_dead = node_declared_dead(w->t, w->epoch.source_node);
    v->target_dead = node_declared_dead(w->t, w->epoch.target_node);
    v->target_gone = evidence_side_is_gone(node_of(w, w->epoch.target_node), find_named(w, w->epoch.target_pod));
    bool gone = v->epoch != EPOCH_CLAIMED && source_pod_is_gone(w);
    v->waited_ms = waited(w, v->epoch == EPOCH_CLAIMED || v->source_dead || gone);
    v->source_gone = gone && v->waited_ms >= SOURCE_GONE_MS;
    if (gone && !v->source_gone)
        task_requeue(w->t, SOURCE_GONE_MS - v->waited_ms);
    v->shared_disk = v->received && evidence_disk_is_shared(w->vmi, find_claim, w);
}

static bool is_refusal(const struct gw_error *err)
{
    return err && (err->reason == GW_INVALID || err->reason == GW_FORBIDDEN || err->reason == GW_BAD_REQUEST);
}

static struct migration_view see(struct migration_work *w)
{
    yyjson_val *scheduled = condition_find(w->target, "PodScheduled"), *able = condition_find(w->vmi, "LiveMigratable");
    struct migration_view v = {
        .phase = w->phase,
        .deleting = meta_deleting(w->migration),
        .migrant = migrant_state_of(w->vmi),
        .target = target_pod_state_of(w->target),
        .unschedulable_limit_ms = limit_ms(w, ANNOTATION_UNSCHEDULABLE, MIGRATION_UNSCHEDULABLE_MS),
        .pending_limit_ms = limit_ms(w, ANNOTATION_PENDING, MIGRATION_POD_PENDING_MS),
        .refused = is_refusal(task_error(w->t)),
    };

    if (!w->vmi)
        return v;
    if (w->target)
        v.target_age_ms = MAX(task_wall_ms(w->t) - meta_created(w->target), 0);
    v.unschedulable = streq(json_str_or(scheduled, "/status", ""), "False") &&
                      streq(json_str_or(scheduled, "/reason", ""), "Unschedulable");
    v.not_migratable = streq(json_str_or(able, "/status", ""), "False");
    v.plugging = !volumes_settled(w->vmi, NULL);
    v.rival = w->phase == MIGRATION_NONE && has_rival(w);
    v.busy = !w->ours && (!epoch_settled(w->epoch.state) || !w->source || has_other_pods(w));
    if (w->ours)
        see_handover(w, &v);
    return v;
}

/* --- reconcile --- */

static enum queue_class class_of(const struct migration_view *v)
{
    if (migration_phase_final(v->phase))
        return QUEUE_NONE;
    if (v->phase >= MIGRATION_SCHEDULING || v->target != TARGET_POD_NONE)
        return QUEUE_ACTIVE;
    return v->phase == MIGRATION_PENDING && !v->deleting && v->migrant == MIGRANT_RUNNING && !v->busy &&
                   !v->not_migratable && !v->refused && !v->plugging
               ? QUEUE_WAITING
               : QUEUE_NONE;
}

static void report_plugging(struct migration_work *w)
{
    const char *name = "";

    (void)volumes_settled(w->vmi, &name);
    task_event(w->t, w->migration, EVENT_NORMAL, "WaitingForVolume",
               "Waits until volume %s is plugged into the VMI, or out of it", name);
}

static void go_on(struct migration_work *w)
{
    struct migration_view v = see(w);
    enum queue_class class = class_of(&v);

    migration_queue_update(w, class);
    if (migration_phase_final(v.phase)) {
        migration_clean_up(w);
        return;
    }
    v.slot = class == QUEUE_WAITING && migration_queue_admit(w);
    struct migration_step step = migration_next(&v);
    if (class == QUEUE_WAITING && !v.slot && step.action == MIGRATION_WAIT)
        migration_queue_report(w);
    if (v.unschedulable && v.target == TARGET_POD_PENDING && step.action == MIGRATION_WAIT)
        migration_report_unschedulable(w);
    if (v.plugging && w->phase == MIGRATION_PENDING && step.action == MIGRATION_WAIT)
        report_plugging(w);
    migration_perform(w, &step);
}

static void reconcile(struct task *t, const char *key)
{
    struct migration_work w = {
        .t = t, .state = task_state(t), .key = key, .migration = task_get(t, &API_MIGRATIONS, key)};

    migration_queue_fill(t, w.state);
    if (w.migration) {
        find_objects(&w);
        go_on(&w);
    } else {
        migration_queue_update(&w, QUEUE_NONE);
        map_remove(w.state->since, key);
    }
    val_vec_done(&w.pods);
}

/* --- what is watched --- */

/* The migrations of a VMI; final ones only if asked for. */
static void add_migrations_of(struct keys *out, const char *ns, const char *name, bool final)
{
    _cleanup_val_vec_ struct val_vec list = {0};
    char key[OBJECT_KEY_MAX];

    informer_select(keys_informer(out, &API_MIGRATIONS), INDEX_VMI, object_key_of(ns, name, key), &list);
    VEC_EACH(&list, migration)
        if (final || !is_final(*migration))
            keys_add_ns(out, ns, meta_name(*migration));
}

/* One that ends concerns the others of its VMI: a rival may start, an old one goes. */
static void map_migration(struct keys *out, yyjson_val *old, yyjson_val *obj)
{
    yyjson_val *any = obj ? obj : old;

    keys_add_ns(out, meta_namespace(any), meta_name(any));
    if (!obj || (is_final(obj) && !(old && is_final(old))))
        add_migrations_of(out, meta_namespace(any), json_str_or(any, "/spec/vmiName", ""), true);
}

static void map_vmi(struct keys *out, yyjson_val *old, yyjson_val *obj)
{
    yyjson_val *any = obj ? obj : old;

    add_migrations_of(out, meta_namespace(any), meta_name(any), !obj);
}

static void map_pod(struct keys *out, yyjson_val *old, yyjson_val *obj)
{
    yyjson_val *any = obj ? obj : old;
    const char *migration = meta_annotation(any, ANNOTATION_MIGRATION_NAME);

    keys_add_ns(out, meta_namespace(any), migration);
    add_migrations_of(out, meta_namespace(any), json_str_or(meta_controller(any), "/name", ""), false);
}

/* A declared death: the pods of the node lead to its migrations. */
static void map_node(struct keys *out, yyjson_val *old, yyjson_val *obj)
{
    _cleanup_val_vec_ struct val_vec pods = {0};

    if (!obj ||
        (old && node_is_dead(old) == node_is_dead(obj) && condition_true(old, "Ready") == condition_true(obj, "Ready")))
        return;
    informer_select(keys_informer(out, &API_PODS), INDEX_NODE, meta_name(obj), &pods);
    VEC_EACH(&pods, pod)
        map_pod(out, NULL, *pod);
}

static void map_settings(struct keys *out, _unused_ yyjson_val *old, _unused_ yyjson_val *obj)
{
    keys_add_all(out, &API_MIGRATIONS);
}

const struct controller migration_controller = {
    .name = "migration",
    .reconcile = reconcile,
    .start = state_new,
    .stop = state_free,
    .parallel = 32,
    .watches =
        (const struct controller_watch[]){
            {.resource = &API_MIGRATIONS,
             .map = map_migration,
             .keep = (const char *const[]){"/spec", "/status", NULL},
             .indexes = (const struct informer_index[]){{INDEX_VMI, index_vmi}, {0}}},
            {.resource = &API_VIRTUALMACHINEINSTANCES, .map = map_vmi},
            {.resource = &API_PODS,
             .map = map_pod,
             .indexes = (const struct informer_index[]){{INDEX_NODE, index_node}, {0}}},
            {.resource = &API_NODES,
             .map = map_node,
             .keep = (const char *const[]){"/spec/taints", "/status/conditions", NULL}},
            {.resource = &API_KUBEVIRTS, .map = map_settings, .keep = (const char *const[]){"/spec", NULL}},
            {.resource = &API_HYPERCONVERGEDS, .map = map_settings, .keep = (const char *const[]){"/spec", NULL}},
            {.resource = &API_MIGRATIONPOLICIES, .silent = true, .keep = (const char *const[]){"/spec", NULL}},
            {.resource = &API_NAMESPACES, .silent = true, .keep = (const char *const[]){"/metadata/labels", NULL}},
            {.resource = &API_PERSISTENTVOLUMECLAIMS,
             .silent = true,
             .keep = (const char *const[]){"/spec/accessModes", NULL}},
            {0}},
};
