/* The parts of the VirtualMachineInstance controller: vmi.c follows its life, vmi_start.c brings it to a node. */
#pragma once

#include "controllers/addresses.h"
#include "controllers/kubevirt.h"
#include "migration/epoch.h"

/* So long an agent has to say itself how its VM ended, and a cache to catch up. */
#define VMI_PATIENCE_MS 5000

/* Kept by the running controller; all of it can be lost. */
struct vmi_state {
    struct addresses *addresses;
    struct map *over; /* VMI key -> int64_t *: since when (monotonic ms) its owner's pod is known to be over */
};

/* What one reconcile looks at. */
struct vmi_work {
    struct task *t;
    struct vmi_state *state;
    const char *key;
    yyjson_val *vmi;
    struct val_vec pods;
    struct epoch epoch;
};

/* --- vmi_start.c --- */

/* Gives it its address, for life. */
void vmi_allocate(struct vmi_work *w);
/* Takes the claims that one VM has at a time, as far as nobody else has them; the claims' own annotation says who. */
void vmi_take_claims(struct vmi_work *w);
/* Makes the first launcher pod, or says what it waits for. */
void vmi_create_pod(struct vmi_work *w);
/* Phase Scheduling: what keeps the pod from its node or its start, for the VMI's user to read. */
void vmi_schedule(struct vmi_work *w, yyjson_val *pod);
