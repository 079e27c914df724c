#include "scheduling/query.h"

#include <string.h>

#include "api/meta.h"

void sched_add_namespace(struct sched_state *s, yyjson_val *ns)
{
    if (!s->namespaces)
        s->namespaces = map_new(NULL);
    map_put(s->namespaces, meta_name(ns), json_at(ns, "/metadata/labels"));
}

void sched_add_node(struct sched_state *s, yyjson_val *node, const struct sched_ledger *ledger)
{
    struct sched_node n = {.obj = node, .name = meta_name(node)};

    resource_add_list(&n.allocatable, json_at(node, "/status/allocatable"));
    if (ledger)
        sched_ledger_apply(ledger, &n);
    sched_node_vec_push(&s->nodes, n);
    if (!s->by_name)
        s->by_name = map_new(NULL);
    map_put(s->by_name, n.name, (void *)(uintptr_t)s->nodes.len);
}

/* NULL: unknown. */
static struct sched_node *find_node(struct sched_state *s, const char *name)
{
    size_t at = s->by_name ? (size_t)(uintptr_t)map_get(s->by_name, name) : 0;

    return at ? &s->nodes.items[at - 1] : NULL;
}

static void add_placed(struct sched_state *s, yyjson_val *pod, const struct sched_node *n)
{
    struct sched_placed placed = {.pod = pod, .node = (size_t)(n - s->nodes.items)};

    sched_placed_vec_push(&s->pods, placed);
    if (yyjson_arr_size(json_at(pod, SCHED_FAR_REQUIRED)))
        sched_placed_vec_push(&s->hermits, placed);
}

void sched_add_neighbour(struct sched_state *s, yyjson_val *pod)
{
    const struct sched_node *n = find_node(s, json_str_or(pod, "/spec/nodeName", ""));

    if (n && sched_takes_room(pod))
        add_placed(s, pod, n);
}

void sched_add_pod(struct sched_state *s, yyjson_val *pod, const char *node)
{
    struct sched_node *n = find_node(s, node);
    struct resource_vec requests = {0};

    if (!n)
        return;
    sched_pod_requests(pod, &requests);
    VEC_EACH(&requests, r)
        resource_slot(&n->requested, r->name)->amount += r->amount;
    n->n_pods++;
    resource_vec_done(&requests);
    add_placed(s, pod, n);
}

void sched_state_done(struct sched_state *s)
{
    VEC_EACH(&s->nodes, n) {
        resource_vec_done(&n->allocatable);
        resource_vec_done(&n->requested);
    }
    sched_node_vec_done(&s->nodes);
    sched_placed_vec_done(&s->pods);
    sched_placed_vec_done(&s->hermits);
    map_free(s->by_name);
    map_free(s->namespaces);
    *s = (struct sched_state){0};
}
