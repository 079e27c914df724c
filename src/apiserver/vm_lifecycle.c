/* start, stop, restart. What they do depends on the run strategy: Always and Once become Halted by a stop, Halted
 * becomes Always by a start; the others keep theirs and get a request in status.stateChangeRequests, which the VM's
 * controller carries out (KubeVirt's user guide on run strategies; its virt-api, lifecycle). */
#include <errno.h>
#include <string.h>

#include "api/meta.h"
#include "apiserver/local.h"
#include "apiserver/vm_subresources.h"
#include "base/alloc.h"
#include "base/str.h"

#define GRACE_S 30 /* of a VM that names none */
#define NOT_RUNNING "VM is not running"

static const char *strategy_of(yyjson_val *vm)
{
    const char *name = json_str(vm, "/spec/runStrategy");

    return name ? name : json_bool(vm, "/spec/running", false) ? "Always" : "Halted";
}

static bool strategy_is(struct vm_call *c, const char *a, const char *b)
{
    const char *s = strategy_of(vm_of(c));

    return streq(s, a) || streq(s, b);
}

static bool has_phase(struct vm_call *c, const char *phase)
{
    return streq(json_str_or(vmi_of(c), "/status/phase", ""), phase);
}

static bool is_over(struct vm_call *c)
{
    return is_final(vmi_of(c));
}

static int read_both(struct vm_call *c, struct gw_error *err)
{
    int r = vm_read(c, err);

    return r < 0 ? r : vm_read_instance(c, false, err);
}

/* --- What is written --- */

static int set_running(struct vm_call *c, bool running, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *patch = json_object();

    if (json_str(vm_of(c), "/spec/runStrategy"))
        json_set_str(patch, "/spec/runStrategy", running ? "Always" : "Halted");
    else
        json_set_bool(patch, "/spec/running", running);
    return vm_patch(c, vm_of(c), NULL, patch, err);
}

static bool wants_paused(struct vm_call *c)
{
    return json_bool(options_of(c), "/paused", false);
}

static yyjson_mut_val *add_request(yyjson_mut_doc *d, yyjson_mut_val *list, const char *action)
{
    yyjson_mut_val *o = yyjson_mut_arr_add_obj(d, list);

    yyjson_mut_obj_add_str(d, o, "action", action);
    return o;
}

static void add_stop(struct vm_call *c, yyjson_mut_doc *d, yyjson_mut_val *list)
{
    yyjson_mut_obj_add_strcpy(d, add_request(d, list, "Stop"), "uid", meta_uid(vmi_of(c)));
}

static void add_start(struct vm_call *c, yyjson_mut_doc *d, yyjson_mut_val *list)
{
    yyjson_mut_val *o = add_request(d, list, "Start");

    if (wants_paused(c))
        yyjson_mut_obj_add_str(d, yyjson_mut_obj_add_obj(d, o, "data"), "paused", "true");
}

/* Of this instance; then a start. A stop alone takes the place of what was asked for before. */
static int ask(struct vm_call *c, bool stop, bool start, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *patch = json_object();
    yyjson_mut_val *list = yyjson_mut_arr(patch);

    if (start && yyjson_arr_size(json_at(vm_of(c), "/status/stateChangeRequests")))
        return vm_internal(err, "unable to complete request: stop/start already underway");
    if (stop)
        add_stop(c, patch, list);
    if (start)
        add_start(c, patch, list);
    json_set(patch, "/status/stateChangeRequests", list);
    json_set(patch, "/status/startFailure", yyjson_mut_null(patch));
    return vm_patch(c, vm_of(c), "status", patch, err);
}

/* One second at least: the agent must be there to see the guest's end, or it might still run when the VM starts anew.
 */
static int delete_pod(struct vm_call *c, yyjson_val *pod, int64_t grace_s, struct gw_error *err)
{
    _cleanup_free_ char *target = xasprintf("/api/v1/namespaces/%s/pods/%s?gracePeriodSeconds=%lld",
                                            c->target->namespace, meta_name(pod), (long long)MAX(grace_s, 1));
    _cleanup_error_ struct gw_error fault = GW_ERROR_INIT;
    int r = local_call(c->server, "DELETE", target, NULL, NULL, NULL, &fault);

    if (r == 0 || fault.reason == GW_NOT_FOUND)
        return 0;
    return vm_internal(err, "%s", gw_error_message(&fault));
}

/* The guest of c->vmi has only so long to shut down. */
static int hurry(struct vm_call *c, int64_t grace_s, struct gw_error *err)
{
    _cleanup_free_ char *target = xasprintf("/api/v1/namespaces/%s/pods?labelSelector=kubevirt.io/created-by=%s",
                                            c->target->namespace, meta_uid(vmi_of(c)));
    _cleanup_doc_ yyjson_doc *list = NULL;
    yyjson_val *pod;
    int r = c->dry_run ? 0 : local_call(c->server, "GET", target, NULL, NULL, &list, err);

    json_each(json_at(yyjson_doc_get_root(list), "/items"), pod)
        if (r == 0)
            r = delete_pod(c, pod, grace_s, err);
    return r;
}

/* --- The acts --- */

static int start_on_request(struct vm_call *c, struct gw_error *err)
{
    bool rerun = strategy_is(c, "RerunOnFailure", "RerunOnFailure");

    if (rerun && has_phase(c, "Failed"))
        return vm_conflict(c, err, "RerunOnFailure does not support starting VM from failed state");
    return ask(c, c->vmi && is_over(c), true, err);
}

int vm_start(struct vm_call *c, struct gw_error *err)
{
    int r = read_both(c, err);

    if (r < 0)
        return r;
    if (c->vmi && !is_over(c) && !has_phase(c, "Unknown") && !has_phase(c, ""))
        return vm_conflict(c, err, "VM is already running");
    if (strategy_is(c, "Halted", "Halted")) /* a request can say "paused"; its controller makes it Always then */
        return wants_paused(c) ? ask(c, false, true, err) : set_running(c, true, err);
    if (strategy_is(c, "Manual", "RerunOnFailure"))
        return start_on_request(c, err);
    return vm_conflict(c, err, "%s does not support manual start requests", strategy_of(vm_of(c)));
}

static int stop_by_strategy(struct vm_call *c, bool has_grace, int64_t grace_s, struct gw_error *err)
{
    bool alive = c->vmi && !is_over(c);

    if (strategy_is(c, "Always", "Once"))
        return set_running(c, false, err);
    if (!alive)
        return vm_conflict(c, err, NOT_RUNNING);
    if (strategy_is(c, "Halted", "Halted") &&
        (!has_grace || grace_s >= json_int(vmi_of(c), "/spec/terminationGracePeriodSeconds", GRACE_S)))
        return vm_conflict(c, err, "Halted only supports manual stop requests with a shorter graceperiod");
    return ask(c, true, false, err);
}

int vm_stop(struct vm_call *c, struct gw_error *err)
{
    yyjson_val *grace = json_at(options_of(c), "/gracePeriod");
    bool has_grace = grace && !yyjson_is_null(grace);
    int64_t grace_s = has_grace ? json_int(options_of(c), "/gracePeriod", -1) : 0;
    int r = read_both(c, err);

    if (r == 0 && grace_s < 0)
        r = gw_error_set(err, GW_BAD_REQUEST, "gracePeriod has to be greater or equal to 0");
    r = r < 0 ? r : stop_by_strategy(c, has_grace, grace_s, err);
    return r < 0 || !has_grace || !c->vmi ? r : hurry(c, grace_s, err);
}

static int check_grace(yyjson_val *grace, struct gw_error *err)
{
    if (!grace || yyjson_is_null(grace))
        return 0;
    if (!yyjson_is_int(grace) || yyjson_get_sint(grace) < 0)
        return gw_error_set(err, GW_BAD_REQUEST, "gracePeriod has to be greater or equal to 0");
    if (yyjson_get_sint(grace) > 0)
        return gw_error_set(err, GW_BAD_REQUEST, "For force restart, only gracePeriod=0 is supported for now");
    return 0;
}

int vm_restart(struct vm_call *c, struct gw_error *err)
{
    yyjson_val *grace = json_at(options_of(c), "/gracePeriodSeconds");
    int r = check_grace(grace, err);

    r = r < 0 ? r : read_both(c, err);
    if (r < 0)
        return r;
    if (strategy_is(c, "Halted", "Once"))
        return vm_conflict(c, err, "RunStategy %s does not support manual restart requests", strategy_of(vm_of(c)));
    if (!c->vmi)
        return vm_conflict(c, err, NOT_RUNNING ": Halted");
    r = ask(c, true, true, err);
    return r < 0 || !yyjson_is_int(grace) ? r : hurry(c, 0, err);
}
