/* Scheduling decisions, pure: where may a pod run, where should it, and why nowhere.
 *
 * Filters and scores are two tables (filters.c, scores.c); names and messages are those of kube-scheduler's plugins.
 * The state is a snapshot that the caller builds from its caches, of which it borrows; nothing here looks at a clock.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/json.h"
#include "base/map.h"
#include "base/str.h"
#include "base/vec.h"

/* cpu in millicores, memory and storage in bytes, others in units. Names are borrowed. */
struct resource_amount {
    const char *name;
    int64_t amount;
};
VEC_DEFINE(resource_vec, struct resource_amount);
int64_t resource_get(const struct resource_vec *v, const char *name); /* 0 when absent */

struct sched_node {
    yyjson_val *obj;
    const char *name;
    struct resource_vec allocatable;
    struct resource_vec requested; /* the sum over its pods */
    int64_t n_pods;
};
VEC_DEFINE(sched_node_vec, struct sched_node);

/* A pod that is on a node, or will be. */
struct sched_placed {
    yyjson_val *pod;
    size_t node;
};
VEC_DEFINE(sched_placed_vec, struct sched_placed);

/* Where a pod says which other pods it wants near, and which far. */
#define SCHED_NEAR_REQUIRED "/spec/affinity/podAffinity/requiredDuringSchedulingIgnoredDuringExecution"
#define SCHED_NEAR_PREFERRED "/spec/affinity/podAffinity/preferredDuringSchedulingIgnoredDuringExecution"
#define SCHED_FAR_REQUIRED "/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution"
#define SCHED_FAR_PREFERRED "/spec/affinity/podAntiAffinity/preferredDuringSchedulingIgnoredDuringExecution"

/* Zero-initialised is empty. */
struct sched_state {
    struct sched_node_vec nodes;
    struct sched_placed_vec pods;
    struct sched_placed_vec hermits; /* those of them with required anti-affinity */
    struct map *by_name;             /* node name -> its index + 1 */
    struct map *namespaces;          /* name -> labels, for namespaceSelector */
};

void sched_state_done(struct sched_state *s);
#define _cleanup_sched_state_ _cleanup_(sched_state_done)

/* What the pods of each node take, from the changes that a cache tells of: old NULL is a new pod, pod NULL one that is
 * gone. */
struct sched_ledger;
struct sched_ledger *sched_ledger_new(void);
struct sched_ledger *sched_ledger_free(struct sched_ledger *l);
void sched_ledger_change(struct sched_ledger *l, yyjson_val *old, yyjson_val *pod);

/* On a node, and its phase is not final. */
bool sched_takes_room(yyjson_val *pod);

/* Nodes and namespaces first, then pods. ledger: what the node's pods take, valid until its next change; NULL: nothing.
 */
void sched_add_namespace(struct sched_state *s, yyjson_val *ns);
void sched_add_node(struct sched_state *s, yyjson_val *node, const struct sched_ledger *ledger);
/* A pod that the ledger has: only for who asks to be near or far from it, or whom it wants far. One that takes no room
 * or whose node is unknown is ignored. */
void sched_add_neighbour(struct sched_state *s, yyjson_val *pod);
/* A pod that the ledger does not have, as being on that node, with the room that it takes. */
void sched_add_pod(struct sched_state *s, yyjson_val *pod, const char *node);

/* What is asked: the pod, and what its volumes demand (the caller resolves claims). */
VEC_DEFINE(affinity_vec, yyjson_val *);
struct sched_request {
    yyjson_val *pod;
    struct affinity_vec volume_affinities; /* PersistentVolume.spec.nodeAffinity.required of each bound volume */
    const char *blocked;                   /* a claim that cannot be used on any node yet: why; NULL if none */
};

/* The index of the best node, or -1 if none fits, with the reason appended to `why`: "0/3 nodes are available: 1
 * Insufficient memory, 2 node(s) didn't match Pod's node affinity/selector." Ties are broken by `random`. */
ssize_t sched_pick(const struct sched_state *s, const struct sched_request *req, uint64_t random, struct str *why);

/* What a pod requests: the sum of its containers or the largest init container, whichever is more, plus overhead; a
 * limit counts where no request is given. The caller frees with resource_vec_done. */
void sched_pod_requests(yyjson_val *pod, struct resource_vec *ret);

/* nodeSelectorTerms as NodeAffinity and PersistentVolumes have them: any term, all of its expressions and fields. */
bool sched_node_terms_match(yyjson_val *terms, yyjson_val *node);
/* Does one of the tolerations cover the taint. */
bool sched_tolerates(yyjson_val *tolerations, yyjson_val *taint);
