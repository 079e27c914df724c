#include "migration/evacuation.h"

#include <assert.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

#define BACKOFF_MS 20000
#define BACKOFF_DOUBLINGS 4
#define TAINT_KEY "kubevirt.io/drain"

static const char *const strategies[] = {
    [EVICTION_NONE] = "None",
    [EVICTION_LIVE_MIGRATE] = "LiveMigrate",
    [EVICTION_LIVE_MIGRATE_IF_POSSIBLE] = "LiveMigrateIfPossible",
    [EVICTION_EXTERNAL] = "External",
};
static_assert(ARRAY_SIZE(strategies) == EVICTION_STRATEGY_MAX, "each strategy needs its name");

static const char *const actions[] = {
    [EVACUATION_WITHDRAW] = "withdraw", [EVACUATION_WAIT] = "wait", [EVACUATION_MIGRATE] = "migrate"};
static_assert(ARRAY_SIZE(actions) == EVACUATION_ACTION_MAX, "each action needs its name");

const char *evacuation_action_string(enum evacuation_action action)
{
    return actions[action];
}

enum eviction_strategy eviction_strategy_of(yyjson_val *vmi)
{
    const char *name = json_str_or(vmi, "/spec/evictionStrategy", "");

    for (int s = 0; s < EVICTION_STRATEGY_MAX; s++)
        if (streq(strategies[s], name))
            return (enum eviction_strategy)s;
    return EVICTION_NONE;
}

/* Columns: cannot be migrated, can be (KubeVirt: pod-eviction-admitter). */
static const enum eviction_verdict verdicts[EVICTION_STRATEGY_MAX][2] = {
    [EVICTION_NONE] = {EVICTION_ALLOWED, EVICTION_ALLOWED},
    [EVICTION_LIVE_MIGRATE] = {EVICTION_BLOCKED, EVICTION_MARKS},
    [EVICTION_LIVE_MIGRATE_IF_POSSIBLE] = {EVICTION_ALLOWED, EVICTION_MARKS},
    [EVICTION_EXTERNAL] = {EVICTION_MARKS, EVICTION_MARKS},
};

enum eviction_verdict eviction_verdict(enum eviction_strategy strategy, bool migratable)
{
    return verdicts[strategy][migratable];
}

bool evacuation_is_marked(yyjson_val *vmi)
{
    const char *mark = json_str_or(vmi, "/status/evacuationNodeName", "");

    return *mark && str_same(mark, json_str(vmi, "/status/nodeName"));
}

const char *evacuation_taint_key(yyjson_val *kubevirt)
{
    const char *key = json_str_or(kubevirt, "/spec/configuration/migrations/nodeDrainTaintKey", "");

    return *key ? key : TAINT_KEY;
}

bool evacuation_is_tainted(yyjson_val *node, const char *key)
{
    yyjson_val *taint;

    json_each(json_at(node, "/spec/taints"), taint)
        if (streq(json_str_or(taint, "/key", ""), key) && streq(json_str_or(taint, "/effect", ""), "NoSchedule"))
            return true;
    return false;
}

/* A taint asks only those to leave who want to be moved; others may tolerate it. */
static bool is_wanted(const struct evacuation_view *v)
{
    return v->marked || (v->tainted && (v->strategy == EVICTION_LIVE_MIGRATE ||
                                        (v->strategy == EVICTION_LIVE_MIGRATE_IF_POSSIBLE && v->migratable)));
}

/* Whoever uncordons a node has given up emptying it. KubeVirt goes on until the mark is taken off each VM. */
static bool is_called_off(const struct evacuation_view *v)
{
    return v->was_cordoned && !v->cordoned && !v->tainted && !v->moving;
}

static struct evacuation_step wait_for(enum evacuation_wait what, int64_t look_again_ms)
{
    return (struct evacuation_step){.action = EVACUATION_WAIT, .wait = what, .look_again_ms = look_again_ms};
}

struct evacuation_step evacuation_next(const struct evacuation_view *v)
{
    int64_t pause = evacuation_backoff_ms(v->failures);

    if (!is_wanted(v) || is_called_off(v))
        return (struct evacuation_step){.action = EVACUATION_WITHDRAW};
    if (v->moving || v->queued)
        return wait_for(EVACUATION_FOR_MIGRATION, 0);
    if (v->strategy == EVICTION_EXTERNAL)
        return wait_for(EVACUATION_FOR_OTHERS, 0);
    if (!v->migratable)
        return wait_for(EVACUATION_FOR_MIGRATABLE, 0);
    if (v->crowded)
        return wait_for(EVACUATION_FOR_PODS, 0);
    if (v->failed_ms < pause)
        return wait_for(EVACUATION_FOR_BACKOFF, pause - v->failed_ms);
    return (struct evacuation_step){.action = EVACUATION_MIGRATE};
}

int64_t evacuation_backoff_ms(unsigned failures)
{
    return failures ? (int64_t)BACKOFF_MS << MIN(failures - 1, (unsigned)BACKOFF_DOUBLINGS) : 0;
}
