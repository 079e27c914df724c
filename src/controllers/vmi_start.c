/* How a VM comes to a node: its address, its claims, its first launcher pod; and what it waits for meanwhile. */
#include "api/volumes.h"
#include "base/alloc.h"
#include "base/str.h"
#include "controllers/launcher_pod.h"
#include "controllers/vmi_work.h"

/* The first claim that is not there, NULL if all are. */
static const char *missing_claim(struct vmi_work *w)
{
    yyjson_val *volume;

    json_each(json_at(w->vmi, "/spec/volumes"), volume) {
        const char *claim = volume_claim(volume);
        if (claim && !task_get_ns(w->t, &API_PERSISTENTVOLUMECLAIMS, meta_namespace(w->vmi), claim))
            return claim;
    }
    return NULL;
}

/* A condition by itself; nothing if it is so already. */
static void say(struct vmi_work *w, const char *type, const char *status, const char *reason, const char *message)
{
    yyjson_mut_doc *patch = json_object();

    if (patch_condition(patch, w->vmi, type, status, reason, message, task_wall_ms(w->t)))
        task_patch(w->t, &API_VIRTUALMACHINEINSTANCES, w->vmi, NULL, true, patch);
    else
        yyjson_mut_doc_free(patch);
}

/* The instance that has the claim and needs it still; NULL: it may be taken. */
static yyjson_val *user_of(struct vmi_work *w, yyjson_val *claim)
{
    _cleanup_free_ char *name = NULL;
    const char *uid;
    yyjson_val *vmi = claim_user(claim, &name, &uid)
                          ? task_get_ns(w->t, &API_VIRTUALMACHINEINSTANCES, meta_namespace(claim), name)
                          : NULL;

    return claim_is_in_use(claim, vmi) ? vmi : NULL;
}

static void take(struct vmi_work *w, yyjson_val *claim)
{
    _cleanup_free_ char *text = claim_user_text(w->vmi);
    yyjson_mut_doc *patch = json_object();

    meta_set_annotation(patch, ANNOTATION_USED_BY, text);
    task_patch(w->t, &API_PERSISTENTVOLUMECLAIMS, claim, NULL, true, patch);
}

/* Takes the claims that one VM has at a time. True when it has all of them; *ret_wanted is one that another has. */
static bool take_all(struct vmi_work *w, const char **ret_wanted, yyjson_val **ret_user)
{
    yyjson_val *volume;
    bool all = true;

    json_each(json_at(w->vmi, "/spec/volumes"), volume) {
        const char *name = volume_claim(volume);
        yyjson_val *claim = name ? task_get_ns(w->t, &API_PERSISTENTVOLUMECLAIMS, meta_namespace(w->vmi), name) : NULL;
        if (!claim || claim_is_given_to(claim, w->vmi))
            continue;
        yyjson_val *user = user_of(w, claim);
        all = false;
        if (user) {
            *ret_wanted = name;
            *ret_user = user;
        } else {
            take(w, claim);
        }
    }
    return all;
}

void vmi_take_claims(struct vmi_work *w)
{
    const char *wanted;
    yyjson_val *user;

    (void)take_all(w, &wanted, &user);
}

static void wait_for_claim(struct vmi_work *w, const char *claim, yyjson_val *user)
{
    _cleanup_free_ char *message =
        xasprintf("pvc %s/%s is in use by virtual machine instance %s: it starts when that one has ended",
                  meta_namespace(w->vmi), claim, meta_name(user));

    say(w, "Synchronized", "False", "PvcInUse", message);
}

void vmi_create_pod(struct vmi_work *w)
{
    const char *claim = missing_claim(w), *address = meta_annotation(w->vmi, ANNOTATION_ADDRESS);
    const struct gw_error *err = task_error(w->t);
    const char *wanted = NULL;
    yyjson_val *user = NULL;
    _cleanup_free_ char *name = launcher_pod_name(w->vmi, meta_uid(w->vmi));

    if (claim) {
        _cleanup_free_ char *message =
            xasprintf("failed to find pvc %s/%s: create it, or name another claim", meta_namespace(w->vmi), claim);
        say(w, "Synchronized", "False", "FailedPvcNotFound", message);
        return;
    }
    if (!take_all(w, &wanted, &user)) {
        if (user)
            wait_for_claim(w, wanted, user);
        return;
    }
    if (err)
        say(w, "Synchronized", "False", "FailedCreate", gw_error_message(err));
    task_create(w->t, &API_PODS, meta_namespace(w->vmi), launcher_pod(w->vmi, address));
    task_event(w->t, w->vmi, EVENT_NORMAL, "SuccessfulCreate", "Created virtual machine pod %s", name);
}

void vmi_allocate(struct vmi_work *w)
{
    const char *address = addresses_pick(w->state->addresses, w->t, w->key, meta_uid(w->vmi));
    yyjson_mut_doc *patch;

    if (!address) {
        say(w, "Synchronized", "False", "NoAddress",
            "all addresses of " VMS_CIDR " are in use: delete VMs that are not needed");
        task_requeue(w->t, VMI_PATIENCE_MS);
        return;
    }
    patch = json_object();
    meta_set_annotation(patch, ANNOTATION_ADDRESS, address);
    task_patch(w->t, &API_VIRTUALMACHINEINSTANCES, w->vmi, NULL, true, patch);
}

/* Condition PodScheduled, as the scheduler gave it to the pod while it finds no node. In patch; true if it changed. */
static bool mirror_scheduling(struct vmi_work *w, yyjson_mut_doc *patch, yyjson_val *pod)
{
    yyjson_val *c = condition_find(pod, "PodScheduled");
    bool stuck = !json_str(pod, "/spec/nodeName") && c && streq(json_str_or(c, "/status", ""), "False");

    if (stuck)
        return patch_condition(patch, w->vmi, "PodScheduled", "False", json_str(c, "/reason"), json_str(c, "/message"),
                               task_wall_ms(w->t));
    if (!condition_find(w->vmi, "PodScheduled"))
        return false;
    /* One that is true says nothing: it goes. patch_condition puts the list there. */
    if (!json_mut_at(patch, "/status/conditions"))
        json_set(patch, "/status/conditions", yyjson_val_mut_copy(patch, json_at(w->vmi, "/status/conditions")));
    return condition_remove(patch, "PodScheduled");
}

/* Condition Synchronized: why the pod's agent cannot start it (a missing image, a full disk), as its container says;
 * gone when there is nothing to say, also of what the VMI waited for before it had a pod. True if it changed. */
static bool mirror_waiting(struct vmi_work *w, yyjson_mut_doc *patch, yyjson_val *pod)
{
    yyjson_val *waiting = json_at(pod, "/status/containerStatuses/0/state/waiting");
    const char *reason = json_str_or(waiting, "/reason", "ContainerCreating");

    if (!streq(reason, "ContainerCreating"))
        return patch_condition(patch, w->vmi, "Synchronized", "False", reason, json_str(waiting, "/message"),
                               task_wall_ms(w->t));
    if (!condition_find(w->vmi, "Synchronized"))
        return false;
    if (!json_mut_at(patch, "/status/conditions"))
        json_set(patch, "/status/conditions", yyjson_val_mut_copy(patch, json_at(w->vmi, "/status/conditions")));
    return condition_remove(patch, "Synchronized");
}

void vmi_schedule(struct vmi_work *w, yyjson_val *pod)
{
    yyjson_mut_doc *patch = json_object();
    bool changed = mirror_scheduling(w, patch, pod);

    changed = mirror_waiting(w, patch, pod) || changed;
    if (!phase_is(w->vmi, "Scheduling")) {
        patch_phase(patch, w->vmi, "Scheduling", task_wall_ms(w->t));
        (void)patch_condition(patch, w->vmi, "Ready", "False", "GuestNotRunning", "Guest VM is not reported as running",
                              task_wall_ms(w->t));
        changed = true;
    }
    if (changed)
        task_patch(w->t, &API_VIRTUALMACHINEINSTANCES, w->vmi, NULL, true, patch);
    else
        yyjson_mut_doc_free(patch);
}
