#include "agents.h"

#include <string.h>

#include "api/meta.h"
#include "base/alloc.h"
#include "client/informer.h"
#include "client/lease.h"

struct sim_agent {
    struct env *env;
    char *node;
    struct sim_agent_config cfg;
    struct informer *pods;
    struct heartbeat *heartbeat;
    struct map *timers; /* pod uid -> struct todo */
    int started;
};

/* What is to happen to one pod next. */
struct todo {
    struct sim_agent *agent;
    struct env_timer *timer;
    char *key, *uid;
};

static void todo_free(void *p)
{
    struct todo *d = p;

    env_timer_cancel(d->agent->env, &d->timer);
    free(d->key);
    free(d->uid);
    free(d);
}

/* --- registration, repeated until it is done --- */

static void register_node(void *userdata);

static void on_status(void *userdata, struct api_answer *answer)
{
    struct sim_agent *a = userdata;

    if (answer->err)
        (void)env_timer(a->env, 1000, register_node, a);
}

static void write_status(struct sim_agent *a)
{
    static const char text[] =
        "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"reason\":\"AgentReady\"}],\"allocatable\":"
        "{\"cpu\":\"%s\",\"memory\":\"%s\",\"pods\":\"1k\",\"devices.kubevirt.io/kvm\":\"1k\"}}}";
    _cleanup_free_ char *json = xasprintf(text, a->cfg.cpu, a->cfg.memory);
    _cleanup_doc_ yyjson_doc *doc = yyjson_read(json, strlen(json), 0);
    _cleanup_mut_doc_ yyjson_mut_doc *patch = yyjson_doc_mut_copy(doc, NULL);

    api_patch(a->env->client, &API_NODES, NULL, a->node, "status", API_PATCH_MERGE, patch, on_status, a);
}

static void on_registered(void *userdata, struct api_answer *answer)
{
    struct sim_agent *a = userdata;

    if (answer->err && answer->err->reason != GW_ALREADY_EXISTS)
        (void)env_timer(a->env, 1000, register_node, a);
    else
        write_status(a);
}

static void register_node(void *userdata)
{
    struct sim_agent *a = userdata;
    _cleanup_free_ char *json =
        xasprintf("{\"metadata\":{\"name\":\"%s\",\"labels\":{\"kubernetes.io/hostname\":\"%s\"%s%s}}}", a->node, a->node,
                  a->cfg.labels ? "," : "", a->cfg.labels ? a->cfg.labels : "");
    _cleanup_doc_ yyjson_doc *doc = yyjson_read(json, strlen(json), 0);
    _cleanup_mut_doc_ yyjson_mut_doc *node = yyjson_doc_mut_copy(doc, NULL);

    api_create(a->env->client, &API_NODES, NULL, node, on_registered, a);
}

/* --- pods --- */

static void act(void *userdata);

static void later(struct todo *d, int ms)
{
    if (!d->timer)
        d->timer = env_timer(d->agent->env, ms, act, d);
}

static void on_done(void *userdata, struct api_answer *answer)
{
    struct todo *d = userdata;

    if (answer->err && answer->err->reason != GW_NOT_FOUND)
        later(d, 1000);
}

static void run_pod(struct todo *d, yyjson_val *pod)
{
    static const char text[] = "{\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"PodScheduled\",\"status\":"
                               "\"True\"},{\"type\":\"Ready\",\"status\":\"True\"}]}}";
    _cleanup_doc_ yyjson_doc *doc = yyjson_read(text, strlen(text), 0);
    _cleanup_mut_doc_ yyjson_mut_doc *patch = yyjson_doc_mut_copy(doc, NULL);

    d->agent->started++;
    api_patch(d->agent->env->client, &API_PODS, meta_namespace(pod), meta_name(pod), "status", API_PATCH_MERGE, patch, on_done,
              d);
}

static void act(void *userdata)
{
    struct todo *d = userdata;
    yyjson_val *pod = informer_get(d->agent->pods, d->key);

    d->timer = NULL;
    if (!pod || !streq(meta_uid(pod), d->uid))
        return;
    if (meta_deleting(pod))
        api_delete_now(d->agent->env->client, &API_PODS, meta_namespace(pod), meta_name(pod), d->uid, on_done, d);
    else if (streq(json_str_or(pod, "/status/phase", ""), "Pending"))
        run_pod(d, pod);
}

static void on_pod(void *userdata, const char *key, yyjson_val *old, yyjson_val *pod)
{
    struct sim_agent *a = userdata;
    struct todo *d;

    if (!pod)
        return;
    d = map_get(a->timers, meta_uid(pod));
    if (!d) {
        d = xnew(struct todo);
        *d = (struct todo){.agent = a, .key = xstrdup(key), .uid = xstrdup(meta_uid(pod))};
        map_put(a->timers, d->uid, d);
    }
    if (meta_deleting(pod) && (!old || !meta_deleting(old)))
        later(d, a->cfg.stop_ms);
    else if (!old)
        later(d, a->cfg.start_ms);
}

/* --- life --- */

struct sim_agent *sim_agent_start(struct sim *s, const char *node, const struct sim_agent_config *cfg)
{
    static const struct sim_agent_config usual = {.cpu = "16", .memory = "64Gi", .start_ms = 200, .stop_ms = 500};
    _cleanup_free_ char *user = xasprintf("system:node:%s", node), *selector = xasprintf("spec.nodeName=%s", node);
    struct sim_agent *a = xnew(struct sim_agent);

    a->env = sim_process(s, user, "system:nodes");
    a->node = xstrdup(node);
    a->cfg = cfg ? *cfg : usual;
    a->timers = map_new(todo_free);
    a->heartbeat = heartbeat_start(a->env, node, NULL);
    register_node(a);
    a->pods = informer_new(a->env, &(struct informer_config){.resource = &API_PODS, .field_selector = selector});
    informer_add_handler(a->pods, on_pod, a);
    return a;
}

struct sim_agent *sim_agent_kill(struct sim_agent *a)
{
    if (!a)
        return NULL;
    heartbeat_stop(a->heartbeat);
    informer_free(a->pods);
    map_free(a->timers);
    sim_process_end(a->env);
    free(a->node);
    free(a);
    return NULL;
}

struct env *sim_agent_env(struct sim_agent *a)
{
    return a->env;
}

int sim_agent_started_pods(const struct sim_agent *a)
{
    return a->started;
}
