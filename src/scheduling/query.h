/* Inside scheduling: a request prepared against a state, so that filters and scores need no search per node. */
#pragma once

#include "api/selector.h"
#include "scheduling/scheduling.h"

#define TOPOLOGY_HOSTNAME "kubernetes.io/hostname"

/* One pod affinity term: in which places (values of the topology label) there are matching pods, and how many. */
struct near_term {
    const char *topology;
    struct map *places; /* value -> count as intptr_t */
    bool self;          /* the pod itself matches */
    int64_t weight;     /* of a preferred term; negative for anti-affinity */
};
VEC_DEFINE(near_vec, struct near_term);

struct query {
    const struct sched_state *state;
    const struct sched_request *req;
    struct resource_vec requests;
    struct selector *node_selector; /* NULL = none given */
    struct near_vec affinity, anti, preferred;
    struct map *repelled; /* "topology=value" where pods that are there want no pod like this one */
};

void query_init(struct query *q, const struct sched_state *s, const struct sched_request *req);
void query_done(struct query *q);
#define _cleanup_query_ _cleanup_(query_done)

/* The value of a label of the node, NULL if absent. */
const char *node_label(const struct sched_node *n, const char *key);
int64_t near_count(const struct near_term *t, const struct sched_node *n);

/* resources.c: the amount of that name, made as 0 when absent (valid until the next is made); adds a list such as
 * status.allocatable. */
struct resource_amount *resource_slot(struct resource_vec *v, const char *name);
void resource_add_list(struct resource_vec *v, yyjson_val *list);

/* ledger.c: what its pods take. */
void sched_ledger_apply(const struct sched_ledger *l, struct sched_node *n);

/* match.c: one node selector term. */
bool node_term_matches(yyjson_val *term, yyjson_val *node);

/* filters.c: true if the node passes all; else the first failing filter's reasons go to why, one per line. */
bool filters_pass(const struct query *q, const struct sched_node *n, struct str *why);
/* scores.c: higher is better. */
int64_t scores_total(const struct query *q, const struct sched_node *n);
