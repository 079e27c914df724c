/* Scheduling decisions, pure: where may a pod run, where should it, and why nowhere.
 *
 * Filters and scores are two tables (filters.c, scores.c); names are those of kube-scheduler's plugins. The state is a
 * snapshot that the caller builds from its caches; nothing here allocates beyond it or looks at a clock. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/json.h"
#include "base/map.h"
#include "base/str.h"
#include "base/vec.h"

/* One kind of resource: cpu in millicores, memory and storage in bytes, others in units. */
struct resource_amount {
    const char *name; /* interned: borrowed from the object, or static */
    int64_t amount;
};
VEC_DEFINE(resource_vec, struct resource_amount);

/* A pod that is bound (or assumed) to a node, as far as decisions need it. Borrows from obj. */
struct sched_pod {
    yyjson_val *obj;
    struct resource_vec requests; /* init containers and overhead included */
};

struct sched_node {
    yyjson_val *obj;
    const char *name;
    struct resource_vec allocatable;
    struct resource_vec requested; /* the sum over its pods */
    int64_t n_pods;
};

VEC_DEFINE(sched_node_vec, struct sched_node);

/* Pods on nodes that matter for (anti-)affinity: (pod object, index of its node). */
struct sched_placed {
    yyjson_val *pod;
    size_t node;
};
VEC_DEFINE(sched_placed_vec, struct sched_placed);

struct sched_state {
    struct sched_node_vec nodes;
    struct sched_placed_vec pods;
    struct map *by_name; /* node name -> index + 1 */
};

void sched_state_done(struct sched_state *s);
#define _cleanup_sched_state_ _cleanup_(sched_state_done)

/* Nodes first, then pods. A pod whose phase is final or that has no spec.nodeName takes no room. node NULL =
 * spec.nodeName; otherwise the pod is taken as if it were there (assumed). */
void sched_add_node(struct sched_state *s, yyjson_val *node);
void sched_add_pod(struct sched_state *s, yyjson_val *pod, const char *node);

/* What is asked: the pod, and what its volumes demand (the caller resolves claims). */
VEC_DEFINE(affinity_vec, yyjson_val *);
struct sched_request {
    yyjson_val *pod;
    struct affinity_vec volume_affinities; /* PersistentVolume.spec.nodeAffinity.required of each bound volume */
    const char *blocked;                   /* a claim that cannot be used on any node yet: why; NULL if none */
};

/* The index of the best node, or -1 if none fits, with the reason in `why`: "0/3 nodes are available: 1 Insufficient
 * memory, 2 node(s) didn't match Pod's node affinity/selector." Ties are broken by `random`. */
ssize_t sched_pick(const struct sched_state *s, const struct sched_request *req, uint64_t random, struct str *why);

/* One node: true if it fits, else the reasons (each as Kubernetes words it) are appended to `why`, separated by newlines. */
bool sched_fits(const struct sched_state *s, const struct sched_request *req, size_t node, struct str *why);

/* 0..100 */
int sched_score(const struct sched_state *s, const struct sched_request *req, size_t node);

/* Does a pod's requests: init containers' maximum, containers' sum, plus overhead. Caller frees with resource_vec_done. */
void sched_pod_requests(yyjson_val *pod, struct resource_vec *ret);

/* nodeSelectorTerms as NodeAffinity and PersistentVolumes have them: any term, all of its expressions and fields. */
bool sched_node_terms_match(yyjson_val *terms, yyjson_val *node);
/* metav1.LabelSelector {matchLabels, matchExpressions} against a labels object; NULL selector matches nothing. */
bool sched_labels_match(yyjson_val *selector, yyjson_val *labels);
/* Does one of the tolerations cover the taint. */
bool sched_tolerates(yyjson_val *tolerations, yyjson_val *taint);
