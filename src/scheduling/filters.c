/* The filters of kube-scheduler, as far as launcher pods need them, in its order and with its messages. */
#include <string.h>

#include "api/meta.h"
#include "base/alloc.h"
#include "scheduling/query.h"

static bool is_schedulable(const struct query *q, const struct sched_node *n, struct str *why)
{
    static const char taint_text[] = "{\"key\":\"node.kubernetes.io/unschedulable\",\"effect\":\"NoSchedule\"}";

    if (!json_bool(n->obj, "/spec/unschedulable", false))
        return true;
    /* A pod that tolerates the taint that cordoning stands for may come nevertheless. */
    _cleanup_doc_ yyjson_doc *taint = yyjson_read(taint_text, strlen(taint_text), 0);
    if (sched_tolerates(json_at(q->req->pod, "/spec/tolerations"), yyjson_doc_get_root(taint)))
        return true;
    str_puts(why, "node(s) were unschedulable\n");
    return false;
}

static bool is_ready(_unused_ const struct query *q, const struct sched_node *n, struct str *why)
{
    if (!meta_deleting(n->obj) && condition_true(n->obj, "Ready"))
        return true;
    str_puts(why, "node(s) were not ready\n");
    return false;
}

static bool tolerates_taints(const struct query *q, const struct sched_node *n, struct str *why)
{
    yyjson_val *taint;

    json_each(json_at(n->obj, "/spec/taints"), taint) {
        if (streq(json_str_or(taint, "/effect", ""), "PreferNoSchedule") ||
            sched_tolerates(json_at(q->req->pod, "/spec/tolerations"), taint))
            continue;
        str_printf(why, "node(s) had untolerated taint {%s: %s}\n", json_str_or(taint, "/key", ""),
                   json_str_or(taint, "/value", ""));
        return false;
    }
    return true;
}

static bool matches_node_affinity(const struct query *q, const struct sched_node *n, struct str *why)
{
    yyjson_val *required = json_at(
        q->req->pod, "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms");
    bool selected = !q->node_selector || selector_matches(q->node_selector, json_at(n->obj, "/metadata/labels"));
    /* A selector whose labels no node can have (they do not parse) matches none. */
    bool parses = q->node_selector || !yyjson_obj_size(json_at(q->req->pod, "/spec/nodeSelector"));

    if (selected && parses && (!required || sched_node_terms_match(required, n->obj)))
        return true;
    str_puts(why, "node(s) didn't match Pod's node affinity/selector\n");
    return false;
}

static bool has_room(const struct query *q, const struct sched_node *n, struct str *why)
{
    int64_t pods = resource_get(&n->allocatable, "pods");
    bool fits = true;

    if (pods && n->n_pods >= pods) {
        str_puts(why, "Too many pods\n");
        fits = false;
    }
    VEC_EACH(&q->requests, r)
        if (r->amount > 0 &&
            r->amount > resource_get(&n->allocatable, r->name) - resource_get(&n->requested, r->name)) {
            str_printf(why, "Insufficient %s\n", r->name);
            fits = false;
        }
    return fits;
}

static bool reaches_volumes(const struct query *q, const struct sched_node *n, struct str *why)
{
    VEC_EACH(&q->req->volume_affinities, required)
        if (!sched_node_terms_match(json_at(*required, "/nodeSelectorTerms"), n->obj)) {
            str_puts(why, "node(s) had volume node affinity conflict\n");
            return false;
        }
    return true;
}

/* The first pod of a group that wants to be near itself may go anywhere. */
static bool is_first_of_group(const struct query *q)
{
    VEC_EACH(&q->affinity, t)
        if (map_len(t->places) || !t->self)
            return false;
    return true;
}

static bool likes_pods(const struct query *q, const struct sched_node *n, struct str *why)
{
    const char *fault = NULL;

    VEC_EACH(&q->affinity, t)
        if (!node_label(n, t->topology) || (!near_count(t, n) && !is_first_of_group(q)))
            fault = "node(s) didn't match pod affinity rules\n";
    VEC_EACH(&q->anti, t)
        if (!fault && near_count(t, n))
            fault = "node(s) didn't match pod anti-affinity rules\n";
    const char *key;
    for (size_t at = 0; !fault && map_next(q->repelled, &at, &key, NULL);) {
        const char *equals = strchr(key, '=');
        _cleanup_free_ char *topology = xstrndup(key, (size_t)(equals - key));
        const char *place = node_label(n, topology);
        if (place && streq(place, equals + 1))
            fault = "node(s) didn't satisfy existing pods anti-affinity rules\n";
    }
    if (fault)
        str_puts(why, fault);
    return !fault;
}

static const struct {
    const char *name;
    bool (*passes)(const struct query *q, const struct sched_node *n, struct str *why);
} filters[] = {
    {"NodeUnschedulable", is_schedulable},
    {"TaintToleration", tolerates_taints},
    {"NodeReady", is_ready}, /* ours: Kubernetes has a taint for it */
    {"NodeAffinity", matches_node_affinity},
    {"NodeResourcesFit", has_room},
    {"VolumeBinding", reaches_volumes},
    {"InterPodAffinity", likes_pods},
};

bool filters_pass(const struct query *q, const struct sched_node *n, struct str *why)
{
    for (size_t i = 0; i < ARRAY_SIZE(filters); i++)
        if (!filters[i].passes(q, n, why))
            return false;
    return true;
}
