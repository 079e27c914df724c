/* What each node's pods take, kept up to date instead of added up anew: of a change both sides are known, so nothing
 * needs to be remembered of any pod. */
#include <stdlib.h>

#include "base/alloc.h"
#include "scheduling/query.h"

struct load {
    struct map *requested; /* resource -> its amount as intptr_t, never 0 */
    int64_t n_pods;
};

struct sched_ledger {
    struct map *loads; /* by the node's name; of nodes with pods */
};

static void load_free(void *p)
{
    struct load *l = p;

    map_free(l->requested);
    free(l);
}

struct sched_ledger *sched_ledger_new(void)
{
    struct sched_ledger *l = xnew(struct sched_ledger);

    l->loads = map_new(load_free);
    return l;
}

struct sched_ledger *sched_ledger_free(struct sched_ledger *l)
{
    if (!l)
        return NULL;
    map_free(l->loads);
    free(l);
    return NULL;
}

static struct load *load_of(struct sched_ledger *l, const char *node)
{
    struct load *load = map_get(l->loads, node);

    if (load)
        return load;
    load = xnew(struct load);
    load->requested = map_new(NULL);
    map_put(l->loads, node, load);
    return load;
}

static void add(struct load *load, const char *resource, int64_t amount)
{
    intptr_t sum = (intptr_t)map_get(load->requested, resource) + amount;

    if (sum)
        map_put(load->requested, resource, (void *)sum);
    else
        (void)map_remove(load->requested, resource);
}

static void count(struct sched_ledger *l, yyjson_val *pod, int sign)
{
    const char *node = json_str_or(pod, "/spec/nodeName", "");
    struct resource_vec requests = {0};

    if (!sched_takes_room(pod))
        return;
    struct load *load = load_of(l, node);
    sched_pod_requests(pod, &requests);
    VEC_EACH(&requests, r)
        add(load, r->name, sign * r->amount);
    resource_vec_done(&requests);
    load->n_pods += sign;
    if (load->n_pods == 0)
        (void)map_remove(l->loads, node);
}

void sched_ledger_change(struct sched_ledger *l, yyjson_val *old, yyjson_val *pod)
{
    count(l, old, -1);
    count(l, pod, 1);
}

void sched_ledger_apply(const struct sched_ledger *l, struct sched_node *n)
{
    const struct load *load = map_get(l->loads, n->name);
    const char *resource;
    void *amount;

    if (!load)
        return;
    for (size_t at = 0; map_next(load->requested, &at, &resource, &amount);)
        resource_vec_push(&n->requested, (struct resource_amount){resource, (intptr_t)amount});
    n->n_pods = load->n_pods;
}
