/* Thousands of migrations between hundreds of nodes, over a bad network, with controllers and agents that are killed and
 * started again, copies that break, QEMUs that die, users that change their minds. Whatever happens:
 *
 *   - no guest runs twice at any instant (fleet.c), and none is lost but by the death of the QEMU that ran it;
 *   - the limits hold at every revision of the store;
 *   - every migration becomes final, in turn; nothing is left of it but five objects per VM.
 *
 * "large" as argument: 300 nodes and 5,000 migrations; otherwise few, for every day. A number: the seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "api/meta.h"
#include "base/alloc.h"
#include "base/map.h"
#include "client/informer.h"
#include "controllers/kubevirt.h"
#include "fleet.h"
#include "migration/phase.h"

#define KUBEVIRT "/apis/kubevirt.io/v1"
#define VMIS "virtualmachineinstances"
#define VMIMS "virtualmachineinstancemigrations"
#define NAMESPACES 20
#define STEP_MS 200
/* A migration that was let start and whose first request is lost shows it only after 30 s; meanwhile others go past it. */
#define OVERTAKEN_MAX 10

static const struct controller *const table[] = {&vmi_controller, &migration_controller, NULL};

struct plan {
    int nodes, vms, migrations;
    int64_t cluster_limit, node_limit;
    uint64_t seed;
};
static struct plan plan = {.nodes = 20, .vms = 40, .migrations = 300, .cluster_limit = 10, .node_limit = 2, .seed = 42};

/* A migration as the users and the observer know it. */
struct job {
    int vm;
    int seq;
    char name[32], from[16], uid[40];
    int64_t created;
    enum migration_phase phase;
    int64_t cancel_at; /* 0 = never */
    bool cancelled;
    int overtaken;     /* by younger ones from the same node */
};

struct vm {
    struct job *job; /* the last one */
    bool lost;
};

struct world {
    struct sim *s;
    struct fleet *fleet;
    struct env *env;          /* of the controllers; NULL while they are dead */
    struct controllers *controllers;
    struct env *observer;
    struct informer *seen;    /* migrations, as every revision of them passes by */
    struct map *jobs;         /* uid -> struct job */
    struct vm *vms;
    struct map *active_on;    /* node -> size_t * */
    int64_t active, most_active;
    int made, final, succeeded, failed, restarts;
    int64_t next_restart;
};

/* "…/namespaces/nsI/PLURAL[/NAME]" of the namespace that VM i lives in. The answer is good until the fourth call after. */
static const char *of_vm(const char *plural, int i, const char *name)
{
    static char buf[4][256];
    static int at;

    at = (at + 1) % 4;
    snprintf(buf[at], sizeof(buf[at]), KUBEVIRT "/namespaces/ns%d/%s%s%s", i % NAMESPACES, plural, name ? "/" : "", name ? name : "");
    return buf[at];
}

static const char *vmi_target(int i)
{
    char name[16];

    snprintf(name, sizeof(name), "vm%d", i);
    return of_vm(VMIS, i, name);
}

/* --- the observer --- */

static size_t *active_on(struct world *w, const char *node)
{
    size_t *n = map_get(w->active_on, node);

    if (!n) {
        n = xnew(size_t);
        map_put(w->active_on, node, n);
    }
    return n;
}

static bool is_active(enum migration_phase phase)
{
    return phase >= MIGRATION_SCHEDULING && !migration_phase_final(phase);
}

/* In the queue: the API knows whole seconds, and within one the uid decides. */
static bool is_before(const struct job *a, const struct job *b)
{
    return a->created != b->created ? a->created < b->created : strcmp(a->uid, b->uid) < 0;
}

static void check_start(struct world *w, struct job *job)
{
    const char *uid;
    void *value;

    w->active++;
    w->most_active = MAX(w->most_active, w->active);
    assert_true(w->active <= plan.cluster_limit);
    assert_true((int64_t) ++*active_on(w, job->from) <= plan.node_limit);
    for (size_t at = 0; job->seq < plan.vms && map_next(w->jobs, &at, &uid, &value);) {
        struct job *other = value;
        if (is_before(other, job) && streq(other->from, job->from) && other->phase == MIGRATION_PENDING && !other->cancelled)
            other->overtaken++;
    }
}

static void on_migration(void *userdata, const char *key, yyjson_val *old, yyjson_val *obj)
{
    struct world *w = userdata;
    struct job *job = map_get(w->jobs, meta_uid(obj ? obj : old));
    enum migration_phase phase = obj ? migration_phase_from(json_str(obj, "/status/phase")) : MIGRATION_FAILED;

    assert_non_null(job);
    if (phase == job->phase || migration_phase_final(job->phase))
        return;
    assert_true(phase == job->phase + 1 || phase == MIGRATION_FAILED);
    if (is_active(phase) && !is_active(job->phase))
        check_start(w, job);
    if (!is_active(phase) && is_active(job->phase)) {
        w->active--;
        --*active_on(w, job->from);
    }
    job->phase = phase;
    if (migration_phase_final(phase)) {
        w->final++;
        w->succeeded += phase == MIGRATION_SUCCEEDED;
        w->failed += phase == MIGRATION_FAILED;
    }
}

/* --- the world --- */

static void start_controllers(struct world *w)
{
    w->env = sim_process(w->s, "system:godwit:controllers", "system:godwit:controllers");
    w->controllers = controllers_start(w->env, table);
}

static void kill_controllers(struct world *w)
{
    w->controllers = controllers_stop(w->controllers);
    w->env = sim_process_end(w->env);
}

static void make_vms(struct world *w)
{
    for (int i = 0; i < NAMESPACES; i++) {
        _cleanup_free_ char *body = xasprintf("{\"metadata\":{\"name\":\"ns%d\"}}", i);
        sim_post(w->s, "/api/v1/namespaces", body);
    }
    for (int i = 0; i < plan.vms; i++) {
        _cleanup_free_ char *body = xasprintf("{\"metadata\":{\"name\":\"vm%d\"},\"spec\":{\"domain\":{\"devices\":{},\"memory\":"
                                              "{\"guest\":\"64Mi\"}}}}", i);
        sim_post(w->s, of_vm(VMIS, i, NULL), body);
    }
}

static bool all_run(void *userdata)
{
    struct world *w = userdata;

    return fleet_running(w->fleet) == (size_t)plan.vms;
}

static void set_limits(struct world *w)
{
    _cleanup_free_ char *body = xasprintf("{\"spec\":{\"configuration\":{\"migrations\":{\"parallelMigrationsPerCluster\":%d,"
                                          "\"parallelOutboundMigrationsPerNode\":%d}}}}",
                                          (int)plan.cluster_limit, (int)plan.node_limit);

    sim_patch(w->s, "/apis/kubevirt.io/v1/namespaces/kubevirt/kubevirts/kubevirt", body);
}

static void free_job(void *p)
{
    free(p);
}

static int set_up(void **state)
{
    static const char *const keep[] = {"/status/phase", NULL};
    struct world *w = xnew(struct world);

    w->s = sim_new(&(struct sim_config){.seed = plan.seed, .delay_ms = {1, 20}, .lose_request = 2, .lose_answer = 2, .cut_watch = 1,
                                        .repeat_event = 20, .late_event_ms = 100});
    set_limits(w);
    w->fleet = fleet_new(w->s, &(struct fleet_config){.nodes = plan.nodes, .copy_ms = {200, 8000}, .target_fails = 20, .copy_fails = 40,
                                                      .target_dies = 20, .source_dies = 2, .agent_restarts = 10});
    w->jobs = map_new(free_job);
    w->active_on = map_new(free);
    w->vms = xnew_n(struct vm, (size_t)plan.vms);
    start_controllers(w);
    make_vms(w);
    assert_true(sim_run_until(w->s, 600000, all_run, w));
    sim_run(w->s, 2000);
    w->observer = sim_process(w->s, "observer", "system:masters");
    w->seen = informer_new(w->observer, &(struct informer_config){.resource = &API_MIGRATIONS, .keep = keep});
    informer_add_handler(w->seen, on_migration, w);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    kill_controllers(w);
    informer_free(w->seen);
    sim_process_end(w->observer);
    fleet_free(w->fleet);
    map_free(w->jobs);
    map_free(w->active_on);
    sim_free(w->s);
    free(w->vms);
    free(w);
    return 0;
}

/* --- the users --- */

static uint64_t rnd(struct world *w, uint64_t n)
{
    return virtual_random(sim_time(w->s)) % n;
}

static void migrate(struct world *w, int i)
{
    struct job *job = xnew(struct job);
    _cleanup_free_ char *body = NULL;

    *job = (struct job){.vm = i, .seq = w->made};
    snprintf(job->name, sizeof(job->name), "m%d", w->made);
    (void)sim_str(w->s, vmi_target(i), "/status/nodeName", job->from, sizeof(job->from));
    body = xasprintf("{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"vmiName\":\"vm%d\"}}", job->name, i);
    _cleanup_doc_ yyjson_doc *answer = sim_do(w->s, 0, "POST", of_vm(VMIMS, i, NULL), body);
    const char *uid = meta_uid(yyjson_doc_get_root(answer));
    if (!*uid) { /* refused: the VM was lost, or is just about to be */
        char phase[32];
        w->vms[i].lost = streq(sim_str(w->s, vmi_target(i), "/status/phase", phase, sizeof(phase)), "Failed");
        free(job);
        return;
    }
    snprintf(job->uid, sizeof(job->uid), "%s", uid);
    job->created = meta_created(yyjson_doc_get_root(answer));
    if (rnd(w, 100) < 4)
        job->cancel_at = virtual_now(sim_time(w->s)) + 1 + (int64_t)rnd(w, 10000);
    map_put(w->jobs, uid, job);
    w->vms[i].job = job;
    w->made++;
}

static void cancel(struct world *w, struct job *job)
{
    job->cancelled = true;
    yyjson_doc_free(sim_do(w->s, 0, "DELETE", of_vm(VMIMS, job->vm, job->name), NULL));
}

static void use(struct world *w)
{
    int64_t now = virtual_now(sim_time(w->s));

    for (int i = 0; i < plan.vms; i++) {
        struct job *job = w->vms[i].job;
        bool live = job && !migration_phase_final(job->phase);
        if (live && job->cancel_at && !job->cancelled && now >= job->cancel_at)
            cancel(w, job);
        if (!live && !w->vms[i].lost && w->made < plan.migrations)
            migrate(w, i);
    }
}

/* Killed in the middle of whatever they do; another process takes over a little later. */
static void restart_sometimes(struct world *w)
{
    int64_t now = virtual_now(sim_time(w->s));

    if (now < w->next_restart)
        return;
    if (w->env) {
        kill_controllers(w);
        w->restarts++;
        w->next_restart = now + 1000 + (int64_t)rnd(w, 2000);
    } else {
        start_controllers(w);
        w->next_restart = now + 5000 + (int64_t)rnd(w, 60000);
    }
}

/* --- the test --- */

/* What is known of a migration that does not end as it should. */
static void explain(struct world *w, const struct job *job)
{
    _cleanup_free_ char *pods = xasprintf("/api/v1/pods?labelSelector=" LABEL_VM_NAME "%%3Dvm%d", job->vm);
    const char *targets[] = {of_vm(VMIMS, job->vm, job->name), vmi_target(job->vm), pods};

    for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
        _cleanup_doc_ yyjson_doc *doc = sim_get(w->s, targets[i]);
        _cleanup_free_ char *text = doc ? yyjson_write(doc, YYJSON_WRITE_PRETTY_TWO_SPACES, NULL) : NULL;
        fprintf(stderr, "%s: %s\n", targets[i], text ? text : "gone");
    }
}

static void check_vm(struct world *w, int i, yyjson_val *pods, yyjson_val *migrations)
{
    _cleanup_free_ char *name = xasprintf("vm%d", i);
    _cleanup_doc_ yyjson_doc *vmi = sim_get(w->s, vmi_target(i));
    yyjson_val *item;
    size_t live = 0, kept = 0;

    json_each(pods, item)
        live += streq(meta_label(item, LABEL_VM_NAME), name) && !is_final(item);
    json_each(migrations, item)
        kept += streq(json_str(item, "/spec/vmiName"), name);
    if (live != phase_is(yyjson_doc_get_root(vmi), "Running"))
        explain(w, w->vms[i].job);
    assert_int_equal(live, phase_is(yyjson_doc_get_root(vmi), "Running"));
    assert_int_equal(yyjson_obj_size(json_at(yyjson_doc_get_root(vmi), "/status/activePods")), live);
    assert_true(kept <= 5);
}

static void check_end(struct world *w)
{
    _cleanup_doc_ yyjson_doc *pods = sim_get(w->s, "/api/v1/pods");
    _cleanup_doc_ yyjson_doc *migrations = sim_get(w->s, KUBEVIRT "/" VMIMS), *vmis = sim_get(w->s, KUBEVIRT "/" VMIS);
    yyjson_val *item, *pod_list = json_at(yyjson_doc_get_root(pods), "/items"), *list = json_at(yyjson_doc_get_root(migrations), "/items");
    size_t running = 0;

    json_each(list, item) {
        assert_true(is_final(item));
        assert_false(meta_deleting(item));
    }
    json_each(json_at(yyjson_doc_get_root(vmis), "/items"), item)
        running += phase_is(item, "Running");
    for (int k = 0; k < plan.vms; k++)
        check_vm(w, k, pod_list, list);
    assert_int_equal(running, fleet_running(w->fleet));
    assert_int_equal(running + fleet_lost(w->fleet), plan.vms);
}

static void test_fleet(void **state)
{
    struct world *w = *state;
    int64_t begin = virtual_now(sim_time(w->s));
    const char *uid;
    void *value;

    while (w->made < plan.migrations || w->final < w->made) {
        use(w);
        restart_sometimes(w);
        sim_run(w->s, STEP_MS);
        if (virtual_now(sim_time(w->s)) - begin > 8 * 3600 * 1000LL)
            break;
    }
    for (size_t at = 0; map_next(w->jobs, &at, &uid, &value);)
        if (!migration_phase_final(((struct job *)value)->phase))
            explain(w, value);
    assert_int_equal(w->final, w->made);
    for (size_t at = 0; map_next(w->jobs, &at, &uid, &value);)
        assert_true(((struct job *)value)->overtaken <= OVERTAKEN_MAX);
    if (!w->env)
        start_controllers(w);
    sim_run(w->s, 120000);
    check_end(w);
    struct sim_counts counts = sim_counts(w->s);
    print_message("%d migrations: %d succeeded, %d failed; %zu guests lost; at most %d at once; controllers restarted %d times, agents "
                  "%zu; %.0f virtual s; %llu requests, %llu writes, %llu events\n",
                  w->made, w->succeeded, w->failed, fleet_lost(w->fleet), (int)w->most_active, w->restarts, fleet_restarts(w->fleet),
                  (double)(virtual_now(sim_time(w->s)) - begin) / 1000, (unsigned long long)counts.requests,
                  (unsigned long long)counts.writes, (unsigned long long)counts.events);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_fleet, set_up, tear_down)};

    for (int i = 1; i < argc; i++) {
        if (streq(argv[i], "large"))
            plan = (struct plan){.nodes = 300, .vms = 600, .migrations = 5000, .cluster_limit = 60, .node_limit = 2, .seed = plan.seed};
        else
            plan.seed = strtoull(argv[i], NULL, 10);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
