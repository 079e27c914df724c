/* Two nodes under controllers, with scheduler and agents played by hand: for tests of what the controllers of migrations
 * do at each step. */
#pragma once

#include "sim.h"

#define NS "/namespaces/default"
#define VMIS "/apis/kubevirt.io/v1" NS "/virtualmachineinstances"
#define VMIMS "/apis/kubevirt.io/v1" NS "/virtualmachineinstancemigrations"
#define PODS "/api/v1" NS "/pods"
#define NODES "/api/v1/nodes"
#define EVENTS "/api/v1" NS "/events"

struct controller;
struct controllers;

struct world {
    struct sim *s;
    struct env *env;
    struct controllers *controllers;
    char target[256]; /* of the pod that was found last */
    char text[2048];  /* what world_get returned last */
};

/* Nodes n1 and n2, and the controllers of table. */
struct world *world_new(uint64_t seed, const struct controller *const *table);
/* For cmocka: of *state. */
int world_tear_down(void **state);

/* The string at path of an object, "" if there is none. */
const char *world_get(struct world *w, const char *target, const char *path);
/* A merge patch, and a second for what follows from it. */
void world_patch(struct world *w, const char *target, const char *body);

/* The launcher pod of a VMI that is (or is not) a migration's target, rather one that has not ended; its target in
 * w->target. */
bool world_find_pod(struct world *w, const char *vmi, bool target_pod);
/* It is bound to node and runs. */
void world_run_pod(struct world *w, const char *vmi, bool target_pod, const char *node);

/* Whether an event of that reason was told. */
bool world_happened(struct world *w, const char *reason);
