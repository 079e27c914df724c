#include "controllers/vm_status.h"

#include "api/meta.h"
#include "base/clock.h"
#include "base/str.h"
#include "controllers/controller.h"
#include "controllers/vm_template.h"

/* --- printableStatus --- */

static bool phase_is(const struct vm_report *r, const char *phase)
{
    return streq(json_str_or(r->vmi, "/status/phase", ""), phase);
}

static bool condition_says(yyjson_val *obj, const char *type, const char *status, const char *reason)
{
    yyjson_val *c = condition_find(obj, type);

    return c && streq(json_str_or(c, "/status", ""), status) &&
           (!reason || streq(json_str_or(c, "/reason", ""), reason));
}

static bool is_live(const struct vm_report *r)
{
    return r->vmi && !phase_is(r, "Succeeded") && !phase_is(r, "Failed");
}

static bool terminating(const struct vm_report *r)
{
    return meta_deleting(r->vm);
}

static bool stopping(const struct vm_report *r)
{
    return is_live(r) && meta_deleting(r->vmi);
}

static bool migrating(const struct vm_report *r)
{
    return is_live(r) && json_str(r->vmi, "/status/migrationState/startTimestamp") &&
           !json_str(r->vmi, "/status/migrationState/endTimestamp");
}

static bool paused(const struct vm_report *r)
{
    return is_live(r) && condition_true(r->vmi, "Paused");
}

static bool running(const struct vm_report *r)
{
    return phase_is(r, "Running");
}

static bool without_claim(const struct vm_report *r)
{
    return is_live(r) && condition_says(r->vmi, "Synchronized", "False", "FailedPvcNotFound");
}

static bool unschedulable(const struct vm_report *r)
{
    return is_live(r) && condition_says(r->vmi, "PodScheduled", "False", "Unschedulable");
}

static bool starting(const struct vm_report *r)
{
    return is_live(r);
}

static bool backing_off(const struct vm_report *r)
{
    return json_int(r->vm, "/status/startFailure/consecutiveFailCount", 0) > 0 && run_strategy_of(r->vm) != RUN_HALTED;
}

static bool stopped(const struct vm_report *r)
{
    return !is_live(r);
}

const char *vm_printable_status(const struct vm_report *r)
{
    static const struct {
        const char *name;
        bool (*test)(const struct vm_report *r);
    } list[] = {
        {"Terminating", terminating},
        {"Stopping", stopping},
        {"Migrating", migrating},
        {"Paused", paused},
        {"Running", running},
        {"ErrorPvcNotFound", without_claim},
        {"ErrorUnschedulable", unschedulable},
        {"Starting", starting},
        {"CrashLoopBackOff", backing_off},
        {"Stopped", stopped},
    };

    for (size_t i = 0; i < ARRAY_SIZE(list); i++)
        if (list[i].test(r))
            return list[i].name;
    return "Unknown";
}

/* --- conditions --- */

static void set_ready(yyjson_mut_doc *d, const struct vm_report *r)
{
    yyjson_val *c = condition_find(r->vmi, "Ready");

    if (!r->vmi)
        condition_set(d, "Ready", "False", "VMINotExists", "VMI does not exist", r->now_ms);
    else
        condition_set(d, "Ready", json_str_or(c, "/status", "False"), c ? json_str(c, "/reason") : "GuestNotRunning",
                      json_str(c, "/message"), r->now_ms);
}

/* What the instance says of itself is said of the VM too. */
static void mirror(yyjson_mut_doc *d, const struct vm_report *r)
{
    static const char *const types[] = {"LiveMigratable", "StorageLiveMigratable", "Paused",           "AgentConnected",
                                        "PodScheduled",   "Synchronized",          "EvictionRequested"};

    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        yyjson_val *c = condition_find(r->vmi, types[i]);
        if (c)
            condition_set(d, types[i], json_str_or(c, "/status", "Unknown"), json_str(c, "/reason"),
                          json_str(c, "/message"), r->now_ms);
        else
            condition_remove(d, types[i]);
    }
}

/* KubeVirt's words. Taken back when the change is, and by the next instance. */
static void set_restart_required(yyjson_mut_doc *d, const struct vm_report *r)
{
    if (is_live(r) && template_needs_restart(r->vm, r->vmi))
        condition_set(d, "RestartRequired", "True", NULL, "a non-live-updatable field was changed in the template spec",
                      r->now_ms);
    else
        condition_remove(d, "RestartRequired");
}

static void set_conditions(yyjson_mut_doc *d, const struct vm_report *r)
{
    if (!json_mut_at(d, "/status/conditions"))
        json_set(d, "/status/conditions", yyjson_mut_arr(d));
    set_ready(d, r);
    mirror(d, r);
    set_restart_required(d, r);
    if (r->failure)
        condition_set(d, "Failure", "True", "FailedCreate", r->failure, r->now_ms);
    else
        condition_remove(d, "Failure");
}

/* --- requests and failures --- */

static bool is_stop_of_this(yyjson_val *request, const struct vm_report *r)
{
    return r->vmi && streq(json_str_or(request, "/action", ""), "Stop") &&
           str_same(json_str(request, "/uid"), json_str(r->vmi, "/metadata/uid"));
}

/* A request that is carried out goes: a start when there is an instance, but for one that is to be stopped before; a
 * stop when its instance is gone. */
static bool is_done(yyjson_val *request, const struct vm_report *r)
{
    yyjson_val *other;

    if (!streq(json_str_or(request, "/action", ""), "Start"))
        return !is_stop_of_this(request, r);
    json_each(json_at(r->vm, "/status/stateChangeRequests"), other)
        if (is_stop_of_this(other, r))
            return false;
    return instance_state_of(r->vmi) == INSTANCE_LIVE;
}

static void drop_requests(yyjson_mut_doc *d, const struct vm_report *r)
{
    yyjson_val *list = json_at(r->vm, "/status/stateChangeRequests"), *item;
    yyjson_mut_val *left = yyjson_mut_arr(d);

    if (!list)
        return;
    json_each(list, item)
        if (!is_done(item, r))
            yyjson_mut_arr_append(left, yyjson_val_mut_copy(d, item));
    if (yyjson_mut_arr_size(left))
        json_set(d, "/status/stateChangeRequests", left);
    else
        json_remove(d, "/status/stateChangeRequests");
}

static bool has_run(yyjson_val *vmi)
{
    return json_find(json_at(vmi, "/status/phaseTransitionTimestamps"), "/phase", "Running") != NULL;
}

static void count_failure(yyjson_mut_doc *d, const struct vm_report *r)
{
    int64_t failures = json_int(r->vm, "/status/startFailure/consecutiveFailCount", 0) + 1;
    char text[CLOCK_TEXT_MAX];

    if (str_same(json_str(r->vm, "/status/startFailure/lastFailedVMIUID"), meta_uid(r->vmi)))
        return;
    json_set_int(d, "/status/startFailure/consecutiveFailCount", failures);
    json_set_str(d, "/status/startFailure/lastFailedVMIUID", meta_uid(r->vmi));
    json_set_str(d, "/status/startFailure/retryAfterTimestamp",
                 clock_format(r->now_ms + vm_backoff_ms(failures), text));
}

/* Starts that fail are counted; a guest that runs, or a VM that is not to run, ends the count. */
static void set_start_failure(yyjson_mut_doc *d, const struct vm_report *r)
{
    if (phase_is(r, "Failed") && !has_run(r->vmi))
        count_failure(d, r);
    else if (phase_is(r, "Running") || phase_is(r, "Succeeded") || run_strategy_of(r->vm) == RUN_HALTED)
        json_remove(d, "/status/startFailure");
}

/* --- the patch --- */

/* From old to new, key by key of status: what differs, and null for what goes. */
static yyjson_mut_doc *difference(yyjson_val *old, yyjson_mut_doc *wanted)
{
    _cleanup_doc_ yyjson_doc *doc = yyjson_mut_doc_imut_copy(wanted, NULL);
    yyjson_val *now = json_at(yyjson_doc_get_root(doc), "/status"), *key, *value;
    yyjson_mut_doc *patch = json_object();

    json_each_member(now, key, value)
        if (!json_equal(value, yyjson_obj_get(old, yyjson_get_str(key)))) {
            _cleanup_free_ char *path = json_path("/status", yyjson_get_str(key));
            json_set(patch, path, yyjson_val_mut_copy(patch, value));
        }
    json_each_member(old, key, value)
        if (!yyjson_obj_get(now, yyjson_get_str(key))) {
            _cleanup_free_ char *path = json_path("/status", yyjson_get_str(key));
            json_set(patch, path, yyjson_mut_null(patch));
        }
    if (json_mut_at(patch, "/status"))
        return patch;
    yyjson_mut_doc_free(patch);
    return NULL;
}

yyjson_mut_doc *vm_status_patch(const struct vm_report *r)
{
    yyjson_val *old = json_at(r->vm, "/status");
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();

    json_set(d, "/status", old ? yyjson_val_mut_copy(d, old) : yyjson_mut_obj(d));
    drop_requests(d, r);
    set_start_failure(d, r);
    set_conditions(d, r);
    json_set_bool(d, "/status/created", r->vmi != NULL);
    json_set_bool(d, "/status/ready", condition_true(r->vmi, "Ready"));
    json_set_str(d, "/status/printableStatus", vm_printable_status(r));
    json_set_int(d, "/status/observedGeneration", meta_generation(r->vm));
    json_set_int(d, "/status/desiredGeneration", meta_generation(r->vm));
    if (r->run_strategy)
        json_set_str(d, "/status/runStrategy", r->run_strategy);
    return difference(old, d);
}
