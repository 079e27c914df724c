#include "scheduling/scheduling.h"

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

void sched_add_node(struct sched_state *s, yyjson_val *node)
{
    struct sched_node n = {.obj = node, .name = meta_name(node)};

    add_list(&n.allocatable, json_at(node, "/status/allocatable"));
    sched_node_vec_push(&s->nodes, n);
    if (!s->by_name)
        s->by_name = map_new(NULL);
    map_put(s->by_name, n.name, (void *)(uintptr_t)s->nodes.len);
}

void sched_add_pod(struct sched_state *s, yyjson_val *pod, const char *node)
{
    const char *name = node ? node : json_str_or(pod, "/spec/nodeName", "");
    size_t at = s->by_name ? (size_t)(uintptr_t)map_get(s->by_name, name) : 0;
    struct sched_placed placed = {.pod = pod, .node = at - 1};
    struct resource_vec requests = {0};

    if (!at || is_final(pod))
        return;
    struct sched_node *n = &s->nodes.items[at - 1];
    sched_pod_requests(pod, &requests);
    VEC_EACH(&requests, r)
        slot(&n->requested, r->name)->amount += r->amount;
    n->n_pods++;
    resource_vec_done(&requests);
    sched_placed_vec_push(&s->pods, placed);
    if (yyjson_arr_size(json_at(pod, "/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution")))
        sched_placed_vec_push(&s->hermits, placed);
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
