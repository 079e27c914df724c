/* Amounts of resources, and what a pod takes of them. */
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

struct resource_amount *resource_slot(struct resource_vec *v, const char *name)
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

void resource_add_list(struct resource_vec *v, yyjson_val *list)
{
    yyjson_val *key, *value;

    json_each_member(list, key, value)
        resource_slot(v, yyjson_get_str(key))->amount += amount_of(yyjson_get_str(key), value);
}

/* One container's requests; a limit without a request is one. */
static void container_requests(yyjson_val *container, struct resource_vec *ret)
{
    yyjson_val *requests = json_at(container, "/resources/requests"), *key, *value;

    resource_add_list(ret, requests);
    json_each_member(json_at(container, "/resources/limits"), key, value)
        if (!yyjson_obj_get(requests, yyjson_get_str(key)))
            resource_slot(ret, yyjson_get_str(key))->amount += amount_of(yyjson_get_str(key), value);
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
            struct resource_amount *sum = resource_slot(ret, r->name);
            sum->amount = MAX(sum->amount, r->amount);
        }
        resource_vec_done(&one);
    }
    resource_add_list(ret, json_at(pod, "/spec/overhead"));
}

bool sched_takes_room(yyjson_val *pod)
{
    return pod && *json_str_or(pod, "/spec/nodeName", "") && !is_final(pod);
}
