#include "controllers/migration_work.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/map.h"
#include "base/str.h"

#define CONDITION "migrationQueued"

/* Places are told exactly in front and roughly behind, so that a long queue does not rewrite all its objects at each
 * step: "among the next 30". */
static const size_t steps[] = {1, 2, 3, 5, 10, 30, 100, 300, 1000, 3000, 10000, 30000};

static size_t rough(size_t place)
{
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
        if (place <= steps[i])
            return steps[i];
    return place;
}

static struct queue_limits limits_now(struct task *t)
{
    struct migration_settings s;

    migration_settings_now(t, NULL, &s);
    return (struct queue_limits){s.parallel_per_cluster, s.parallel_outbound_per_node};
}

/* The node that the guest leaves. */
static const char *source_node(const struct migration_work *w)
{
    return w->ours ? w->epoch.source_node : json_str(w->vmi, "/status/nodeName");
}

static struct queue_item item_of(yyjson_val *migration, const char *node, enum queue_class class)
{
    return (struct queue_item){
        .class = class,
        .node = node,
        .priority = queue_priority(json_str(migration, "/spec/priority")),
        .created_ms = meta_created(migration),
        .uid = meta_uid(migration),
    };
}

/* Whoever may start next looks again; and those whose place has another name now. */
static void wake(struct migration_work *w)
{
    struct queue *q = w->state->queue;
    struct queue_limits limits = limits_now(w->t);
    const char *next = queue_next(q, &limits);

    if (next)
        task_wake(w->t, next);
    for (size_t i = 0; i < ARRAY_SIZE(steps) && steps[i] <= queue_waiting(q); i++)
        task_wake(w->t, queue_at(q, steps[i]));
}

/* At the start everything that is under way counts before anybody is let start. Those that wait come in as they are
 * looked at, all of them before the first answer of the server to any of them. */
void migration_queue_fill(struct task *t, struct migration_state *state)
{
    const char *key;
    yyjson_val *migration;

    if (state->queue_filled)
        return;
    state->queue_filled = true;
    for (size_t at = 0; informer_next(task_informer(t, &API_MIGRATIONS), &at, &key, &migration);) {
        enum migration_phase phase = migration_phase_from(json_str(migration, "/status/phase"));
        yyjson_val *vmi = task_get_ns(t, &API_VIRTUALMACHINEINSTANCES, meta_namespace(migration),
                                      json_str(migration, "/spec/vmiName"));
        bool ours = str_same(json_str(vmi, "/status/migrationState/migrationUid"), meta_uid(migration));
        const char *node =
            ours ? json_str(vmi, "/status/migrationState/sourceNode") : json_str(vmi, "/status/nodeName");
        enum queue_class class = migration_phase_final(phase)         ? QUEUE_NONE
                                 : phase >= MIGRATION_SCHEDULING      ? QUEUE_ACTIVE
                                 : phase == MIGRATION_PENDING && node ? QUEUE_WAITING
                                                                      : QUEUE_NONE;
        struct queue_item item = item_of(migration, node, class);
        (void)queue_set(state->queue, key, &item);
    }
}

void migration_queue_update(struct migration_work *w, enum queue_class class)
{
    struct queue_item item = item_of(w->migration, class == QUEUE_NONE ? NULL : source_node(w), class);

    if (queue_set(w->state->queue, w->key, &item))
        wake(w);
}

bool migration_queue_admit(struct migration_work *w)
{
    struct queue_limits limits = limits_now(w->t);
    const char *next = queue_next(w->state->queue, &limits);

    if (!next)
        return false;
    if (!streq(next, w->key)) {
        task_wake(w->t, next); /* it should know already; but then it would have started */
        return false;
    }
    migration_queue_update(w, QUEUE_ACTIVE);
    return true;
}

void migration_queue_report(struct migration_work *w)
{
    struct queue_limits limits = limits_now(w->t);
    struct queue *q = w->state->queue;
    size_t place = queue_place(q, w->key), about = rough(place);
    bool cluster = (int64_t)queue_active(q) >= limits.cluster;
    _cleanup_free_ char *where = place == about ? xasprintf("place %zu in the queue", place)
                                                : xasprintf("among the next %zu in the queue", about);
    _cleanup_free_ char *message = NULL;
    yyjson_mut_doc *patch = json_object();

    if (cluster)
        message = xasprintf("%s: the cluster runs at most %lld migrations at once (parallelMigrationsPerCluster)",
                            where, (long long)limits.cluster);
    else
        message = xasprintf("%s: node %s sends at most %lld migrations at once (parallelOutboundMigrationsPerNode)",
                            where, source_node(w), (long long)limits.node);
    if (place && patch_condition(patch, w->migration, CONDITION, "True", cluster ? "ClusterLimit" : "NodeLimit",
                                 message, task_wall_ms(w->t)))
        task_patch(w->t, &API_MIGRATIONS, w->migration, "status", true, patch);
    else
        yyjson_mut_doc_free(patch);
}
