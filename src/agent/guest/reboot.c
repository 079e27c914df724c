/* PUT /vmis/UID/softreboot. As in KubeVirt the guest's agent is asked, if there is one (guest-shutdown, mode reboot):
 * then the guest resets itself. It says nothing when it obeys. Where it does not hear us, or refuses, or there is none,
 * the guest is asked to shut itself down by its power button, and started again when it has.
 *
 * QEMU would end with the guest. So it is told to stand still at a shutdown instead (set-action, QEMU 6.0 and later),
 * of which the SHUTDOWN event tells; then it is reset and goes on. A QEMU that stands still there is also what a
 * restarted agent may find. If the pod is to stop meanwhile, or the guest took so long that somebody else may have shut
 * it down, the shutdown is its end after all. */
#include <string.h>

#include "agent/guest/talk.h"
#include "base/alloc.h"
#include "base/log.h"

#define HEED_MS 180000
#define OBEY_MS 1500 /* in which a refusal would have come */

struct wish {
    int64_t until_ms; /* monotonic */
    bool down;        /* it has shut down, and waits for the end of a migration */
};

static void at_shutdown(struct pod *p, const char *action)
{
    qmp_command_str(p->qmp, "set-action", NULL, NULL, "shutdown", action, NULL);
}

void reboot_prepare(struct guest_services *g, struct pod *p)
{
    struct wish *w = xnew(struct wish);

    w->until_ms = env_now(g->agent->env) + HEED_MS;
    map_put(g->reboots, p->uid, w);
    at_shutdown(p, "pause");
}

static void start_again(struct pod *p)
{
    log_info("pod %s/%s: the guest has shut down for a reboot", p->ns, p->name);
    at_shutdown(p, "poweroff");
    qmp_command(p->qmp, "system_reset", NULL, NULL, NULL);
    qmp_command(p->qmp, "cont", NULL, NULL, NULL);
}

/* --- Whether it may be started here --- */

struct question {
    struct guest_services *services;
    bool copying; /* query-migrate's answer */
    char pod_uid[];
};

static void ask(struct guest_services *g, struct pod *p, const char *command, bool copying, qmp_reply_fn reply)
{
    size_t size = strlen(p->uid) + 1;
    struct question *q = xmalloc(sizeof(*q) + size);

    q->services = g;
    q->copying = copying;
    memcpy(q->pod_uid, p->uid, size);
    qmp_ask(p->qmp, command, reply, q);
}

/* The pod, if it is still there to be started. */
static struct pod *asker(const struct question *q)
{
    struct pod *p = agent_pod(q->services->agent, q->pod_uid);

    return p && p->qmp && p->owner && p->step == POD_UP ? p : NULL;
}

/* A guest that has shut down in mid-migration is started by whoever has it in the end: here, when that is settled. */
static void wait_for_settlement(struct guest_services *g, struct pod *p)
{
    struct wish *w = map_get(g->reboots, p->uid);

    if (!w) {
        w = xnew(struct wish);
        w->until_ms = env_now(g->agent->env) + HEED_MS;
        map_put(g->reboots, p->uid, w);
    }
    w->down = true;
}

static void on_state(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    const struct question *q = userdata;
    struct pod *p = asker(q);

    if (!p || !streq(json_str_or(result, "/status", ""), "shutdown"))
        return;
    if (q->copying || guest_is_migrating(p)) {
        wait_for_settlement(q->services, p);
        return;
    }
    map_remove(q->services->reboots, p->uid);
    start_again(p);
}

static void on_copy(void *userdata, yyjson_val *result, const struct qmp_fault *fault)
{
    const struct question *q = userdata;
    struct pod *p = asker(q);

    if (p && result)
        ask(q->services, p, "query-status", !guest_copy_is_over(result), on_state);
}

void reboot_event(struct guest_services *g, struct pod *p, const char *name, yyjson_val *data)
{
    struct wish *w = streq(name, "SHUTDOWN") ? map_get(g->reboots, p->uid) : NULL;

    if (!w || !p->qmp || !json_bool(data, "/guest", false))
        return;
    if (env_now(g->agent->env) < w->until_ms && p->step == POD_UP) {
        ask(g, p, "query-migrate", false, on_copy);
    } else {
        map_remove(g->reboots, p->uid);
        pod_quit(p);
    }
}

void reboot_vmi_changed(struct guest_services *g, struct pod *p)
{
    struct wish *w = map_get(g->reboots, p->uid);

    if (w && w->down && p->qmp && !guest_is_migrating(p))
        ask(g, p, "query-migrate", false, on_copy);
}

void reboot_attached(struct guest_services *g, struct pod *p)
{
    ask(g, p, "query-migrate", false, on_copy);
}

/* --- The request --- */

static void on_agent(void *userdata, yyjson_val *result, const struct ga_fault *fault)
{
    struct errand *e = userdata;
    struct pod *p = talk_pod(e->talk);
    struct http_request *request;

    if (fault && (!fault->sent || fault->failure == GA_REFUSED) && p && (request = errand_leave(e))) {
        command_press_button(e->talk->services, p, request);
    } else if (!e->over) {
        log_info("pod %s: the guest's agent reboots it", e->talk->uid);
        errand_end(e, 200, NULL, NULL);
    }
    errand_answered(e);
}

static void serve(void *userdata, const struct endpoint_call *call)
{
    struct guest_services *g = userdata;
    struct pod *p = guest_pod(call);
    struct talk *t = p ? map_get(g->talks, p->uid) : NULL;
    yyjson_mut_doc *reboot;

    if (!p)
        return;
    if (!t || talk_obstacle(t)) {
        command_press_button(g, p, call->request);
        return;
    }
    reboot = json_object();
    json_set_str(reboot, "/mode", "reboot");
    errand_ask(errand_new(t, call->request), "guest-shutdown", reboot, OBEY_MS, on_agent);
}

const struct endpoint_route reboot_routes[] = {{"PUT", "vmis", "softreboot", CALLER_SERVER, serve}, {0}};
