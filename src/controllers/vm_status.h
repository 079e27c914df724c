/* VirtualMachine.status as a function of the VM and its instance. Pure. */
#pragma once

#include "base/json.h"
#include "controllers/vm_plan.h"

struct vm_report {
    yyjson_val *vm, *vmi;     /* vmi NULL: there is none */
    const char *run_strategy; /* to be recorded; NULL: leave what is there */
    const char *failure;      /* why the instance could not be created; NULL: no such failure */
    int64_t now_ms;           /* wall clock */
};

/* The merge patch {"status": ...} that makes status right, NULL if it is. To be sent with precondition. */
yyjson_mut_doc *vm_status_patch(const struct vm_report *r);

/* The word for people, KubeVirt's first-match list. */
const char *vm_printable_status(const struct vm_report *r);
