/* What src/client does against the real API: informers that stay right whatever the network does, one leader at a time,
 * heartbeats, events. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "client/events.h"
#include "client/informer.h"
#include "client/lease.h"
#include "sim.h"

#define CONFIGMAPS "/api/v1/namespaces/default/configmaps"

static const struct sim_config calm = {.seed = 1, .delay_ms = {1, 5}};
static const struct sim_config rough = {.seed = 3, .delay_ms = {1, 200}, .lose_request = 30, .lose_answer = 30,
                                        .cut_watch = 100, .repeat_event = 200, .late_event_ms = 1000};

static void make_map(struct sim *s, int i)
{
    _cleanup_free_ char *body = xasprintf("{\"metadata\":{\"name\":\"m%d\"},\"data\":{\"n\":\"0\"}}", i);

    sim_post(s, CONFIGMAPS, body);
}

static char *map_target(int i)
{
    return xasprintf(CONFIGMAPS "/m%d", i);
}

static void change_map(struct sim *s, int i, int n)
{
    _cleanup_free_ char *target = map_target(i), *body = xasprintf("{\"data\":{\"n\":\"%d\"}}", n);

    sim_patch(s, target, body);
}

static void assert_same(struct sim *s, struct informer *inf)
{
    _cleanup_doc_ yyjson_doc *list = sim_get(s, CONFIGMAPS);
    yyjson_val *item;
    char key[OBJECT_KEY_MAX];

    assert_int_equal(informer_len(inf), yyjson_arr_size(json_at(yyjson_doc_get_root(list), "/items")));
    json_each(json_at(yyjson_doc_get_root(list), "/items"), item)
    {
        yyjson_val *have = informer_get(inf, object_key(item, key));
        assert_non_null(have);
        assert_int_equal(object_version(have), object_version(item));
        assert_true(json_equal(json_at(have, "/data"), json_at(item, "/data")));
    }
}

struct informer_count {
    int added, deleted;
};

static void count_changes(void *userdata, _unused_ const char *key, yyjson_val *old, yyjson_val *obj)
{
    struct informer_count *n = userdata;

    n->added += !old;
    n->deleted += !obj;
    assert_true(!old || !obj || object_version(obj) > object_version(old));
}

static void follow_maps(const struct sim_config *cfg, int rounds)
{
    struct sim *s = sim_new(cfg);
    struct env *env = sim_process(s, "test", "system:masters");
    struct informer_count n = {0};
    struct informer *inf;

    for (int i = 0; i < 700; i++) /* more than one page */
        make_map(s, i);
    inf = informer_new(env, &(struct informer_config){.resource = &API_CONFIGMAPS, .ns = "default"});
    informer_add_handler(inf, count_changes, &n);
    for (int i = 0; i < rounds; i++) {
        int which = (int)(virtual_random(sim_time(s)) % 700);
        _cleanup_free_ char *target = map_target(which);
        _cleanup_doc_ yyjson_doc *there = sim_get(s, target);
        if (!there)
            make_map(s, which);
        else if (virtual_random(sim_time(s)) % 3)
            change_map(s, which, i);
        else
            sim_delete(s, target);
        if (virtual_random(sim_time(s)) % 400 == 0)
            sim_restart_server(s, 500);
        sim_run(s, 20);
    }
    sim_configure(s, &calm);
    sim_run(s, 120000);
    assert_true(informer_has_synced(inf));
    assert_same(s, inf);
    assert_int_equal((size_t)(n.added - n.deleted), informer_len(inf));
    informer_free(inf);
    sim_process_end(env);
    sim_free(s);
}

static void test_informer(void **state)
{
    follow_maps(&calm, 500);
}

static void test_informer_in_rough_weather(void **state)
{
    struct sim_config cfg = rough;

    for (cfg.seed = 1; cfg.seed <= 5; cfg.seed++)
        follow_maps(&cfg, 2000);
}

/* An informer that was cut off finds its way back, over the server's watch time limit too. */
static void test_informer_after_partition(void **state)
{
    struct sim *s = sim_new(&calm);
    struct env *env = sim_process(s, "test", "system:masters");
    struct informer *inf = informer_new(env, &(struct informer_config){.resource = &API_CONFIGMAPS, .ns = "default"});

    sim_run(s, 1000);
    sim_partition(env, true);
    for (int i = 0; i < 20; i++)
        make_map(s, i);
    sim_run(s, 120000);
    assert_int_equal(informer_len(inf), 0);
    assert_true(informer_lost_since(inf) > 0);
    sim_partition(env, false);
    sim_run(s, 60000);
    assert_same(s, inf);
    assert_int_equal(informer_lost_since(inf), 0);
    sim_run(s, 3600000);
    make_map(s, 50);
    sim_run(s, 1000);
    assert_same(s, inf);
    informer_free(inf);
    sim_process_end(env);
    sim_free(s);
}

/* --- leases --- */

#define CANDIDATES 3

struct candidate {
    struct env *env;
    struct lease *lease;
    bool leading;
    int terms;
};

static void on_leading(void *userdata, bool leading)
{
    struct candidate *c = userdata;

    c->leading = leading;
    c->terms += leading;
}

static void start_candidate(struct sim *s, struct candidate *c, int i)
{
    _cleanup_free_ char *name = xasprintf("c%d", i);
    const struct lease_config cfg = {"kube-system", "leader", name, 15};

    *c = (struct candidate){.env = sim_process(s, name, "system:masters")};
    c->lease = lease_start(c->env, &cfg, on_leading, c);
}

static int leaders(const struct candidate *c)
{
    int n = 0;

    for (int i = 0; i < CANDIDATES; i++)
        n += c[i].leading;
    return n;
}

static void end_candidates(struct candidate *c)
{
    for (int i = 0; i < CANDIDATES; i++) {
        lease_stop(c[i].lease);
        sim_process_end(c[i].env);
    }
}

static void test_leader_steps_in(void **state)
{
    struct sim *s = sim_new(&calm);
    struct candidate c[CANDIDATES];
    int first = 0;

    for (int i = 0; i < CANDIDATES; i++)
        start_candidate(s, &c[i], i);
    sim_run(s, 3000);
    assert_int_equal(leaders(c), 1);
    while (!c[first].leading)
        first++;
    assert_int_equal(lease_epoch(c[first].lease), 1);
    c[first].lease = lease_stop(c[first].lease); /* gives up: the next one needs not wait */
    c[first].leading = false;
    sim_run(s, 5000);
    assert_int_equal(leaders(c), 1);
    end_candidates(c);
    sim_free(s);
}

/* Whatever is lost, cut or killed: never two leaders at any instant, and always one again. */
static void check_one_leader(uint64_t seed)
{
    struct sim_config cfg = {.seed = seed, .delay_ms = {1, 500}, .lose_request = 100, .lose_answer = 100};
    struct sim *s = sim_new(&cfg);
    struct candidate c[CANDIDATES];
    int led = 0;

    for (int i = 0; i < CANDIDATES; i++)
        start_candidate(s, &c[i], i);
    for (int step = 0; step < 20000; step++) {
        int i = (int)(virtual_random(sim_time(s)) % CANDIDATES);
        switch (virtual_random(sim_time(s)) % 3000) {
        case 0:
            sim_partition(c[i].env, true);
            break;
        case 1:
        case 2:
        case 3:
            sim_partition(c[i].env, false);
            break;
        case 4:
            sim_partition(c[i].env, true); /* killed: nothing is given up */
            lease_stop(c[i].lease);
            sim_process_end(c[i].env);
            start_candidate(s, &c[i], i);
            break;
        }
        sim_run(s, 50);
        assert_true(leaders(c) <= 1);
        led += leaders(c);
    }
    assert_true(led > 3000); /* most are cut off for some of the time: 4700 to 9300, by the seed */
    for (int i = 0; i < CANDIDATES; i++)
        sim_partition(c[i].env, false);
    sim_configure(s, &calm);
    sim_run(s, 60000);
    assert_int_equal(leaders(c), 1);
    end_candidates(c);
    sim_free(s);
}

static void test_never_two_leaders(void **state)
{
    for (uint64_t seed = 1; seed <= 5; seed++)
        check_one_leader(seed);
}

/* --- heartbeat --- */

#define LEASE "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1"

static void test_heartbeat(void **state)
{
    struct sim *s = sim_new(&calm);
    struct env *env = sim_process(s, "system:node:n1", "system:nodes");
    char before[64], after[64], owner[64];
    struct heartbeat *h = heartbeat_start(env, "n1", "uid-of-n1");

    assert_int_equal(heartbeat_last_ms(h), 0);
    sim_run(s, 1000);
    sim_str(s, LEASE, "/spec/renewTime", before, sizeof(before));
    assert_true(*before != '\0');
    assert_string_equal(sim_str(s, LEASE, "/metadata/ownerReferences/0/uid", owner, sizeof(owner)), "uid-of-n1");
    sim_run(s, 13000);
    assert_string_not_equal(sim_str(s, LEASE, "/spec/renewTime", after, sizeof(after)), before);
    assert_in_range(virtual_now(sim_time(s)) - heartbeat_last_ms(h), 0, 13000);
    sim_restart_server(s, 20000);
    sim_run(s, 27000);
    assert_in_range(virtual_now(sim_time(s)) - heartbeat_last_ms(h), 0, 13000);
    sim_delete(s, LEASE);
    sim_run(s, 13000);
    assert_true(*sim_str(s, LEASE, "/spec/renewTime", after, sizeof(after)) != '\0');
    heartbeat_stop(h);
    sim_process_end(env);
    sim_free(s);
}

/* --- events --- */

#define EVENTS "/api/v1/namespaces/default/events"

static void test_events(void **state)
{
    struct sim *s = sim_new(&calm);
    struct env *env = sim_process(s, "test", "system:masters");
    struct event_recorder *rec = event_recorder_new(env, "godwit-test", "h1");

    make_map(s, 1);
    _cleanup_doc_ yyjson_doc *obj = sim_get(s, CONFIGMAPS "/m1");
    for (int i = 0; i < 5; i++)
        event_record(rec, yyjson_doc_get_root(obj), EVENT_NORMAL, "Same", "again %s", "and again");
    event_record(rec, yyjson_doc_get_root(obj), EVENT_WARNING, "Other", "once");
    sim_run(s, 1000);
    event_record(rec, yyjson_doc_get_root(obj), EVENT_NORMAL, "Same", "again %s", "and again");
    sim_run(s, 1000);
    _cleanup_doc_ yyjson_doc *list =
        sim_get(s, EVENTS "?fieldSelector=involvedObject.name%3Dm1%2CinvolvedObject.kind%3DConfigMap");
    yyjson_val *items = json_at(yyjson_doc_get_root(list), "/items");
    assert_int_equal(yyjson_arr_size(items), 2);
    for (size_t i = 0; i < 2; i++) {
        yyjson_val *e = yyjson_arr_get(items, i);
        bool same = streq(json_str(e, "/reason"), "Same");
        assert_int_equal(json_int(e, "/count", 0), same ? 6 : 1);
        assert_string_equal(json_str(e, "/type"), same ? "Normal" : "Warning");
        assert_string_equal(json_str(e, "/message"), same ? "again and again" : "once");
        assert_string_equal(json_str(e, "/source/component"), "godwit-test");
        assert_string_equal(json_str(e, "/source/host"), "h1");
        assert_string_equal(json_str(e, "/involvedObject/uid"), json_str(yyjson_doc_get_root(obj), "/metadata/uid"));
    }
    event_recorder_free(rec);
    sim_process_end(env);
    sim_free(s);
}

static void test_event_flood_is_limited(void **state)
{
    struct sim *s = sim_new(&calm);
    struct env *env = sim_process(s, "test", "system:masters");
    struct event_recorder *rec = event_recorder_new(env, "godwit-test", NULL);

    make_map(s, 1);
    _cleanup_doc_ yyjson_doc *obj = sim_get(s, CONFIGMAPS "/m1");
    for (int i = 0; i < 1000; i++) {
        event_record(rec, yyjson_doc_get_root(obj), EVENT_NORMAL, "Flood", "number %d", i);
        sim_run(s, 100);
    }
    assert_in_range(sim_count(s, EVENTS, NULL, NULL), EVENTS_BURST, EVENTS_BURST + 100 / EVENTS_REFILL_S + 1);
    event_recorder_free(rec);
    sim_process_end(env);
    sim_free(s);
}

static void test_events_survive_a_server_restart(void **state)
{
    struct sim *s = sim_new(&calm);
    struct env *env = sim_process(s, "test", "system:masters");
    struct event_recorder *rec = event_recorder_new(env, "godwit-test", NULL);

    make_map(s, 1);
    _cleanup_doc_ yyjson_doc *obj = sim_get(s, CONFIGMAPS "/m1");
    sim_restart_server(s, 3000);
    event_record(rec, yyjson_doc_get_root(obj), EVENT_NORMAL, "Late", "but there");
    sim_run(s, 20000);
    assert_int_equal(sim_count(s, EVENTS, "/reason", "Late"), 1);
    event_recorder_free(rec);
    sim_process_end(env);
    sim_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_informer),
        cmocka_unit_test(test_informer_in_rough_weather),
        cmocka_unit_test(test_informer_after_partition),
        cmocka_unit_test(test_leader_steps_in),
        cmocka_unit_test(test_never_two_leaders),
        cmocka_unit_test(test_heartbeat),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_event_flood_is_limited),
        cmocka_unit_test(test_events_survive_a_server_restart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
