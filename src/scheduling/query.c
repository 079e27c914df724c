#include "scheduling/query.h"

#include <string.h>

#include "api/meta.h"
#include "base/alloc.h"

const char *node_label(const struct sched_node *n, const char *key)
{
    return json_key_str(n->obj, "/metadata/labels", key);
}

int64_t near_count(const struct near_term *t, const struct sched_node *n)
{
    const char *place = node_label(n, t->topology);

    return place ? (int64_t)(intptr_t)map_get(t->places, place) : 0;
}

/* A term as its owner means it: which pods. */
struct meant {
    struct selector *labels;
    struct selector *namespace_labels; /* NULL = not given */
    yyjson_val *namespaces;
    const char *own; /* namespace of the pod that has the term */
};

static void meant_done(struct meant *m)
{
    selector_free(m->labels);
    selector_free(m->namespace_labels);
}

static struct meant meant_by(yyjson_val *term, yyjson_val *owner)
{
    struct meant m = {.namespaces = json_at(term, "/namespaces"), .own = meta_namespace(owner)};
    yyjson_val *ns = json_at(term, "/namespaceSelector");

    /* What admission let through parses; what does not matches nothing. */
    if (selector_from_object(json_at(term, "/labelSelector"), &m.labels, NULL) < 0)
        m.labels = NULL;
    if (ns && selector_from_object(ns, &m.namespace_labels, NULL) < 0)
        m.namespace_labels = NULL;
    return m;
}

/* The union of the listed and the selected ones; the owner's own if neither is given. */
static bool namespace_meant(const struct meant *m, const struct sched_state *s, const char *ns)
{
    yyjson_val *name;

    if (!m->namespace_labels && !yyjson_arr_size(m->namespaces))
        return streq(ns, m->own);
    json_each(m->namespaces, name)
        if (yyjson_equals_str(name, ns))
            return true;
    if (!m->namespace_labels)
        return false;
    return selector_matches(m->namespace_labels, s->namespaces ? map_get(s->namespaces, ns) : NULL);
}

static bool pod_meant(const struct meant *m, const struct sched_state *s, yyjson_val *pod)
{
    return m->labels && namespace_meant(m, s, meta_namespace(pod)) &&
           selector_matches(m->labels, json_at(pod, "/metadata/labels"));
}

static void add_term(struct query *q, struct near_vec *to, yyjson_val *term, int64_t weight)
{
    struct meant m = meant_by(term, q->req->pod);
    struct near_term t = {.topology = json_str_or(term, "/topologyKey", TOPOLOGY_HOSTNAME), .weight = weight};

    t.places = map_new(NULL);
    t.self = pod_meant(&m, q->state, q->req->pod);
    VEC_EACH(&q->state->pods, p) {
        const char *place = node_label(&q->state->nodes.items[p->node], t.topology);
        if (place && pod_meant(&m, q->state, p->pod))
            map_put(t.places, place, (void *)((intptr_t)map_get(t.places, place) + 1));
    }
    near_vec_push(to, t);
    meant_done(&m);
}

static void add_required(struct query *q, struct near_vec *to, const char *path)
{
    yyjson_val *term;

    json_each(json_at(q->req->pod, path), term)
        add_term(q, to, term, 0);
}

static void add_preferred(struct query *q, const char *path, int sign)
{
    yyjson_val *item;

    json_each(json_at(q->req->pod, path), item)
        add_term(q, &q->preferred, json_at(item, "/podAffinityTerm"), sign * json_int(item, "/weight", 1));
}

/* Anti-affinity works both ways: what pods already there demand counts for the newcomer. */
static void add_repelled(struct query *q, const struct sched_placed *p)
{
    yyjson_val *term;

    json_each(json_at(p->pod, SCHED_FAR_REQUIRED), term) {
        const char *topology = json_str_or(term, "/topologyKey", TOPOLOGY_HOSTNAME);
        const char *place = node_label(&q->state->nodes.items[p->node], topology);
        struct meant m = meant_by(term, p->pod);
        if (place && pod_meant(&m, q->state, q->req->pod)) {
            _cleanup_free_ char *key = xasprintf("%s=%s", topology, place);
            map_put(q->repelled, key, q);
        }
        meant_done(&m);
    }
}

static struct selector *node_selector(yyjson_val *pod)
{
    yyjson_val *labels = json_at(pod, "/spec/nodeSelector");
    struct selector *s = NULL;

    if (!yyjson_obj_size(labels))
        return NULL;
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    json_set(d, "/matchLabels", yyjson_val_mut_copy(d, labels));
    _cleanup_doc_ yyjson_doc *doc = yyjson_mut_doc_imut_copy(d, NULL);
    return selector_from_object(yyjson_doc_get_root(doc), &s, NULL) < 0 ? NULL : s;
}

void query_init(struct query *q, const struct sched_state *s, const struct sched_request *req)
{
    *q = (struct query){.state = s, .req = req, .repelled = map_new(NULL)};
    sched_pod_requests(req->pod, &q->requests);
    q->node_selector = node_selector(req->pod);
    add_required(q, &q->affinity, SCHED_NEAR_REQUIRED);
    add_required(q, &q->anti, SCHED_FAR_REQUIRED);
    add_preferred(q, SCHED_NEAR_PREFERRED, 1);
    add_preferred(q, SCHED_FAR_PREFERRED, -1);
    VEC_EACH(&s->hermits, p)
        add_repelled(q, p);
}

static void near_vec_clear(struct near_vec *v)
{
    VEC_EACH(v, t)
        map_free(t->places);
    near_vec_done(v);
}

void query_done(struct query *q)
{
    resource_vec_done(&q->requests);
    selector_free(q->node_selector);
    near_vec_clear(&q->affinity);
    near_vec_clear(&q->anti);
    near_vec_clear(&q->preferred);
    map_free(q->repelled);
}
