/* PUT /vmis/UID/freeze/SECONDS and unfreeze: the guest's file systems stand still while somebody copies its disks.
 *
 * Whoever froze them may die, and so may we. So the time of the thaw is noted (freeze.json), and is in the VMI
 * (VMI_UNFREEZE_AT), before the guest hears of it: a restarted agent finds it, and after a migration the target's agent
 * does. KubeVirt refuses to freeze a guest that migrates, and so do we; one that is frozen may migrate, as there, but
 * its thaw goes along. A freeze whose outcome is unknown is undone at once. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/guest/answers.h"
#include "agent/guest/talk.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/str.h"
#include "client/events.h"

#define FREEZE_MS 8000 /* the guest writes all that it has cached */
#define AGAIN_MS 5000
#define DOING "Failed to freeze VMI"
#define UNDOING "Failed to unfreeze VMI"

static void set_freeze(struct talk *t, const char *status)
{
    json_set_str(t->facts, "/freeze", status);
    talk_publish(t);
}

void freeze_over(struct talk *t)
{
    set_freeze(t, "thawed");
    freeze_forget_time(t);
}

/* --- Thawing: asked for, or due --- */

static void thawed(struct errand *e)
{
    e->talk->unfreezing = false;
    freeze_over(e->talk);
    log_info("pod %s: the guest's file systems are thawed", e->talk->uid);
    errand_end(e, 200, NULL, NULL);
}

static void not_thawed(struct errand *e, const struct ga_fault *fault)
{
    struct talk *t = e->talk;
    char why[200];

    t->unfreezing = false;
    t->unfreeze_again_ms = env_now(t->services->agent->env) + AGAIN_MS;
    if (t->unfreeze_ms)
        log_warn("pod %s: the guest's file systems stay frozen: %s", t->uid,
                 answer_clean(fault->text, why, sizeof(why)));
    errand_fail(e, UNDOING, fault);
    talk_schedule(t);
}

static void on_thaw(void *userdata, yyjson_val *result, const struct ga_fault *fault)
{
    struct errand *e = userdata;

    if (result)
        thawed(e);
    else
        not_thawed(e, fault);
    errand_answered(e);
}

/* A thaw runs the guest's hooks: not once more where it has happened. */
static void on_status_before_thaw(void *userdata, yyjson_val *result, const struct ga_fault *fault)
{
    struct errand *e = userdata;

    if (result && yyjson_equals_str(result, "thawed"))
        thawed(e);
    else if (fault && fault->failure != GA_REFUSED)
        not_thawed(e, fault);
    else
        errand_ask(e, "guest-fsfreeze-thaw", NULL, GA_PATIENCE_MS, on_thaw);
    errand_answered(e);
}

static void thaw(struct talk *t, struct http_request *http)
{
    struct errand *e = errand_new(t, http);

    t->unfreezing = true;
    errand_ask(e, "guest-fsfreeze-status", NULL, GA_PATIENCE_MS, on_status_before_thaw);
}

int64_t freeze_run(struct talk *t, int64_t now)
{
    int64_t wait = t->unfreeze_ms - env_wall_ms(t->services->agent->env);

    if (!t->unfreeze_ms || t->unfreezing)
        return INT64_MAX;
    wait = MAX(wait, t->unfreeze_again_ms - now);
    if (wait > 0)
        return now + wait;
    log_warn("pod %s: nobody has thawed the guest's file systems in time", t->uid);
    thaw(t, NULL);
    return INT64_MAX;
}

/* --- Freezing --- */

static void on_freeze(void *userdata, yyjson_val *result, const struct ga_fault *fault)
{
    struct errand *e = userdata;
    struct talk *t = e->talk;
    struct pod *p = talk_pod(t);
    char why[200];

    if (result && e->http) {
        log_info("pod %s: the guest's file systems are frozen", t->uid);
        set_freeze(t, "frozen");
        errand_end(e, 200, NULL, NULL);
    } else {
        /* Unknown, or nobody will know that they are to thaw it. */
        bool may_be_frozen = result || (fault->failure != GA_REFUSED && fault->sent);
        if (may_be_frozen && p)
            (void)freeze_until(t, p, env_wall_ms(t->services->agent->env), NULL);
        else
            freeze_forget_time(t);
        if (fault && p)
            pod_event(p, EVENT_WARNING, "FreezeError", DOING ": %s", answer_clean(fault->text, why, sizeof(why)));
        if (fault)
            errand_fail(e, DOING, fault);
        else
            errand_end(e, 500, NULL, DOING);
    }
    errand_answered(e);
}

/* The guest is asked when the server has the time of its thaw, so that a migration cannot outrun it. */
static void proceed(struct errand *e, const struct pod *p)
{
    if (e->until_ms && freeze_announced(p) != e->until_ms)
        return;
    e->waits = false;
    if (guest_is_migrating(p)) {
        freeze_forget_time(e->talk);
        errand_end(e, 500, NULL, "failed to freeze VMI, VMI is currently during migration");
        return;
    }
    errand_ask(e, "guest-fsfreeze-freeze", NULL, FREEZE_MS, on_freeze);
}

void freeze_look(struct guest_services *g, struct pod *p)
{
    struct errand *next;

    for (struct errand *e = g->errands; e; e = next) {
        next = e->next;
        if (e->waits && !e->over && talk_pod(e->talk) == p)
            proceed(e, p);
    }
}

/* What freezes twice is frozen once, until the first one's time (as in KubeVirt). */
static void on_status_before_freeze(void *userdata, yyjson_val *result, const struct ga_fault *fault)
{
    struct errand *e = userdata;
    struct pod *p = talk_pod(e->talk);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (e->over)
        ;
    else if (fault)
        errand_fail(e, DOING, fault);
    else if (yyjson_equals_str(result, "frozen") || !p)
        errand_end(e, p ? 200 : 503, NULL, p ? NULL : "the guest is being handed over");
    else if (freeze_until(e->talk, p, e->until_ms, &err) < 0)
        errand_end(e, 500, NULL, gw_error_message(&err));
    else {
        e->waits = true;
        proceed(e, p);
    }
    errand_answered(e);
}

static void serve_freeze(void *userdata, const struct endpoint_call *call)
{
    struct talk *t = errand_talk(userdata, call);
    struct pod *p = t ? talk_pod(t) : NULL;
    int64_t seconds = strtoll(call->rest, NULL, 10);

    if (!t)
        return;
    if (talk_obstacle(t) || guest_is_migrating(p)) {
        endpoint_refuse(call->request, 500, "%s%s", talk_obstacle(t) ? DOING ": Guest agent is not responding: " : "",
                        talk_obstacle(t) ? talk_obstacle(t)
                                         : "failed to freeze VMI, VMI is currently during migration");
        return;
    }
    struct errand *e = errand_new(t, call->request);
    e->until_ms = seconds > 0 ? (env_wall_ms(t->services->agent->env) / 1000 + seconds) * 1000 : 0;
    errand_ask(e, "guest-fsfreeze-status", NULL, GA_PATIENCE_MS, on_status_before_freeze);
}

static void serve_unfreeze(void *userdata, const struct endpoint_call *call)
{
    struct talk *t = errand_talk(userdata, call);

    if (t && talk_obstacle(t))
        endpoint_refuse(call->request, 500, UNDOING ": Guest agent is not responding: %s", talk_obstacle(t));
    else if (t)
        thaw(t, call->request);
}

const struct endpoint_route freeze_routes[] = {
    {"PUT", "vmis", "freeze", CALLER_SERVER, serve_freeze},
    {"PUT", "vmis", "unfreeze", CALLER_SERVER, serve_unfreeze},
    {0},
};
