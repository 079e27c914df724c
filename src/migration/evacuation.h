/* Evictions and evacuations: what a VM's eviction strategy makes of a request to end its pod, and when a VM that is to
 * leave its node gets a migration. Pure; the API server (pods/eviction) asks the first, the evacuation controller the
 * rest. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"

/* On a migration: the node that it is to empty. Marks those that were made here. */
#define ANNOTATION_EVACUATION "kubevirt.io/evacuationMigration"
#define CONDITION_EVICTION "EvictionRequested"

/* On a VMI: who asked for its eviction, where that matters: a descheduler's request is less urgent than a drain. */
#define ANNOTATION_EVICTION_SOURCE "kubevirt.io/eviction-source"
#define EVICTION_BY_DESCHEDULER "descheduler"

enum eviction_strategy {
    EVICTION_NONE, /* the pod may end; the VM starts elsewhere as its run strategy says */
    EVICTION_LIVE_MIGRATE,
    EVICTION_LIVE_MIGRATE_IF_POSSIBLE,
    EVICTION_EXTERNAL, /* somebody else sees the mark and acts */
    EVICTION_STRATEGY_MAX,
};
/* spec.evictionStrategy of a VMI, where admission has put the cluster's if it named none. EVICTION_NONE when absent. */
enum eviction_strategy eviction_strategy_of(yyjson_val *vmi);

enum eviction_verdict {
    EVICTION_ALLOWED,
    EVICTION_MARKS, /* denied for now: the VM is marked to leave its node */
    EVICTION_BLOCKED,
};
enum eviction_verdict eviction_verdict(enum eviction_strategy strategy, bool migratable);

/* status.evacuationNodeName names the node that the VMI runs on. */
bool evacuation_is_marked(yyjson_val *vmi);

/* The key of the taint that empties a node, of the KubeVirt object (NULL: the default); and whether node carries it. */
const char *evacuation_taint_key(yyjson_val *kubevirt);
bool evacuation_is_tainted(yyjson_val *node, const char *key);

/* A VMI that runs. */
struct evacuation_view {
    enum eviction_strategy strategy;
    bool migratable;   /* LiveMigratable is True */
    bool marked;       /* evacuation_is_marked() */
    bool tainted;      /* its node carries the drain taint */
    bool cordoned;     /* its node is unschedulable */
    bool was_cordoned; /* and was so while the mark was there */
    bool queued;       /* a migration of it waits for its turn */
    bool moving;       /* one has begun */
    bool crowded;      /* it has several active pods */
    unsigned failures; /* evacuations that failed in a row, since it was asked for */
    int64_t failed_ms; /* since the last of them did */
};

enum evacuation_action {
    EVACUATION_WITHDRAW, /* nobody wants it (any more): mark and condition go, and migrations that have not begun */
    EVACUATION_WAIT,
    EVACUATION_MIGRATE,
    EVACUATION_ACTION_MAX,
};
const char *evacuation_action_string(enum evacuation_action action);

/* What an evacuation waits for. */
enum evacuation_wait {
    EVACUATION_FOR_NOTHING,
    EVACUATION_FOR_MIGRATION,
    EVACUATION_FOR_OTHERS, /* strategy External */
    EVACUATION_FOR_MIGRATABLE,
    EVACUATION_FOR_PODS,
    EVACUATION_FOR_BACKOFF,
};

struct evacuation_step {
    enum evacuation_action action;
    enum evacuation_wait wait;
    int64_t look_again_ms; /* 0: time alone changes nothing */
};
struct evacuation_step evacuation_next(const struct evacuation_view *v);

/* How long to wait after n failures in a row: 20 s, doubling, at most 320 s (KubeVirt's migration back-off). */
int64_t evacuation_backoff_ms(unsigned failures);
