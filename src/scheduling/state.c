#include "scheduling/query.h"

#include <string.h>

#include "api/meta.h"
#include "api/quantity.h"

int64_t resource_get(const struct resource_vec *v, const char *name)
{
    VEC_EACH(v, r)
        if (streq(r->name, name))
            return r->amount;
    return 0;
}

static struct resource_amount *slot(struct resource_vec *v, const char *name)
{
    struct resource_amount new = {.name = name};

    VEC_EACH(v, r)
        if (streq(r->name, name))
            return r;
    resource_vec_push(v, new);
    return &v->items[v->len - 1];
}

static int64_t amount_of(const char *name, yyjson_val *quantity)
{
    char number[32];
    const char *text = yyjson_get_str(quantity);

    if (yyjson_is_num(quantity)) { /* "cpu: 1.5" without quotes */
        snprintf(number, sizeof(number), "%.15g", yyjson_get_num(quantity));
        text = number;
    }
    return streq(name, "cpu") ? quantity_text_milli(text, 0) : quantity_text_value(text, 0);
}

static void add_list(struct resource_vec *v, yyjson_val *list)
{
    yyjson_val *key, *value;

    json_each_member(list, key, value)
        slot(v, yyjson_get_str(key))->amount += amount_of(yyjson_get_str(key), value);
}

/* One container's requests; a limit without a request is one. */
static void container_requests(yyjson_val *container, struct resource_vec *ret)
{
    yyjson_val *requests = json_at(container, "/resources/requests"), *key, *value;

    add_list(ret, requests);
    json_each_member(json_at(container, "/resources/limits"), key, value)
        if (!yyjson_obj_get(requests, yyjson_get_str(key)))
            slot(ret, yyjson_get_str(key))->amount += amount_of(yyjson_get_str(key), value);
}

void sched_pod_requests(yyjson_val *pod, struct resource_vec *ret)
{
    yyjson_val *container;

    json_each(json_at(pod, "/spec/containers"), container)
        container_requests(container, ret);
    json_each(json_at(pod, "/spec/initContainers"), container) {
        struct resource_vec one = {0};
        container_requests(container, &one);
        VEC_EACH(&one, r) {
            struct resource_amount *sum = slot(ret, r->name);
            sum->amount = MAX(sum->amount, r->amount);
        }
        resource_vec_done(&one);
    }
    add_list(ret, json_at(pod, "/spec/overhead"));
}

void sched_add_namespace(struct sched_state *s, yyjson_val *ns)
{
    if (!s->namespaces)
        s->namespaces = map_new(NULL);
    map_put(s->namespaces, meta_name(ns), json_at(ns, "/metadata/labels"));
}

void sched_add_node(struct sched_state *s, yyjson_val *node, const struct sched_ledger *ledger)
{
    struct sched_node n = {.obj = node, .name = meta_name(node)};

    add_list(&n.allocatable, json_at(node, "/status/allocatable"));
    if (ledger)
        sched_ledger_apply(ledger, &n);
    sched_node_vec_push(&s->nodes, n);
    if (!s->by_name)
        s->by_name = map_new(NULL);
    map_put(s->by_name, n.name, (void *)(uintptr_t)s->nodes.len);
}

bool sched_takes_room(yyjson_val *pod)
{
    return pod && *json_str_or(pod, "/spec/nodeName", "") && !is_final(pod);
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
        slot(&n->requested, r->name)->amount += r->amount;
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
