/* What a fleet hears of pods and VMIs, and its life. */
#include "fleet_internal.h"

#include "base/alloc.h"
#include "base/str.h"

static void member_free(void *p)
{
    struct member *m = p;

    env_timer_cancel(m->f->env, &m->timer);
    free(m->key);
    free(m->uid);
    free(m->name);
    free(m->vmi_key);
    free(m->vmi_uid);
    free(m);
}

static void on_pod(void *userdata, const char *key, yyjson_val *old, yyjson_val *pod)
{
    struct fleet *f = userdata;
    struct member *m = map_get(f->members, meta_uid(pod ? pod : old));
    yyjson_val *owner = meta_controller(pod);

    if (!m && pod) {
        m = xnew(struct member);
        *m = (struct member){.f = f, .key = xstrdup(key), .uid = xstrdup(meta_uid(pod)), .name = xstrdup(meta_name(pod)),
                             .vmi_key = xasprintf("%s/%s", meta_namespace(pod), json_str_or(owner, "/name", "")),
                             .vmi_uid = xstrdup(json_str_or(owner, "/uid", "")),
                             .target = meta_label(pod, "kubevirt.io/migrationJobUID") != NULL};
        map_put(f->members, m->uid, m);
    }
    if (m)
        member_kick(m, fleet_between(f, 10, 200));
}

static void on_vmi(void *userdata, const char *key, yyjson_val *old, yyjson_val *vmi)
{
    struct fleet *f = userdata;
    _cleanup_val_vec_ struct val_vec pods = {0};

    informer_select(f->pods, INDEX_OWNER, meta_uid(vmi ? vmi : old), &pods);
    VEC_EACH(&pods, pod) {
        struct member *m = map_get(f->members, meta_uid(*pod));
        if (m)
            member_kick(m, fleet_between(f, 1, 30));
    }
}

static void make_nodes(struct fleet *f)
{
    for (int i = 0; i < f->cfg.nodes; i++) {
        _cleanup_free_ char *body = xasprintf("{\"metadata\":{\"name\":\"n%03d\",\"labels\":{\"cpu-vendor.node.kubevirt.io/Intel\":\"true\"}}}", i);
        _cleanup_free_ char *status = xasprintf("/api/v1/nodes/n%03d/status", i);
        sim_post(f->s, "/api/v1/nodes", body);
        sim_patch(f->s, status, "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}");
    }
}

void fleet_cordon(struct fleet *f, int node, bool on)
{
    _cleanup_free_ char *target = xasprintf("/api/v1/nodes/n%03d", node);

    f->cordoned[node] = on;
    sim_patch(f->s, target, on ? "{\"spec\":{\"unschedulable\":true}}" : "{\"spec\":{\"unschedulable\":null}}");
}

struct fleet *fleet_new(struct sim *s, const struct fleet_config *cfg)
{
    static const char *const of_pods[] = {"/spec/nodeName", "/status/phase", NULL}, *const of_vmis[] = {"/status", NULL};
    struct fleet *f = xnew(struct fleet);

    f->s = s;
    f->cfg = *cfg;
    f->env = sim_process(s, "agents", "system:masters");
    f->members = map_new(member_free);
    f->runs = map_new(NULL);
    f->cordoned = xcalloc((size_t)cfg->nodes, sizeof(bool));
    make_nodes(f);
    f->pods = informer_new(f->env, &(struct informer_config){.resource = &API_PODS, .keep = of_pods});
    f->vmis = informer_new(f->env, &(struct informer_config){.resource = &API_VIRTUALMACHINEINSTANCES, .keep = of_vmis});
    informer_add_handler(f->pods, on_pod, f);
    informer_add_handler(f->vmis, on_vmi, f);
    return f;
}

struct fleet *fleet_free(struct fleet *f)
{
    informer_free(f->pods);
    informer_free(f->vmis);
    map_free(f->members);
    map_free(f->runs);
    sim_process_end(f->env);
    free(f->cordoned);
    free(f);
    return NULL;
}

size_t fleet_running(const struct fleet *f)
{
    return map_len(f->runs);
}

size_t fleet_lost(const struct fleet *f)
{
    return f->lost;
}

size_t fleet_restarts(const struct fleet *f)
{
    return f->restarts;
}
