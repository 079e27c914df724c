#include "agent/core/pod_status.h"

#include "agent/core/difference.h"
#include "api/meta.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"

#define CONTAINER "compute"

static bool has_ended(const struct pod_report *r)
{
    return streq(r->phase, "Succeeded") || streq(r->phase, "Failed");
}

static void put_time(yyjson_mut_doc *d, yyjson_mut_val *obj, const char *key, int64_t ms)
{
    char text[CLOCK_TEXT_MAX];

    yyjson_mut_obj_put(obj, yyjson_mut_str(d, key), yyjson_mut_strcpy(d, clock_format(ms, text)));
}

static void put_text(yyjson_mut_doc *d, yyjson_mut_val *obj, const char *key, const char *value)
{
    if (value && *value)
        yyjson_mut_obj_put(obj, yyjson_mut_str(d, key), yyjson_mut_strcpy(d, value));
}

static void put_terminated(yyjson_mut_doc *d, yyjson_mut_val *state, const struct pod_report *r)
{
    yyjson_mut_val *t = yyjson_mut_obj_add_obj(d, state, "terminated");

    yyjson_mut_obj_add_int(d, t, "exitCode",
                           streq(r->phase, "Succeeded") ? 0
                           : r->exit_code > 0           ? r->exit_code
                                                        : 128 + r->signal);
    if (r->signal)
        yyjson_mut_obj_add_int(d, t, "signal", r->signal);
    put_text(d, t, "reason", streq(r->phase, "Succeeded") ? "Completed" : r->reason);
    put_text(d, t, "message", r->message);
    if (r->started_ms)
        put_time(d, t, "startedAt", r->started_ms);
    if (r->finished_ms)
        put_time(d, t, "finishedAt", r->finished_ms);
}

static void put_state(yyjson_mut_doc *d, yyjson_mut_val *container, const struct pod_report *r)
{
    yyjson_mut_val *state = yyjson_mut_obj_add_obj(d, container, "state"), *v;

    if (has_ended(r)) {
        put_terminated(d, state, r);
    } else if (r->started_ms) {
        v = yyjson_mut_obj_add_obj(d, state, "running");
        put_time(d, v, "startedAt", r->started_ms);
    } else {
        v = yyjson_mut_obj_add_obj(d, state, "waiting");
        put_text(d, v, "reason", r->waiting_reason ? r->waiting_reason : "ContainerCreating");
        put_text(d, v, "message", r->waiting_message);
    }
}

static void want_container(yyjson_mut_doc *d, yyjson_val *pod, const struct pod_report *r)
{
    yyjson_mut_val *list = yyjson_mut_arr(d), *c = yyjson_mut_arr_add_obj(d, list);
    _cleanup_free_ char *id = xasprintf("godwit://%s", json_str_or(pod, "/metadata/uid", ""));

    put_text(d, c, "name", json_str_or(pod, "/spec/containers/0/name", CONTAINER));
    yyjson_mut_obj_add_bool(d, c, "ready", r->ready);
    yyjson_mut_obj_add_bool(d, c, "started", r->started_ms != 0 && !has_ended(r));
    yyjson_mut_obj_add_int(d, c, "restartCount", 0);
    yyjson_mut_obj_add_strcpy(d, c, "image", json_str_or(pod, "/spec/containers/0/image", "godwit"));
    yyjson_mut_obj_add_strcpy(d, c, "imageID", r->version);
    if (r->started_ms)
        put_text(d, c, "containerID", id);
    put_state(d, c, r);
    json_set(d, "/status/containerStatuses", list);
}

static void want_conditions(yyjson_mut_doc *d, yyjson_val *pod, const struct pod_report *r)
{
    const char *why = r->ready ? NULL : has_ended(r) ? "PodCompleted" : "ContainersNotReady";

    if (has_ended(r) && streq(r->phase, "Failed"))
        why = "PodFailed";
    keep_conditions(d, pod);
    condition_set(d, "Initialized", "True", NULL, NULL, r->now_ms);
    condition_set(d, "ContainersReady", r->ready ? "True" : "False", why, NULL, r->now_ms);
    condition_set(d, "Ready", r->ready ? "True" : "False", why, NULL, r->now_ms);
}

static void want_addresses(yyjson_mut_doc *d, const struct pod_report *r)
{
    yyjson_mut_val *list;

    if (r->host_ip) {
        list = yyjson_mut_arr(d);
        yyjson_mut_obj_add_strcpy(d, yyjson_mut_arr_add_obj(d, list), "ip", r->host_ip);
        json_set_str(d, "/status/hostIP", r->host_ip);
        json_set(d, "/status/hostIPs", list);
    }
    if (r->pod_ip) {
        list = yyjson_mut_arr(d);
        yyjson_mut_obj_add_strcpy(d, yyjson_mut_arr_add_obj(d, list), "ip", r->pod_ip);
        json_set_str(d, "/status/podIP", r->pod_ip);
        json_set(d, "/status/podIPs", list);
    }
}

yyjson_mut_doc *pod_status_patch(yyjson_val *pod, const struct pod_report *r)
{
    _cleanup_mut_doc_ yyjson_mut_doc *want = json_object();
    const char *version = json_str(pod, "/metadata/resourceVersion");
    char now[CLOCK_TEXT_MAX];

    json_set_str(want, "/status/phase", r->phase);
    if (!json_str(pod, "/status/startTime"))
        json_set_str(want, "/status/startTime", clock_format(r->now_ms, now));
    if (has_ended(r) && r->reason && streq(r->phase, "Failed"))
        json_set_str(want, "/status/reason", r->reason);
    if (has_ended(r) && r->message && *r->message)
        json_set_str(want, "/status/message", r->message);
    want_addresses(want, r);
    want_container(want, pod, r);
    want_conditions(want, pod, r);
    yyjson_mut_doc *patch = json_difference(pod, want);
    if (patch && version && json_mut_at(patch, "/status/conditions"))
        json_set_str(patch, "/metadata/resourceVersion", version);
    return patch;
}
