#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"
#include "controllers/launcher_pod.h"
#include "controllers/migration_work.h"

#define FINALIZER "kubevirt.io/migrationJobFinalize"
#define KEEP_FINAL 5
#define STATE "/status/migrationState"

/* --- the migration's own status --- */

static void patch_migration(struct migration_work *w, yyjson_mut_doc *patch)
{
    task_patch(w->t, &API_MIGRATIONS, w->migration, "status", true, patch);
}

/* Waiting is over, one way or the other. */
static void drop_queued(struct migration_work *w, yyjson_mut_doc *patch)
{
    if (!condition_find(w->migration, "migrationQueued"))
        return;
    if (!json_mut_at(patch, "/status/conditions"))
        json_set(patch, "/status/conditions", yyjson_val_mut_copy(patch, json_at(w->migration, "/status/conditions")));
    (void)condition_remove(patch, "migrationQueued");
}

static yyjson_mut_doc *enter_patch(struct migration_work *w, enum migration_phase phase)
{
    yyjson_mut_doc *patch = json_object();

    patch_phase(patch, w->migration, migration_phase_string(phase), task_wall_ms(w->t));
    drop_queued(w, patch);
    return patch;
}

/* For which instance it was made: one of the same name that comes later is another one. */
static void enter_pending(struct migration_work *w)
{
    yyjson_mut_doc *patch = enter_patch(w, MIGRATION_PENDING);

    json_set_str(patch, STATE "/migrationUid", meta_uid(w->migration));
    json_set_str(patch, STATE "/sourceState/virtualMachineInstanceUID", meta_uid(w->vmi));
    patch_migration(w, patch);
}

static void set_now(struct migration_work *w, yyjson_mut_doc *d, const char *path)
{
    char now[CLOCK_TEXT_MAX];

    json_set_str(d, path, clock_format(task_wall_ms(w->t), now));
}

/* --- the VMI's migrationState --- */

static void set_all_null(yyjson_mut_doc *d, yyjson_mut_val *into, yyjson_val *old);

/* A merge patch replaces an object only key by key: what old has and the new one lacks is set to null. */
static void set_null(yyjson_mut_doc *d, yyjson_mut_val *into, yyjson_val *key, yyjson_val *value)
{
    yyjson_mut_val *mine = yyjson_mut_obj_get(into, yyjson_get_str(key));

    if (!mine)
        yyjson_mut_obj_add(into, yyjson_val_mut_copy(d, key), yyjson_mut_null(d));
    else if (yyjson_mut_is_obj(mine) && yyjson_is_obj(value))
        set_all_null(d, mine, value);
}

static void set_all_null(yyjson_mut_doc *d, yyjson_mut_val *into, yyjson_val *old)
{
    yyjson_val *key, *value;

    json_each_member(old, key, value)
        set_null(d, into, key, value);
}

static void set_side(struct migration_work *w, yyjson_mut_doc *d, bool source, yyjson_val *pod)
{
    const char *side = source ? STATE "/sourceState" : STATE "/targetState";
    _cleanup_free_ char *domain = xasprintf("%s_%s", meta_namespace(w->vmi), meta_name(w->vmi));
    const struct {
        const char *key, *value;
    } rows[] = {
        {"node", json_str_or(pod, "/spec/nodeName", "")}, {"pod", meta_name(pod)},
        {"migrationUID", meta_uid(w->migration)},         {"domainName", domain},
        {"domainNamespace", meta_namespace(w->vmi)},      {"virtualMachineInstanceUID", meta_uid(w->vmi)},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *path = json_path(side, rows[i].key);
        json_set_str(d, path, rows[i].value);
    }
    json_set_str(d, source ? STATE "/sourceNode" : STATE "/targetNode", rows[0].value);
    json_set_str(d, source ? STATE "/sourcePod" : STATE "/targetPod", rows[1].value);
}

/* The fields of docs/handover.md, section 2, first row; all others of the last migration go. */
static yyjson_mut_doc *hand_off_patch(struct migration_work *w)
{
    struct migration_settings settings;
    yyjson_mut_doc *d = json_object();

    migration_settings_now(w->t, w->vmi, &settings);
    json_set_str(d, STATE "/migrationUid", meta_uid(w->migration));
    set_side(w, d, true, w->source);
    set_side(w, d, false, w->target);
    settings_write(&settings, d, STATE "/migrationConfiguration");
    if (*settings.policy)
        json_set_str(d, STATE "/migrationPolicyName", settings.policy);
    json_set_int(d, STATE "/handover/epoch", w->epoch.number + 1);
    set_all_null(d, json_mut_at(d, STATE), json_at(w->vmi, STATE));
    meta_set_label(d, LABEL_TARGET_NODE, json_str(w->target, "/spec/nodeName"));
    return d;
}

static void hand_off(struct migration_work *w)
{
    task_patch(w->t, &API_VIRTUALMACHINEINSTANCES, w->vmi, NULL, true, hand_off_patch(w));
    patch_migration(w, enter_patch(w, MIGRATION_PREPARING_TARGET));
    task_event(w->t, w->migration, EVENT_NORMAL, "SuccessfulHandOver",
               "Migration target pod is ready for preparation by virt-handler.");
}

static void abort_copy(struct migration_work *w, enum migration_cause cause)
{
    yyjson_mut_doc *patch = json_object(), *mine = json_object();

    json_set_bool(patch, STATE "/abortRequested", true);
    task_patch(w->t, &API_VIRTUALMACHINEINSTANCES, w->vmi, NULL, true, patch);
    if (patch_condition(mine, w->migration, "migrationAbortRequested", "True",
                        cause == CAUSE_CANCELED ? "Canceled" : "Failed", migration_cause_string(cause),
                        task_wall_ms(w->t)))
        patch_migration(w, mine);
    else
        yyjson_mut_doc_free(mine);
    task_event(w->t, w->migration, EVENT_NORMAL, "SuccessfulAbortMigration",
               "Migration is ready to be canceled by virt-handler.");
}

/* --- in the place of agents whose nodes are declared dead --- */

static void take_step(struct migration_work *w, const char *step, const char *node, const char *reason)
{
    yyjson_mut_doc *patch = json_object();
    _cleanup_free_ char *at = xasprintf(STATE "/handover/%s", step);
    _cleanup_free_ char *epoch = json_path(at, "epoch"), *time = json_path(at, "time"), *by = json_path(at, "by");
    _cleanup_free_ char *why = json_path(at, "reason"), *where = json_path(at, "node");

    json_set_int(patch, epoch, w->epoch.number);
    set_now(w, patch, time);
    json_set_str(patch, by, "Controller");
    json_set_str(patch, why, reason);
    if (node)
        json_set_str(patch, where, node);
    task_patch(w->t, &API_VIRTUALMACHINEINSTANCES, w->vmi, NULL, true, patch);
}

static void close_epoch(struct migration_work *w, enum migration_cause cause)
{
    yyjson_mut_doc *patch = json_object();

    json_set_bool(patch, STATE "/completed", true);
    json_set_bool(patch, STATE "/failed", true);
    json_set_str(patch, STATE "/failureReason", migration_cause_string(cause));
    set_now(w, patch, STATE "/endTimestamp");
    task_patch(w->t, &API_VIRTUALMACHINEINSTANCES, w->vmi, NULL, true, patch);
}

/* --- the target pod --- */

static void create_pod(struct migration_work *w)
{
    yyjson_val *node = w->source ? task_get(w->t, &API_NODES, json_str_or(w->source, "/spec/nodeName", "")) : NULL;
    _cleanup_free_ char *name = launcher_pod_name(w->vmi, meta_uid(w->migration));

    task_create(w->t, &API_PODS, meta_namespace(w->vmi), target_pod(w->vmi, w->migration, w->source, node));
    patch_migration(w, enter_patch(w, MIGRATION_SCHEDULING));
    task_event(w->t, w->migration, EVENT_NORMAL, "SuccessfulCreate", "Created migration target pod %s/%s",
               meta_namespace(w->vmi), name);
}

void migration_report_unschedulable(struct migration_work *w)
{
    const char *message = json_str_or(condition_find(w->target, "PodScheduled"), "/message", "");

    task_event(w->t, w->migration, EVENT_WARNING, "migrationTargetPodUnschedulable",
               "Migration target pod for VMI [%s/%s] is currently unschedulable. %s", meta_namespace(w->vmi),
               meta_name(w->vmi), message);
    if (streq(json_str_or(w->vmi, "/spec/domain/cpu/model", "host-model"), "host-model"))
        task_event(
            w->t, w->vmi, EVENT_WARNING, "NoSuitableNodesForHostModelMigration",
            "Migration cannot proceed since no node is suitable to run the required CPU model / required features: %s",
            message);
}

/* --- the end --- */

static void succeed(struct migration_work *w)
{
    yyjson_mut_doc *patch = enter_patch(w, MIGRATION_SUCCEEDED);

    json_set(patch, STATE, yyjson_val_mut_copy(patch, json_at(w->vmi, STATE)));
    patch_migration(w, patch);
    task_event(w->t, w->migration, EVENT_NORMAL, "SuccessfulMigration", "Source node reported migration succeeded");
}

/* What the agents have not told, because they never learned of the migration. */
static void explain(struct migration_work *w, yyjson_mut_doc *patch, const char *why)
{
    json_set_bool(patch, STATE "/completed", true);
    json_set_bool(patch, STATE "/failed", true);
    json_set_str(patch, STATE "/failureReason", why);
    set_now(w, patch, STATE "/endTimestamp");
    json_set_str(patch, STATE "/migrationUid", meta_uid(w->migration));
    if (w->source) {
        json_set_str(patch, STATE "/sourceNode", json_str(w->source, "/spec/nodeName"));
        json_set_str(patch, STATE "/sourcePod", meta_name(w->source));
    }
    if (w->target) {
        json_set_str(patch, STATE "/targetNode", json_str(w->target, "/spec/nodeName"));
        json_set_str(patch, STATE "/targetPod", meta_name(w->target));
    }
}

/* The sentence, and what is known besides it. Caller frees. */
static char *why(struct migration_work *w, enum migration_cause cause)
{
    const char *sentence = migration_cause_string(cause), *more = NULL;
    const struct gw_error *err = task_error(w->t);

    if (cause == CAUSE_SOURCE_REPORTED)
        more = json_str(w->vmi, STATE "/failureReason");
    else if (cause == CAUSE_UNSCHEDULABLE)
        more = json_str(condition_find(w->target, "PodScheduled"), "/message");
    else if (cause ==
             CAUSE_PENDING_TIMEOUT) /* what the node's agent could not do, such as a disk on a full file system */
        more = json_str(w->target, "/status/containerStatuses/0/state/waiting/message");
    else if (cause == CAUSE_TARGET_SHUTDOWN)
        more = json_str(w->target, "/status/message");
    else if (cause == CAUSE_NOT_MIGRATABLE)
        more = json_str(condition_find(w->vmi, "LiveMigratable"), "/message");
    else if (cause == CAUSE_POD_REFUSED && err)
        more = gw_error_message(err);
    return more && *more ? xasprintf("%s: %s", sentence, more) : xstrdup(sentence);
}

static void fail(struct migration_work *w, enum migration_cause cause)
{
    yyjson_mut_doc *patch = enter_patch(w, MIGRATION_FAILED);
    _cleanup_free_ char *text = why(w, cause);

    if (w->ours)
        json_set(patch, STATE, yyjson_val_mut_copy(patch, json_at(w->vmi, STATE)));
    else
        explain(w, patch, text);
    if (cause == CAUSE_CANCELED) {
        if (!json_mut_at(patch, "/status/conditions"))
            json_set(patch, "/status/conditions", yyjson_mut_arr(patch));
        (void)condition_set(patch, "migrationAbortRequested", "True", "Canceled", NULL, task_wall_ms(w->t));
    }
    patch_migration(w, patch);
    task_event(w->t, w->migration, EVENT_WARNING, "FailedMigration", "%s", text);
}

static void enter(struct migration_work *w, const struct migration_step *step)
{
    if (step->phase == MIGRATION_FAILED)
        fail(w, step->cause);
    else if (step->phase == MIGRATION_SUCCEEDED)
        succeed(w);
    else if (step->phase == MIGRATION_PENDING)
        enter_pending(w);
    else
        patch_migration(w, enter_patch(w, step->phase));
}

void migration_perform(struct migration_work *w, const struct migration_step *step)
{
    switch (step->action) {
    case MIGRATION_ENTER:
        enter(w, step);
        break;
    case MIGRATION_CREATE_POD:
        create_pod(w);
        break;
    case MIGRATION_HAND_OFF:
        hand_off(w);
        break;
    case MIGRATION_ABORT:
        abort_copy(w, step->cause);
        break;
    case MIGRATION_GRANT:
        take_step(w, "grant", w->epoch.target_node,
                  "the source node was declared dead; the target holds the complete guest");
        break;
    case MIGRATION_WITHDRAW:
        take_step(w, "withdraw", NULL, "the source node was declared dead before the guest was handed over");
        break;
    case MIGRATION_RETURN:
        take_step(w, "returned", w->epoch.target_node, "the target node was declared dead");
        break;
    case MIGRATION_CLOSE:
        close_epoch(w, step->cause);
        break;
    default:
        break;
    }
    if (step->look_again_ms > 0)
        task_requeue(w->t, step->look_again_ms);
}

/* --- afterwards --- */

/* Whether as many younger final ones of the same VMI are there as are kept. */
static bool is_outdated(struct migration_work *w)
{
    _cleanup_val_vec_ struct val_vec all = {0};
    int64_t created = meta_created(w->migration);
    size_t younger = 0;
    char key[OBJECT_KEY_MAX];

    task_select(w->t, &API_MIGRATIONS, INDEX_VMI,
                object_key_of(meta_namespace(w->migration), json_str_or(w->migration, "/spec/vmiName", ""), key), &all);
    VEC_EACH(&all, other) {
        int64_t age = meta_created(*other);
        younger += is_final(*other) &&
                   (age > created || (age == created && strcmp(meta_uid(*other), meta_uid(w->migration)) > 0));
    }
    return younger >= KEEP_FINAL;
}

void migration_clean_up(struct migration_work *w)
{
    bool failed = w->phase == MIGRATION_FAILED;

    if (failed && w->target && !meta_deleting(w->target))
        task_delete(w->t, &API_PODS, w->target, NULL);
    task_remove_finalizer(w->t, &API_MIGRATIONS, w->migration, FINALIZER);
    if (!meta_deleting(w->migration) && (!w->vmi || is_outdated(w)))
        task_delete(w->t, &API_MIGRATIONS, w->migration, NULL);
}
