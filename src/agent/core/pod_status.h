/* What the agent says of a launcher pod in Pod.status, as a kubelet would. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

struct pod_report {
    const char *phase;          /* "Pending", "Running", "Succeeded", "Failed" */
    const char *waiting_reason; /* why it is not up yet: "ContainerCreating", "ErrImagePull", "FailedMount", ... */
    const char *waiting_message;
    bool ready;                   /* QEMU answers */
    const char *reason, *message; /* of an end */
    int exit_code, signal;
    const char *host_ip, *pod_ip;
    int64_t started_ms; /* wall clock; 0: not yet */
    int64_t finished_ms;
    int64_t now_ms;
    const char *version;
};

/* The least merge patch for the status subresource; NULL when the Pod says all of it already. */
yyjson_mut_doc *pod_status_patch(yyjson_val *pod, const struct pod_report *r);
