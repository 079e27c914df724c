#include "controllers/vm_plan.h"

#include <assert.h>

#include "api/meta.h"

#define BACKOFF_MS 10000
#define BACKOFF_MAX_MS 300000

static const char *const strategies[] = {
    [RUN_ALWAYS] = "Always", [RUN_HALTED] = "Halted",
    [RUN_MANUAL] = "Manual", [RUN_RERUN_ON_FAILURE] = "RerunOnFailure",
    [RUN_ONCE] = "Once",
};
static_assert(ARRAY_SIZE(strategies) == RUN_STRATEGY_MAX, "each strategy needs its name");

static const char *const actions[] = {
    [VM_KEEP] = "keep",   [VM_START] = "start",     [VM_STOP] = "stop",
    [VM_RERUN] = "rerun", [VM_TURN_ON] = "turn on", [VM_RELEASE] = "release",
};
static_assert(ARRAY_SIZE(actions) == VM_ACTION_MAX, "each action needs its name");

const char *run_strategy_string(enum run_strategy s)
{
    return strategies[s];
}

const char *vm_action_string(enum vm_action action)
{
    return actions[action];
}

enum run_strategy run_strategy_of(yyjson_val *vm)
{
    const char *name = json_str(vm, "/spec/runStrategy");

    for (int s = 0; name && s < RUN_STRATEGY_MAX; s++)
        if (streq(strategies[s], name))
            return (enum run_strategy)s;
    return json_bool(vm, "/spec/running", false) ? RUN_ALWAYS : RUN_HALTED;
}

enum instance_state instance_state_of(yyjson_val *vmi)
{
    const char *phase = json_str_or(vmi, "/status/phase", "");

    if (!vmi)
        return INSTANCE_NONE;
    if (meta_deleting(vmi))
        return INSTANCE_DELETING;
    return streq(phase, "Succeeded") ? INSTANCE_SUCCEEDED : streq(phase, "Failed") ? INSTANCE_FAILED : INSTANCE_LIVE;
}

/* Without requests, and but for a strategy that was just set. Rows as in KubeVirt's user guide on run strategies. */
static const enum vm_action table[RUN_STRATEGY_MAX][INSTANCE_STATE_MAX] = {
    [RUN_ALWAYS] = {VM_START, VM_KEEP, VM_STOP, VM_STOP, VM_KEEP},
    [RUN_HALTED] = {VM_KEEP, VM_STOP, VM_STOP, VM_STOP, VM_KEEP},
    [RUN_MANUAL] = {VM_KEEP, VM_KEEP, VM_KEEP, VM_KEEP, VM_KEEP},
    [RUN_RERUN_ON_FAILURE] = {VM_KEEP, VM_KEEP, VM_STOP, VM_RERUN, VM_KEEP},
    [RUN_ONCE] = {VM_KEEP, VM_KEEP, VM_KEEP, VM_KEEP, VM_KEEP},
};

enum vm_action vm_next(const struct vm_view *v)
{
    bool starts_when_set = v->strategy == RUN_RERUN_ON_FAILURE || v->strategy == RUN_ONCE;
    bool starts_when_asked = v->strategy == RUN_RERUN_ON_FAILURE || v->strategy == RUN_MANUAL;

    if (v->instance == INSTANCE_DELETING)
        return VM_KEEP;
    if (v->deleting)
        return v->instance == INSTANCE_NONE ? VM_RELEASE : VM_STOP;
    if (v->instance == INSTANCE_NONE && v->strategy == RUN_HALTED && v->start_asked)
        return VM_TURN_ON;
    if (v->instance == INSTANCE_NONE)
        return (v->strategy_new && starts_when_set) || (v->start_asked && starts_when_asked)
                   ? VM_START
                   : table[v->strategy][INSTANCE_NONE];
    return v->stop_asked ? VM_STOP : table[v->strategy][v->instance];
}

int64_t vm_backoff_ms(int64_t failures)
{
    return failures < 6 ? BACKOFF_MS * failures * failures : BACKOFF_MAX_MS;
}
