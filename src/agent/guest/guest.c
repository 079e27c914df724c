#include "agent/guest/guest_internal.h"

#include <string.h>

#include "agent/guest/talk.h"

#include "base/alloc.h"
#include "migration/epoch.h"

#define CHANNELS_MAX 128 /* of the endpoint's 256 connections */

static void on_changed(void *userdata, struct pod *p)
{
    commands_look(userdata, p, false);
    reboot_vmi_changed(userdata, p);
    talk_vmi_changed(userdata, p);
    freeze_look(userdata, p);
}

static void on_attached(void *userdata, struct pod *p)
{
    reboot_attached(userdata, p);
    talk_attached(userdata, p);
}

static void on_event(void *userdata, struct pod *p, const char *name, yyjson_val *data, int64_t time_us)
{
    reboot_event(userdata, p, name, data);
    talk_event(userdata, p, name, data);
}

static bool on_ended(void *userdata, struct pod *p)
{
    logs_ended(userdata, p);
    commands_look(userdata, p, false);
    return false;
}

static void on_gone(void *userdata, struct pod *p)
{
    struct guest_services *g = userdata;

    logs_ended(g, p);
    commands_look(g, p, true);
    map_remove(g->reboots, p->uid);
    errands_drop(g, map_get(g->talks, p->uid));
    map_remove(g->talks, p->uid);
}

struct pod *guest_pod(const struct endpoint_call *call)
{
    struct pod *p = agent_vmi_pod(call->agent, call->uid);

    if (!p)
        endpoint_refuse(call->request, 404, "the guest is not on node %s", call->agent->config.node);
    else if (p->step != POD_UP || !p->qmp)
        endpoint_refuse(call->request, 503, "QEMU of %s/%s does not answer", p->ns, p->vmi_name);
    else
        return p;
    return NULL;
}

bool guest_is_migrating(const struct pod *p)
{
    struct epoch e;

    epoch_read(p && p->vmi ? yyjson_doc_get_root(p->vmi) : NULL, &e);
    return !epoch_settled(e.state);
}

bool guest_copy_is_over(yyjson_val *query_migrate)
{
    static const char *const over[] = {"none", "completed", "failed", "cancelled"};
    const char *state = json_str_or(query_migrate, "/status", "none");

    for (size_t i = 0; i < ARRAY_SIZE(over); i++)
        if (streq(over[i], state))
            return true;
    return false;
}

bool guest_channel_begin(struct guest_services *g, const struct endpoint_call *call)
{
    if (g->channels < CHANNELS_MAX) {
        g->channels++;
        return true;
    }
    endpoint_refuse(call->request, 429, "%d consoles, port forwards and logs are open on node %s already", CHANNELS_MAX,
                    call->agent->config.node);
    return false;
}

struct guest_services *guest_start(struct agent *a)
{
    static const struct pod_hooks hooks = {
        .attached = on_attached,
        .event = on_event,
        .vmi_changed = on_changed,
        .ended = on_ended,
        .gone = on_gone,
    };
    struct guest_services *g = xnew(struct guest_services);

    g->agent = a;
    g->reboots = map_new(free);
    g->talks = map_new(talk_free);
    agent_add_pod_hooks(a, &hooks, g);
    endpoint_add(a->endpoint, log_routes, g);
    endpoint_add(a->endpoint, channel_routes, g);
    endpoint_add(a->endpoint, command_routes, g);
    endpoint_add(a->endpoint, facts_routes, g);
    endpoint_add(a->endpoint, freeze_routes, g);
    endpoint_add(a->endpoint, reboot_routes, g);
    return g;
}

struct guest_services *guest_stop(struct guest_services *g)
{
    if (!g)
        return NULL;
    commands_stop(g);
    errands_drop(g, NULL);
    map_free(g->talks);
    map_free(g->reboots);
    free(g);
    return NULL;
}
