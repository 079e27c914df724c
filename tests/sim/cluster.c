#include "cluster.h"

#include <stdio.h>

#include "api/meta.h"
#include "base/alloc.h"
#include "controllers/kubernetes.h"

static const struct controller *const controllers[] = {
    &scheduler_controller, &node_controller,    &gc_controller, &namespace_controller,
    &volume_controller,    &root_ca_controller, NULL,
};

const struct sim_config cluster_calm = {.seed = 1, .delay_ms = {1, 5}};
const struct sim_config cluster_rough = {.seed = 1, .delay_ms = {1, 100}, .lose_request = 20, .lose_answer = 20,
                                        .cut_watch = 20, .repeat_event = 100, .late_event_ms = 500};

void cluster_start_controllers(struct cluster *c)
{
    c->env = sim_process(c->s, "controllers", "system:godwit:controllers");
    c->cs = controllers_start(c->env, controllers);
}

void cluster_kill_controllers(struct cluster *c)
{
    c->cs = controllers_stop(c->cs);
    c->env = sim_process_end(c->env);
}

void cluster_node_name(int i, char *buf)
{
    sprintf(buf, "n%03d", i);
}

struct cluster *cluster_new(const struct sim_config *cfg, int agents)
{
    struct cluster *c = xnew(struct cluster);
    char name[16];

    c->s = sim_new(cfg);
    cluster_start_controllers(c);
    for (c->n_agents = 0; c->n_agents < agents; c->n_agents++) {
        cluster_node_name(c->n_agents, name);
        c->agents[c->n_agents] = sim_agent_start(c->s, name, NULL);
    }
    sim_run(c->s, 5000);
    return c;
}

void cluster_free(struct cluster *c)
{
    cluster_kill_controllers(c);
    for (int i = 0; i < c->n_agents; i++)
        sim_agent_kill(c->agents[i]);
    sim_free(c->s);
    free(c);
}

const char *cluster_str(struct cluster *c, const char *target, const char *path)
{
    static char buf[4][512];
    static int at;

    at = (at + 1) % 4;
    return sim_str(c->s, target, path, buf[at], sizeof(buf[at]));
}

void cluster_pod(struct cluster *c, const char *name, const char *spec, const char *requests)
{
    _cleanup_doc_ yyjson_doc *owner = sim_get(c->s, CONFIGMAPS "/owner");
    if (!owner)
        owner = sim_do(c->s, 201, "POST", CONFIGMAPS, "{\"metadata\":{\"name\":\"owner\"}}");
    _cleanup_free_ char *body =
        xasprintf("{\"metadata\":{\"name\":\"%s\",\"labels\":{\"kubevirt.io\":\"virt-launcher\"},\"ownerReferences\":"
                  "[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"owner\",\"uid\":\"%s\",\"controller\":true}]},"
                  "\"spec\":{%s%s\"containers\":[{\"name\":\"compute\",\"resources\":{\"requests\":{%s}}}]}}",
                  name, meta_uid(yyjson_doc_get_root(owner)), spec, *spec ? "," : "", requests);
    sim_post(c->s, PODS, body);
}
