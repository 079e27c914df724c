/* What a VirtualMachine's controller does next: the run strategies as a table. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

enum run_strategy { RUN_ALWAYS, RUN_HALTED, RUN_MANUAL, RUN_RERUN_ON_FAILURE, RUN_ONCE, RUN_STRATEGY_MAX };

const char *run_strategy_string(enum run_strategy s);
/* Of a VM's spec: runStrategy, or the older `running`. */
enum run_strategy run_strategy_of(yyjson_val *vm);

/* The VirtualMachineInstance of the VM's name. */
enum instance_state {
    INSTANCE_NONE,
    INSTANCE_LIVE,
    INSTANCE_SUCCEEDED,
    INSTANCE_FAILED,
    INSTANCE_DELETING,
    INSTANCE_STATE_MAX,
};
enum instance_state instance_state_of(yyjson_val *vmi);

struct vm_view {
    enum run_strategy strategy;
    enum instance_state instance;
    bool strategy_new; /* status does not know this strategy yet: it was just set */
    bool start_asked;  /* by status.stateChangeRequests */
    bool stop_asked;   /* the same, for this very instance */
    bool deleting;     /* the VM itself */
};

enum vm_action {
    VM_KEEP,    /* nothing to do */
    VM_START,   /* create the instance */
    VM_STOP,    /* delete it */
    VM_RERUN,   /* the same, and remember to start it again */
    VM_TURN_ON, /* it was halted: Always from now on, and the instance is the next step */
    VM_RELEASE, /* the VM may go */
    VM_ACTION_MAX,
};

enum vm_action vm_next(const struct vm_view *v);
const char *vm_action_string(enum vm_action action);

/* How long to wait after n starts failed in a row, in ms: 10 s times n squared, at most 300 s. */
int64_t vm_backoff_ms(int64_t failures);

/* Hot volumes of a VM whose instance runs (vm_volumes.c): what the instance's spec must be given so that it has those
 * of the VM's template, as a merge patch; NULL when it has. A volume that was added to the instance alone stays. Caller
 * frees. */
yyjson_mut_doc *vm_volumes_patch(yyjson_val *vm, yyjson_val *vmi);
