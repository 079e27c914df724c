/* What makes one fitting node better than another. Each score is 0 to 100; the weights are kube-scheduler's, and
 * Spread, which there is PodTopologySpread by default constraints, here simply prefers nodes with fewer pods. */
#include <string.h>

#include "api/meta.h"
#include "scheduling/query.h"

/* The mean share of cpu and memory that would be left. */
static int64_t least_allocated(const struct query *q, const struct sched_node *n)
{
    static const char *const counted[] = {"cpu", "memory"};
    int64_t sum = 0;

    for (size_t i = 0; i < ARRAY_SIZE(counted); i++) {
        int64_t all = resource_get(&n->allocatable, counted[i]);
        int64_t left = all - resource_get(&n->requested, counted[i]) - resource_get(&q->requests, counted[i]);
        if (all > 0 && left > 0)
            sum += (int64_t)((__int128)left * 100 / all);
    }
    return sum / (int64_t)ARRAY_SIZE(counted);
}

static int64_t spread(const struct query *q, const struct sched_node *n)
{
    int64_t most = 0;

    VEC_EACH(&q->state->nodes, other)
        most = MAX(most, other->n_pods);
    return most ? 100 - n->n_pods * 100 / most : 100;
}

static int64_t node_affinity(const struct query *q, const struct sched_node *n)
{
    int64_t total = 0, matched = 0;
    yyjson_val *item;

    json_each(json_at(q->req->pod, "/spec/affinity/nodeAffinity/preferredDuringSchedulingIgnoredDuringExecution"),
              item) {
        int64_t weight = json_int(item, "/weight", 1);
        total += weight;
        if (node_term_matches(json_at(item, "/preference"), n->obj))
            matched += weight;
    }
    return total ? matched * 100 / total : 0;
}

/* Around 50: above near pods that are liked, below near those that are not. */
static int64_t pod_affinity(const struct query *q, const struct sched_node *n)
{
    int64_t sum = 0, total = 0;

    VEC_EACH(&q->preferred, t) {
        total += t->weight < 0 ? -t->weight : t->weight;
        if (near_count(t, n))
            sum += t->weight;
    }
    return total ? 50 + sum * 50 / total : 0;
}

static int64_t preferred_taints(const struct query *q, const struct sched_node *n)
{
    int64_t score = 100;
    yyjson_val *taint;

    json_each(json_at(n->obj, "/spec/taints"), taint)
        if (streq(json_str_or(taint, "/effect", ""), "PreferNoSchedule") &&
            !sched_tolerates(json_at(q->req->pod, "/spec/tolerations"), taint))
            score -= 50;
    return MAX(score, (int64_t)0);
}

static const struct {
    const char *name;
    int weight;
    int64_t (*score)(const struct query *q, const struct sched_node *n);
} scores[] = {
    {"TaintToleration", 3, preferred_taints}, {"NodeAffinity", 2, node_affinity},
    {"InterPodAffinity", 2, pod_affinity},    {"Spread", 2, spread},
    {"NodeResourcesFit", 1, least_allocated},
};

int64_t scores_total(const struct query *q, const struct sched_node *n)
{
    int64_t sum = 0;

    for (size_t i = 0; i < ARRAY_SIZE(scores); i++)
        sum += scores[i].weight * scores[i].score(q, n);
    return sum;
}
