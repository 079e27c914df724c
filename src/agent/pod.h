/* One launcher pod on this node: what the parts of the agent share about it.
 *
 * The core (core/) takes a pod from its binding to its end: volumes, network, launcher, QEMU, status. Whoever has more
 * to do with some pods, such as the migration driver, registers hooks and hears of the steps, and says through the
 * functions below what is to come of the guest. Everything runs on the agent's one loop; fields are read-only outside
 * the core.
 *
 * On disk, STATE/pods/<uid>/ belongs to root and holds the notes (pod.json, launcher.json, exit.json, handover.json
 * ...); run/ and disks/ in it belong to QEMU's user and are all that QEMU sees of it, at the same absolute paths. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/qemu/disk.h"
#include "base/error.h"
#include "base/json.h"
#include "qmp/qmp.h"

struct agent;
struct pod_network;

/* In order; each is left for a later one only (core/steps.c). */
enum pod_step {
    POD_NEW,     /* bound to this node, nothing done */
    POD_VOLUMES, /* disks are being prepared */
    POD_NETWORK,
    POD_LAUNCHING, /* the launcher is asked to start QEMU, or an adopted one is being asked how it is */
    POD_UP,        /* QEMU answers on QMP: the guest runs, or a target waits for its migration */
    POD_STOPPING,  /* powerdown was sent; killed when the grace period is over */
    POD_ENDED,     /* QEMU is gone, exit is known */
    POD_RELEASED,  /* nothing is left on the node but the notes, kept until the Pod object is gone */
    POD_STEP_MAX,
};
const char *pod_step_string(enum pod_step step);

/* How QEMU ended, as the launcher noted it in exit.json (or the agent, where the launcher was killed). */
struct pod_exit {
    bool known;
    char *reason;  /* "guest-shutdown", "guest-panic", "host-qmp-quit", "host-signal", "launcher-killed",
                    * "start-failed", "node-rebooted", "crashed" */
    int code;      /* exit code, or -1 */
    int signal;    /* the signal that ended it, or 0 */
    char *message; /* for people: the tail of QEMU's stderr, or what could not be started */
};

struct pod {
    struct agent *agent;
    char *uid, *ns, *name; /* the Pod object */
    char *vmi_name, *vmi_uid;
    char *migration_uid; /* label kubevirt.io/migrationJobUID: this is (or was) a target. NULL otherwise */
    char *dir;           /* STATE/pods/<uid>, root's */
    char *run_dir;       /* <dir>/run, QEMU's: sockets, TLS credentials */
    uid_t qemu_uid;
    gid_t qemu_gid;

    enum pod_step step;
    bool owner;            /* its QEMU is the one that may run the guest (docs/handover.md) */
    yyjson_doc *vmi;       /* the VMI as the server has it now (follows the watch); its last state once deleted */
    struct disk_vec disks; /* in the order of spec.domain.devices.disks; disk number = index */
    const struct pod_network *network;
    char *machine;    /* versioned machine type QEMU was started with, "pc-q35-10.0" */
    char *cpu;        /* the CPU argument it was started with */
    bool has_sockets; /* QEMU has what disks are plugged into: the same holds, and the spec may have left it out */
    bool has_channel; /* QEMU has the guest agent's channel: it does unless an earlier version started the VM */
    int64_t memory;   /* bytes of guest RAM */
    struct qmp *qmp;  /* ready session, or NULL */
    pid_t qemu_pid;   /* 0 while unknown */
    /* Why the guest stands still though it may run: "PausedByUser", "PausedIOError"; NULL while it does not. */
    const char *paused_reason;
    yyjson_doc *guest; /* what is known of the agent inside the guest (core/guest_status.h); NULL: nothing yet */
    struct pod_exit exit;
    void *migration; /* the migration driver's own */
};

/* Called in the order of registration. Members may be NULL. */
struct pod_hooks {
    /* The QMP session is ready: after the start, and again after the agent restarted and adopted the pod. Read state.
     */
    void (*attached)(void *userdata, struct pod *p);
    void (*event)(void *userdata, struct pod *p, const char *name, yyjson_val *data, int64_t time_us);
    /* The VMI's status or spec changed on the server (p->vmi is the new one). */
    void (*vmi_changed)(void *userdata, struct pod *p);
    /* QEMU is gone; p->exit says how. True: the hook decides what becomes of VMI and pod and calls pod_finish; the core
     * then writes nothing of its own accord. */
    bool (*ended)(void *userdata, struct pod *p);
    /* The Pod object is being deleted or the VMI is to stop. True: the hook sees to it (a migration under way first has
     * to be settled) and calls pod_stop when it is time. */
    bool (*stopping)(void *userdata, struct pod *p);
    /* The pod is forgotten: free what hangs on it. */
    void (*gone)(void *userdata, struct pod *p);
};

void agent_add_pod_hooks(struct agent *a, const struct pod_hooks *hooks, void *userdata);

/* The pod with that uid, the pod on this node that runs or prepares a migration of that uid (its target), or the
 * owner's pod of a VMI; NULL when there is none. */
struct pod *agent_pod(struct agent *a, const char *uid);
struct pod *agent_target_pod(struct agent *a, const char *migration_uid);
struct pod *agent_vmi_pod(struct agent *a, const char *vmi_uid);

/* Ownership of the guest passes to this pod, or away from it. The new owner writes the VMI's status from then on; one
 * that lost it writes the Pod's only. Noted durably in pod.json. */
int pod_set_owner(struct pod *p, bool owner, struct gw_error *err);

/* What is known of the agent inside the guest from now on (takes doc); the status follows if it is anything new. */
void pod_set_guest(struct pod *p, yyjson_doc *doc);

/* Asks QEMU afresh whether the guest runs; paused_reason and the status follow. */
void pod_look(struct pod *p);

/* Begins the graceful end: ACPI powerdown, then after grace_s kill. 0: kill at once; -1: the VMI's own grace period. */
void pod_stop(struct pod *p, int grace_s);

/* Asks QEMU to quit, now, without the guest's cooperation: a source whose guest has left, a target that is not to run.
 */
void pod_quit(struct pod *p);

/* After `ended` returned true: the Pod's phase becomes "Succeeded" or "Failed" with reason and message, and if this pod
 * is the owner, so does the VMI's. */
void pod_finish(struct pod *p, bool succeeded, const char *reason, const char *message);

/* Events for people on the Pod's VMI; type EVENT_NORMAL or EVENT_WARNING. */
void pod_event(struct pod *p, const char *type, const char *reason, const char *fmt, ...) _printf_(4, 5);

/* A merge patch of the VMI ({"status": {...}} or more), queued behind the core's own and retried until the server has
 * it or refuses it. done may be NULL; err NULL means written. */
void pod_patch_vmi(struct pod *p, yyjson_mut_doc *patch, void (*done)(void *userdata, const struct gw_error *err),
                   void *userdata);
