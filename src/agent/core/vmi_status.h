/* What the owner's agent says of a VM in VMI.status, as a function of the VMI and of what is known on the node. Pure.
 */
#pragma once

#include "agent/qemu/facts.h"
#include "agent/qemu/disk.h"
#include "base/vec.h"
#include "base/json.h"

#define GODWIT_RUNTIME_USER 107

/* Annotation, "true": QEMU has the guest agent's channel, and so must a migration's target. */
#define VMI_HOTPLUG_SOCKETS "godwit.io/hotplug-sockets"
#define VMI_GUEST_AGENT_CHANNEL "godwit.io/guest-agent-channel"

enum vm_phase { VM_SCHEDULED, VM_RUNNING, VM_SUCCEEDED, VM_FAILED, VM_PHASE_MAX };
const char *vm_phase_string(enum vm_phase phase);

/* What there is to say about one hot volume besides the phase of its disk; or, where it has no disk yet, at all. */
struct volume_report {
    char *name;
    char *reason, *message; /* NULL: what belongs to its phase */
    bool bound;             /* its claim is; for one without a disk */
    bool failed;            /* QEMU refused it, and it has not been forgotten yet */
    unsigned failures;
    int64_t again_ms;            /* monotonic: not tried again before; 0 */
    int64_t asked_ms, unplug_ms; /* the guest was asked to let go of it: last, and first; 0 */
};
VEC_DEFINE(volume_report_vec, struct volume_report);

struct vmi_report {
    const char *node, *pod_uid;
    enum vm_phase phase;
    const char *reason; /* status.reason of a final phase, and Ready's; NULL: none */
    const char *message;
    bool ready;                /* the guest runs */
    const char *paused_reason; /* "PausedByUser", "PausedIOError"; NULL: it is not paused */
    const char *vm_address;    /* NULL without a pod network */
    const char *machine;       /* NULL until QEMU was started */
    const char *cpu;           /* recorded for migration targets */
    const char *kernel_digest; /* the same; NULL without kernelBoot */
    bool has_sockets;          /* the same: VMI_HOTPLUG_SOCKETS */
    bool has_channel;          /* the same: VMI_GUEST_AGENT_CHANNEL */
    yyjson_val *guest;         /* what is known of the agent inside (guest_status.h); NULL: nothing yet */
    const struct disk_vec *disks;
    const struct strv *digests;              /* per disk; may be shorter */
    const struct volume_report_vec *volumes; /* NULL: none */
    const struct qemu_facts *facts;
    int64_t memory; /* bytes */
    int64_t now_ms; /* wall clock */
    int64_t monotonic_ms;
    const char *version; /* of this program */
};

/* The least merge patch that makes the VMI say what the report says; NULL when it does already. A patch carries the
 * resourceVersion of vmi when it replaces a list. Transition times are kept where nothing changed. */
yyjson_mut_doc *vmi_status_patch(yyjson_val *vmi, const struct vmi_report *r);

struct migratable {
    const char *reason; /* NULL: it is */
    char *message;      /* freed by the caller */
};

/* The check of KubeVirt's node agent, in its order: the first obstacle is the one that is told. */
struct migratable vmi_migratable(yyjson_val *vmi, const struct vmi_report *r);

/* "BlockMigration" if disks travel, else "LiveMigration". */
const char *vmi_migration_method(yyjson_val *vmi);
