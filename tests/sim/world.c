#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/str.h"
#include "controllers/kubernetes.h"
#include "controllers/kubevirt.h"

static void make_node(struct world *w, const char *name)
{
    _cleanup_free_ char *body = xasprintf("{\"metadata\":{\"name\":\"%s\",\"labels\":{\"cpu-vendor.node.kubevirt.io/Intel\":\"true\","
                                          "\"host-model-cpu.node.kubevirt.io/Skylake\":\"true\"}},\"spec\":{}}", name);
    _cleanup_free_ char *status = xasprintf(NODES "/%s/status", name);

    sim_post(w->s, NODES, body);
    sim_patch(w->s, status, "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}");
}

struct world *world_new(uint64_t seed, const struct controller *const *table)
{
    struct world *w = xnew(struct world);

    w->s = sim_new(&(struct sim_config){.seed = seed, .delay_ms = {1, 5}});
    make_node(w, "n1");
    make_node(w, "n2");
    w->env = sim_process(w->s, "system:godwit:controllers", "system:godwit:controllers");
    w->controllers = controllers_start(w->env, table);
    return w;
}

int world_tear_down(void **state)
{
    struct world *w = *state;

    controllers_stop(w->controllers);
    sim_process_end(w->env);
    sim_free(w->s);
    free(w);
    return 0;
}

const char *world_get(struct world *w, const char *target, const char *path)
{
    return sim_str(w->s, target, path, w->text, sizeof(w->text));
}

void world_patch(struct world *w, const char *target, const char *body)
{
    sim_patch(w->s, target, body);
    sim_run(w->s, 1000);
}

bool world_find_pod(struct world *w, const char *vmi, bool target_pod)
{
    _cleanup_doc_ yyjson_doc *list = sim_get(w->s, PODS);
    yyjson_val *item, *found = NULL;

    json_each(json_at(yyjson_doc_get_root(list), "/items"), item)
        if (str_same(meta_annotation(item, ANNOTATION_DOMAIN), vmi) && (meta_label(item, LABEL_MIGRATION_UID) != NULL) == target_pod &&
            (!found || is_final(found)))
            found = item;
    if (found)
        snprintf(w->target, sizeof(w->target), PODS "/%s", meta_name(found));
    return found;
}

void world_run_pod(struct world *w, const char *vmi, bool target_pod, const char *node)
{
    assert_true(world_find_pod(w, vmi, target_pod));
    _cleanup_free_ char *binding = xasprintf("%s/binding", w->target), *status = xasprintf("%s/status", w->target);
    _cleanup_free_ char *body = xasprintf("{\"target\":{\"kind\":\"Node\",\"name\":\"%s\"}}", node);

    sim_post(w->s, binding, body);
    world_patch(w, status, "{\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}");
}

bool world_happened(struct world *w, const char *reason)
{
    sim_run(w->s, 2000);
    return sim_count(w->s, EVENTS, "/reason", reason) > 0;
}
