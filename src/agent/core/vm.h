/* A struct pod as the core sees it, and the parts that act on it. Internal to core/. */
#pragma once

#include "agent/agent.h"
#include "agent/core/patches.h"
#include "agent/core/steps.h"
#include "agent/core/vmi_status.h"
#include "agent/launcher/identity.h"
#include "agent/pod.h"
#include "agent/volumes/volumes.h"
#include "base/map.h"
#include "client/informer.h"

struct job;
struct control;
struct script;

struct hook {
    const struct pod_hooks *hooks;
    void *userdata;
};
VEC_DEFINE(hook_vec, struct hook);

struct core {
    struct agent *agent;
    struct informer *pods;     /* bound to this node */
    struct informer *vmis;     /* label kubevirt.io/nodeName: this node */
    struct informer *arriving; /* label kubevirt.io/migrationTargetNodeName: this node */
    struct hook_vec hooks;
    struct strv dns; /* of the node, for guests */
    struct env_timer *tick;
};

/* Hot disks: what is under way (vm_hotplug.c). The truth is in pod.disks, in QEMU and in the VMI. */
struct hotplug {
    struct volume_report_vec reports; /* what there is to say about some */
    bool observed;                    /* devices and nodes are newer than the last act */
    int replies;                      /* still to come */
    struct strv devices, nodes;       /* ids of devices; names of nodes, and "fdset:N" */
    struct script *script;
    char *attaching; /* name of the volume that is being prepared */
    char *acting;    /* name of the one that the script is about */
    bool blind;      /* one of the replies was a fault */
    struct env_timer *timer;
};

struct vm {
    struct pod pod; /* first: &vm->pod is what others hold */
    struct core *core;

    /* What the server says */
    yyjson_doc *object; /* the Pod; NULL until heard */
    bool vmi_is_noted;  /* pod.vmi is that of vmi.json: the server was not heard about it since */
    enum object_state object_state;
    yyjson_doc *effective; /* the VMI with the volumes that are being prepared, or were last (volumes.h) */
    struct map *objects;   /* "Kind/name" -> yyjson_doc: what volumes refer to */
    struct strv missing;   /* still to be asked for */
    bool objects_complete;
    struct api_call *call;
    struct api_call *vmi_call; /* a fresh look at the VMI, beside whatever else is under way */

    /* What was made on the node */
    struct volume_plan plan;
    struct prepared_volumes volumes;
    bool has_volumes;
    struct launcher_note launcher;
    enum launcher_state launcher_state;
    struct control *control; /* open while the launcher lives */
    struct qmp *session;     /* being made, or ready (then pod.qmp is the same) */
    struct job *job;
    struct env_timer *retry; /* back-off after a failure */
    unsigned failures;

    struct hotplug hotplug;

    /* The guest */
    char *run_state;              /* QEMU's, NULL while unknown */
    bool started;                 /* the guest has been run here, or arrived running: noted in pod.json */
    bool held;                    /* all is ready, and its user lets it run; found anew by each life of the agent */
    int64_t started_ms, ended_ms; /* wall clock */

    /* Its end */
    bool stop_wanted;
    int64_t stop_deadline_ms; /* wall clock, noted: a restarted agent keeps it */
    int64_t powerdown_ms;     /* monotonic, of the last one sent; 0 */
    bool stop_deferred;       /* a hook sees to it */
    bool quits, killed;
    bool conclude_deferred; /* a hook decides */
    bool concluded, succeeded;
    char *end_reason, *end_message;

    char *waiting_reason, *waiting_message;
    struct patches *pod_patches, *vmi_patches;
    struct env_timer *turn; /* vm_turn is due */
    bool gone;              /* forgotten: to be freed in the next turn */
};

static inline struct vm *vm_of(struct pod *p)
{
    return (struct vm *)p;
}

/* vm.c */
struct vm *vm_new(struct core *core, const char *uid, const char *ns, const char *name);
void vm_free(struct vm *vm);
/* Looks and acts in the next turn of the loop. */
void vm_kick(struct vm *vm);
/* A failure that is tried again: shown in the pod's status as waiting. */
void vm_fail(struct vm *vm, const char *reason, const struct gw_error *err);
/* How it ended, for good. */
void vm_conclude(struct vm *vm, bool succeeded, const char *reason, const char *message);

/* pod.c: a stop under way ends sooner, if the pod's object leaves the guest less time than was said when it began. */
void vm_hasten(struct vm *vm);

/* vm_objects.c */
/* Takes the VMI (takes *doc); hooks hear of it. */
void vm_set_vmi(struct vm *vm, yyjson_doc **doc);
void vm_set_object(struct vm *vm, yyjson_val *object);
void vm_refresh_vmi(struct vm *vm);
/* Takes a Pod out of the server at once, if it is still the one of that uid. */
struct api_call *pod_object_delete(struct core *core, const char *ns, const char *name, const char *uid,
                                   api_done_fn done, void *userdata);
/* Both statuses may have changed. */
void vm_touch(struct vm *vm);

/* vm_note.c: pod.json and vmi.json. */
int vm_note_write(struct vm *vm, struct gw_error *err);
int vm_note_read(struct core *core, const char *uid, struct vm **ret, struct gw_error *err);

/* vm_volumes.c: those of vm->effective */
void vm_get_objects(struct vm *vm);
void vm_forget_objects(struct vm *vm);
void vm_prepare_volumes(struct vm *vm);
/* Plans and prepares; the callback comes from the loop, or from within when nothing could be begun. result: NULL on
 * failure, else its disks may be taken. */
typedef void (*vm_prepared_fn)(struct vm *vm, struct prepared_volumes *result, const char *reason,
                               const struct gw_error *err);
void vm_prepare(struct vm *vm, vm_prepared_fn done);

/* vm_hotplug.c */
/* Does the next step for the hot disks of a guest that runs here, if there is one. */
void vm_hotplug(struct vm *vm);
void vm_hotplug_prepared(struct vm *vm, struct prepared_volumes *result, const char *reason,
                         const struct gw_error *err);
void vm_hotplug_event(struct vm *vm, const char *name, yyjson_val *data);
/* Whether time may bring something to do. */
bool vm_hotplug_waits(struct vm *vm);
/* The QMP session is over: what was under way on it is forgotten. */
void vm_hotplug_lost(struct vm *vm);
void vm_hotplug_done(struct vm *vm);

/* vm_start.c */
void vm_get_vmi(struct vm *vm);
void vm_make_network(struct vm *vm);
void vm_launch(struct vm *vm);

/* vm_run.c */
void vm_connect(struct vm *vm);
void vm_disconnect(struct vm *vm);
void vm_run(struct vm *vm);
void vm_powerdown(struct vm *vm);
void vm_kill(struct vm *vm, const char *reason);
/* Reads launcher.json and whether that launcher lives; then exit.json. */
void vm_look_at_launcher(struct vm *vm);
void vm_read_exit(struct vm *vm);
void vm_release(struct vm *vm);
/* False while processes are left in it. */
bool vm_remove_cgroup(struct vm *vm);

/* vm_report.c */
yyjson_mut_doc *vm_wanted_pod(void *userdata);
yyjson_mut_doc *vm_wanted_vmi(void *userdata);

/* Calls a hook member on all. */
#define HOOKS_CALL(vm, member, ...) \
    VEC_EACH(&(vm)->core->hooks, h_) \
        if (h_->hooks->member) \
    h_->hooks->member(h_->userdata, &(vm)->pod __VA_OPT__(, ) __VA_ARGS__)
