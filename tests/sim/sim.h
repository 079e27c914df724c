/* A cluster in one thread and in virtual time: the real REST core over a store in memory, clients that reach it through a
 * network with delays and losses, and what the test adds: controllers as they are, and agents as state machines. The same
 * seed gives the same run.
 *
 *   struct sim *s = sim_new(&(struct sim_config){.seed = 1, .delay_ms = {1, 20}});
 *   struct env *env = sim_process(s, "system:godwit:controllers");
 *   struct controllers *cs = controllers_start(env, table);
 *   sim_run(s, 60000);
 *   controllers_stop(cs);
 *   sim_process_end(env);                  (all its calls and timers end, as when a process is killed)
 *   sim_free(s);
 */
#pragma once

#include "api/kind.h"
#include "client/client.h"
#include "client/env.h"
#include "virtual.h"

struct sim;

struct sim_config {
    uint64_t seed;
    int delay_ms[2];         /* of each message: from, to */
    int lose_request;        /* per mille of the calls: lost before the server sees it */
    int lose_answer;         /* per mille: the server acted, but nobody learns of it */
    int cut_watch;           /* per mille of the deliveries: the watch breaks instead */
    int repeat_event;        /* per mille of the deliveries: made twice */
    int late_event_ms;       /* up to so much later than other messages */
};

struct sim *sim_new(const struct sim_config *cfg);
struct sim *sim_free(struct sim *s);
/* Other circumstances from now on. */
void sim_configure(struct sim *s, const struct sim_config *cfg);

struct virtual *sim_time(struct sim *s);
void sim_run(struct sim *s, int64_t ms);
bool sim_run_until(struct sim *s, int64_t ms, bool (*test)(void *userdata), void *userdata);

/* A process with an environment and a client of its own, in the given group (administrators: "system:masters"). name is for
 * the server to authorize by: "system:node:n1". Nothing is refused unless the test sets an authorizer. */
struct env *sim_process(struct sim *s, const char *name, const char *group);
struct env *sim_process_end(struct env *env);
/* Cuts a process off (calls fail after a while, watches say nothing) or joins it again. */
void sim_partition(struct env *env, bool cut);

/* The server goes away for ms: all connections break, the store stays. */
void sim_restart_server(struct sim *s, int64_t ms);

/* --- what the test does and sees itself, at once and without delay, as administrator --- */

/* A request; body may be NULL. Fails the test unless the status is `expect` (0 = any). The caller frees the answer (may be
 * NULL). content type: merge patch for PATCH, else JSON. */
yyjson_doc *sim_do(struct sim *s, int expect, const char *method, const char *target, const char *body);
#define sim_post(s, target, body) yyjson_doc_free(sim_do(s, 201, "POST", target, body))
#define sim_patch(s, target, body) yyjson_doc_free(sim_do(s, 200, "PATCH", target, body))
#define sim_delete(s, target) yyjson_doc_free(sim_do(s, 200, "DELETE", target, NULL))
/* The object, or NULL. */
yyjson_doc *sim_get(struct sim *s, const char *target);
/* The string at a path of it, copied into buf; "" if either is absent. */
const char *sim_str(struct sim *s, const char *target, const char *path, char *buf, size_t size);
/* How many items the list has for which the value at path equals want (path NULL: all). */
size_t sim_count(struct sim *s, const char *target, const char *path, const char *want);

/* Makes, serves and establishes a CustomResourceDefinition; takes it away with all its objects. */
void sim_define(struct sim *s, const char *definition);
void sim_undefine(struct sim *s, const char *name);

/* --- numbers --- */
struct sim_counts {
    uint64_t requests, writes, events;
};
struct sim_counts sim_counts(const struct sim *s);
