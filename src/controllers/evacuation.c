/* Empties nodes: a VMI that was marked by an eviction of its pod (apiserver/pod_eviction.c), or whose node carries the
 * drain taint, gets a migration, and another one after each that failed, until it has left or nobody wants it to
 * any more. How many run at once is the migration controller's matter. Condition EvictionRequested says what it waits
 * for; it begins with the request, so failures count from there.
 *
 * Uncordoning a node calls off what has not begun. That a node was cordoned while a VMI on it was marked is noted in
 * an annotation: an eviction without a cordon, as a descheduler asks for, is not to be taken for one that was given up.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"
#include "controllers/kubevirt.h"
#include "migration/evacuation.h"
#include "migration/phase.h"

#define GENERATE_NAME "kubevirt-evacuation-"
#define ANNOTATION_CORDONED "godwit.io/cordoned-node"

struct evacuation {
    struct task *t;
    yyjson_val *vmi, *node; /* node NULL: unknown */
    struct val_vec migrations;
    yyjson_val *under_way;   /* the migration that is not final, NULL if there is none */
    yyjson_val *last_failed; /* of those that were made here since the request */
    struct evacuation_view view;
};

/* --- what is to be seen --- */

static bool has_begun(yyjson_val *migration)
{
    return migration_phase_from(json_str(migration, "/status/phase")) >= MIGRATION_SCHEDULING;
}

static bool is_ours(yyjson_val *migration)
{
    return meta_annotation(migration, ANNOTATION_EVACUATION) != NULL;
}

/* In ms; -1 when it is not over. */
static int64_t ended_at(yyjson_val *migration)
{
    yyjson_val *last = yyjson_arr_get_last(json_at(migration, "/status/phaseTransitionTimestamps"));
    const char *text = json_str(last, "/phaseTransitionTimestamp");

    return is_final(migration) && text ? clock_parse(text) : -1;
}

/* When it was asked for, in whole seconds as the API has them; the present when that is now. */
static int64_t asked_at(const struct evacuation *e)
{
    const char *text = json_str(condition_find(e->vmi, CONDITION_EVICTION), "/lastTransitionTime");

    return text ? clock_parse(text) : task_wall_ms(e->t) / 1000 * 1000;
}

/* A migration that succeeded has ended the evacuation that it was for. */
static void count_failures(struct evacuation *e)
{
    int64_t since = asked_at(e), last = -1;

    VEC_EACH(&e->migrations, m) {
        if (!phase_is(*m, "Failed") || !is_ours(*m) || meta_deleting(*m) || meta_created(*m) < since)
            continue;
        e->view.failures++;
        if (ended_at(*m) > last) {
            last = ended_at(*m);
            e->last_failed = *m;
        }
    }
    e->view.failed_ms = last < 0 ? 0 : MAX(task_wall_ms(e->t) - last, 0);
}

static size_t active_pods(yyjson_val *vmi)
{
    return yyjson_obj_size(json_at(vmi, "/status/activePods"));
}

static yyjson_val *kubevirt(struct task *t)
{
    yyjson_val *obj = NULL;
    size_t at = 0;

    return informer_next(task_informer(t, &API_KUBEVIRTS), &at, NULL, &obj) ? obj : NULL;
}

static void see(struct evacuation *e)
{
    char key[OBJECT_KEY_MAX];
    const char *node = json_str(e->vmi, "/status/nodeName");

    e->node = node ? task_get(e->t, &API_NODES, node) : NULL;
    task_select(e->t, &API_MIGRATIONS, INDEX_VMI, object_key(e->vmi, key), &e->migrations);
    VEC_EACH(&e->migrations, m)
        if (!is_final(*m) && (!e->under_way || has_begun(*m)))
            e->under_way = *m;
    e->view = (struct evacuation_view){
        .strategy = eviction_strategy_of(e->vmi),
        .migratable = condition_true(e->vmi, "LiveMigratable"),
        .marked = evacuation_is_marked(e->vmi),
        .tainted = e->node && evacuation_is_tainted(e->node, evacuation_taint_key(kubevirt(e->t))),
        .cordoned = e->node && json_bool(e->node, "/spec/unschedulable", false),
        .was_cordoned = node && str_same(meta_annotation(e->vmi, ANNOTATION_CORDONED), node),
        .queued = e->under_way && !has_begun(e->under_way),
        .moving = e->under_way && has_begun(e->under_way),
        .crowded = active_pods(e->vmi) > 1,
    };
    count_failures(e);
}

/* --- what is said --- */

/* The same cause, the same name: whose answer is lost is not made twice. */
static char *new_name(const struct evacuation *e)
{
    _cleanup_free_ char *seed = xasprintf("%s/%s/%lld/%u", meta_uid(e->vmi), json_str(e->vmi, "/status/nodeName"),
                                          (long long)asked_at(e), e->view.failures);
    char suffix[6];

    return xasprintf(GENERATE_NAME "%s", name_suffix(seed, suffix));
}

static char *say_not_migratable(const struct evacuation *e)
{
    yyjson_val *able = condition_find(e->vmi, "LiveMigratable");

    return able ? xasprintf("the VM cannot be migrated: %s: %s", json_str_or(able, "/reason", "no reason given"),
                            json_str_or(able, "/message", ""))
                : xstrdup("the VM cannot be migrated before its guest runs");
}

static char *say_backoff(const struct evacuation *e)
{
    char time[CLOCK_TEXT_MAX];
    int64_t next = task_wall_ms(e->t) - e->view.failed_ms + evacuation_backoff_ms(e->view.failures);

    return xasprintf("%u migration%s failed, the last one because: %s; the next one begins at %s", e->view.failures,
                     e->view.failures > 1 ? "s" : "",
                     json_str_or(e->last_failed, "/status/migrationState/failureReason", "no reason given"),
                     clock_format(next, time));
}

/* Why the migration is not under way yet, as far as others say: its place in the queue, or no node for its pod. NULL if
 * nobody says anything. */
static const char *held_up_by(const struct evacuation *e)
{
    _cleanup_val_vec_ struct val_vec pods = {0};
    const char *uid = meta_uid(e->under_way);

    if (condition_true(e->under_way, "migrationQueued"))
        return json_str(condition_find(e->under_way, "migrationQueued"), "/message");
    task_select(e->t, &API_PODS, INDEX_OWNER, meta_uid(e->vmi), &pods);
    VEC_EACH(&pods, pod) {
        yyjson_val *scheduled = condition_find(*pod, "PodScheduled");
        if (str_same(meta_label(*pod, LABEL_MIGRATION_UID), uid) &&
            streq(json_str_or(scheduled, "/status", ""), "False"))
            return json_str(scheduled, "/message");
    }
    return NULL;
}

static char *say_migration(const struct evacuation *e, const char *new_migration)
{
    const char *why = new_migration ? NULL : held_up_by(e);
    const char *name = new_migration ? new_migration : meta_name(e->under_way);
    const struct gw_error *err = task_error(e->t);

    if (new_migration && err && task_failures(e->t) > 1)
        return xasprintf("migration %s cannot be created: %s", name, gw_error_message(err));
    return xasprintf("migration %s is to move the VM%s%s", name, why ? "; " : "", why ? why : "");
}

/* Caller frees. */
static char *explain(const struct evacuation *e, const struct evacuation_step *step, const char *new_migration)
{
    switch (step->wait) {
    case EVACUATION_FOR_OTHERS:
        return xstrdup("eviction strategy External: somebody else is to move or stop the VM");
    case EVACUATION_FOR_MIGRATABLE:
        return say_not_migratable(e);
    case EVACUATION_FOR_PODS:
        return xstrdup("another pod of the VM has not ended yet");
    case EVACUATION_FOR_BACKOFF:
        return say_backoff(e);
    default:
        return say_migration(e, new_migration);
    }
}

static void tell(const struct evacuation *e, const struct evacuation_step *step, const char *text)
{
    if (step->wait == EVACUATION_FOR_MIGRATABLE)
        task_event(e->t, e->vmi, EVENT_WARNING, "FailedCreate", "VirtualMachineInstance is not migrateable: %s", text);
    else if (step->wait == EVACUATION_FOR_BACKOFF)
        task_event(e->t, e->vmi, EVENT_WARNING, "MigrationBackoff", "backoff migrating vmi %s/%s: %s",
                   meta_namespace(e->vmi), meta_name(e->vmi), text);
}

/* The condition, and the note that its node is cordoned. */
static void report(const struct evacuation *e, const struct evacuation_step *step, const char *new_migration)
{
    yyjson_mut_doc *patch = json_object();
    _cleanup_free_ char *text = explain(e, step, new_migration);
    bool changed =
        patch_condition(patch, e->vmi, CONDITION_EVICTION, "True", CONDITION_EVICTION, text, task_wall_ms(e->t));
    bool noted = e->view.marked && e->view.cordoned && !e->view.was_cordoned;

    if (noted)
        meta_set_annotation(patch, ANNOTATION_CORDONED, meta_name(e->node));
    if (!changed && !noted) {
        yyjson_mut_doc_free(patch);
        return;
    }
    task_patch(e->t, &API_VIRTUALMACHINEINSTANCES, e->vmi, NULL, true, patch);
    if (changed)
        tell(e, step, text);
}

/* --- what is done --- */

static const char *priority(yyjson_val *vmi)
{
    bool maintenance = str_same(meta_annotation(vmi, ANNOTATION_EVICTION_SOURCE), EVICTION_BY_DESCHEDULER);

    return maintenance ? "system-maintenance" : "system-critical";
}

static void migrate(const struct evacuation *e, const struct evacuation_step *step)
{
    yyjson_mut_doc *d = json_object();
    _cleanup_free_ char *name = new_name(e);

    report(e, step, name); /* first: it dates the request */
    json_set_str(d, "/metadata/generateName", GENERATE_NAME);
    json_set_str(d, "/metadata/name", name);
    meta_set_annotation(d, ANNOTATION_EVACUATION, json_str(e->vmi, "/status/nodeName"));
    json_set_str(d, "/spec/vmiName", meta_name(e->vmi));
    json_set_str(d, "/spec/priority", priority(e->vmi));
    task_create(e->t, &API_MIGRATIONS, meta_namespace(e->vmi), d);
    task_event(e->t, e->vmi, EVENT_NORMAL, "SuccessfulCreate", "Created Migration %s", name);
}

static void withdraw(const struct evacuation *e)
{
    yyjson_mut_doc *patch = json_object();

    if (e->view.marked)
        json_set(patch, "/status/evacuationNodeName", yyjson_mut_null(patch));
    if (meta_annotation(e->vmi, ANNOTATION_CORDONED))
        json_set(patch, "/metadata/annotations/godwit.io~1cordoned-node", yyjson_mut_null(patch));
    if (meta_annotation(e->vmi, ANNOTATION_EVICTION_SOURCE))
        json_set(patch, "/metadata/annotations/kubevirt.io~1eviction-source", yyjson_mut_null(patch));
    if (condition_find(e->vmi, CONDITION_EVICTION)) {
        json_set(patch, "/status/conditions", yyjson_val_mut_copy(patch, json_at(e->vmi, "/status/conditions")));
        (void)condition_remove(patch, CONDITION_EVICTION);
    }
    if (yyjson_mut_obj_size(patch->root))
        task_patch(e->t, &API_VIRTUALMACHINEINSTANCES, e->vmi, NULL, true, patch);
    else
        yyjson_mut_doc_free(patch);
    VEC_EACH(&e->migrations, m)
        if (is_ours(*m) && !is_final(*m) && !has_begun(*m) && !meta_deleting(*m)) {
            task_delete(e->t, &API_MIGRATIONS, *m, NULL);
            task_event(e->t, e->vmi, EVENT_NORMAL, "SuccessfulDelete", "Withdrew Migration %s: nobody asks for it",
                       meta_name(*m));
        }
}

static void reconcile(struct task *t, const char *key)
{
    struct evacuation e = {.t = t, .vmi = task_get(t, &API_VIRTUALMACHINEINSTANCES, key)};

    if (!e.vmi || is_final(e.vmi) || meta_deleting(e.vmi))
        return;
    see(&e);
    struct evacuation_step step = evacuation_next(&e.view);
    if (step.action == EVACUATION_WITHDRAW)
        withdraw(&e);
    else if (step.action == EVACUATION_MIGRATE)
        migrate(&e, &step);
    else
        report(&e, &step, NULL);
    if (step.look_again_ms > 0)
        task_requeue(t, step.look_again_ms);
    val_vec_done(&e.migrations);
}

/* --- what is watched --- */

static void index_vmi_node(yyjson_val *vmi, struct index_values *out)
{
    if (json_str(vmi, "/status/nodeName"))
        index_value(out, json_str(vmi, "/status/nodeName"));
}

static void map_migration(struct keys *out, yyjson_val *old, yyjson_val *obj)
{
    yyjson_val *any = obj ? obj : old;

    keys_add_ns(out, meta_namespace(any), json_str(any, "/spec/vmiName"));
}

static void map_node(struct keys *out, yyjson_val *old, yyjson_val *obj)
{
    _cleanup_val_vec_ struct val_vec vmis = {0};

    if (!obj || (old && json_equal(json_at(old, "/spec"), json_at(obj, "/spec"))))
        return;
    informer_select(keys_informer(out, &API_VIRTUALMACHINEINSTANCES), INDEX_NODE, meta_name(obj), &vmis);
    VEC_EACH(&vmis, vmi)
        keys_add_ns(out, meta_namespace(*vmi), meta_name(*vmi));
}

static void map_settings(struct keys *out, _unused_ yyjson_val *old, _unused_ yyjson_val *obj)
{
    keys_add_all(out, &API_VIRTUALMACHINEINSTANCES);
}

const struct controller evacuation_controller = {
    .name = "evacuation",
    .reconcile = reconcile,
    .watches =
        (const struct controller_watch[]){
            {.resource = &API_VIRTUALMACHINEINSTANCES,
             .indexes = (const struct informer_index[]){{INDEX_NODE, index_vmi_node}, {0}}},
            {.resource = &API_MIGRATIONS,
             .map = map_migration,
             .keep = (const char *const[]){"/spec", "/status", NULL},
             .indexes = (const struct informer_index[]){{INDEX_VMI, index_vmi}, {0}}},
            {.resource = &API_NODES,
             .map = map_node,
             .keep = (const char *const[]){"/spec/taints", "/spec/unschedulable", NULL}},
            {.resource = &API_PODS,
             .owner_kind = "VirtualMachineInstance",
             .keep = (const char *const[]){"/status/conditions", NULL}},
            {.resource = &API_KUBEVIRTS, .map = map_settings, .keep = (const char *const[]){"/spec", NULL}},
            {0}},
};
