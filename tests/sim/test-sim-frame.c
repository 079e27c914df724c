/* What src/controllers/controller.h promises to those who write controllers. The controller here does what each test says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/str.h"
#include "controllers/controller.h"
#include "sim.h"

#define MAPS "/api/v1/namespaces/default/configmaps"
#define SECRETS "/api/v1/namespaces/default/secrets"
#define EVENTS "/api/v1/namespaces/default/events"

/* The test under way. */
static struct {
    struct sim *s;
    struct env *env;
    struct controllers *cs;
    void (*reconcile)(struct task *t, yyjson_val *map);
    int runs;
    int count;
    struct str log;
} test;

static void reconcile(struct task *t, const char *key)
{
    yyjson_val *map = task_get(t, &API_CONFIGMAPS, key);

    test.runs++;
    if (map && streq(key, "default/a"))
        test.reconcile(t, map);
}

static const struct controller controller = {
    .name = "test",
    .reconcile = reconcile,
    .watches =
        (const struct controller_watch[]){
            {.resource = &API_CONFIGMAPS},
            {.resource = &API_SECRETS, .owner_kind = "ConfigMap", .keep = (const char *const[]){NULL}},
            {0},
        },
};
static const struct controller *const table[] = {&controller, NULL};

static void start(const struct sim_config *cfg, void (*fn)(struct task *t, yyjson_val *map))
{
    test.s = sim_new(cfg);
    test.reconcile = fn;
    test.runs = test.count = 0;
    test.env = sim_process(test.s, "test", "system:masters");
    test.cs = controllers_start(test.env, table);
    sim_run(test.s, 1000);
    sim_post(test.s, MAPS, "{\"metadata\":{\"name\":\"a\"}}");
}

static void stop(void)
{
    test.cs = controllers_stop(test.cs);
    sim_process_end(test.env);
    sim_free(test.s);
    str_done(&test.log);
}

static const struct sim_config calm = {.seed = 1, .delay_ms = {1, 5}};
static const struct sim_config late = {.seed = 1, .delay_ms = {1, 5}, .late_event_ms = 3000};

static yyjson_mut_doc *secret(const char *name, yyjson_val *owner)
{
    yyjson_mut_doc *d = json_object();

    json_set_str(d, *name ? "/metadata/name" : "/metadata/generateName", *name ? name : "made-");
    meta_add_owner(d, owner, true, true);
    return d;
}

static const char *value(const char *target, const char *path)
{
    static char buf[256];

    return sim_str(test.s, target, path, buf, sizeof(buf));
}

/* --- read your writes --- */

static void make_one(struct task *t, yyjson_val *map)
{
    _cleanup_val_vec_ struct val_vec v = {0};

    task_select(t, &API_SECRETS, INDEX_OWNER, meta_uid(map), &v);
    if (!v.len)
        task_create(t, &API_SECRETS, "default", secret("", map));
    task_requeue(t, 10); /* again and again, long before the watch tells of the secret */
}

static void test_nothing_is_made_twice(void **state)
{
    start(&late, make_one);
    sim_run(test.s, 20000);
    assert_true(test.runs > 100);
    assert_int_equal(sim_count(test.s, SECRETS, NULL, NULL), 1);
    stop();
}

static void make_ten(struct task *t, yyjson_val *map)
{
    if (test.count == 10)
        return;
    char name[16];
    sprintf(name, "s%d", test.count++);
    task_create(t, &API_SECRETS, "default", secret(name, map));
    task_requeue(t, 0);
}

/* The owner's key is run for each change of what it owns. */
static void test_owner_hears_of_what_it_owns(void **state)
{
    int before;

    start(&calm, make_ten);
    sim_run(test.s, 5000);
    assert_int_equal(sim_count(test.s, SECRETS, NULL, NULL), 10);
    before = test.runs;
    sim_delete(test.s, SECRETS "/s3");
    sim_run(test.s, 1000);
    assert_int_equal(test.runs, before + 1);
    sim_post(test.s, SECRETS, "{\"metadata\":{\"name\":\"stranger\"}}");
    sim_run(test.s, 1000);
    assert_int_equal(test.runs, before + 1);
    stop();
}

/* --- order and failure --- */

static void three_writes(struct task *t, yyjson_val *map)
{
    const struct gw_error *err = task_error(t);

    str_printf(&test.log, "[%s %u]", err ? gw_reason_string(err->reason) : "-", task_failures(t));
    if (test.count++ > 2)
        return;
    if (!task_get_ns(t, &API_SECRETS, "default", "first"))
        task_create(t, &API_SECRETS, "default", secret("first", map));
    task_event(t, map, EVENT_NORMAL, "AfterFirst", "told");
    task_create(t, &API_SECRETS, "default", secret("Not A Name", map));
    task_event(t, map, EVENT_NORMAL, "AfterSecond", "never told");
    task_create(t, &API_SECRETS, "default", secret("third", map));
}

static void test_writes_stop_at_the_first_failure(void **state)
{
    start(&calm, three_writes);
    sim_run(test.s, 20000);
    assert_string_equal(value(SECRETS "/first", "/metadata/name"), "first");
    assert_string_equal(value(SECRETS "/third", "/metadata/name"), "");
    assert_int_equal(sim_count(test.s, EVENTS, "/reason", "AfterFirst"), 1);
    assert_int_equal(sim_count(test.s, EVENTS, "/reason", "AfterSecond"), 0);
    assert_string_equal(str_text(&test.log), "[- 0][Invalid 1][Invalid 2][Invalid 3]");
    stop();
}

/* --- conflicts --- */

static void count_up(struct task *t, yyjson_val *map)
{
    _cleanup_free_ char *n = xasprintf("%d", test.count);
    yyjson_mut_doc *patch;

    assert_null(task_error(t)); /* conflicts are no errors */
    if (test.count > 20)
        return;
    test.count++;
    patch = json_object();
    json_set_str(patch, "/data/n", n);
    task_patch(t, &API_CONFIGMAPS, map, NULL, true, patch);
    patch = json_object();
    json_set_str(patch, "/data/m", n);
    task_patch(t, &API_CONFIGMAPS, map, NULL, true, patch); /* its own first patch is no conflict */
    task_requeue(t, 0);
}

static void test_own_writes_do_not_conflict(void **state)
{
    struct sim_counts before;

    start(&late, count_up);
    before = sim_counts(test.s);
    sim_run(test.s, 60000);
    assert_string_equal(value(MAPS "/a", "/data/m"), "20");
    assert_int_equal(sim_counts(test.s).writes - before.writes, 21 * 2);
    stop();
}

static void append(struct task *t, yyjson_val *map)
{
    _cleanup_free_ char *n = xasprintf("%sx", json_str_or(map, "/data/n", ""));
    yyjson_mut_doc *patch;

    if (strlen(n) > 10)
        return;
    patch = json_object();
    json_set_str(patch, "/data/n", n);
    task_patch(t, &API_CONFIGMAPS, map, NULL, true, patch);
    task_requeue(t, 0);
}

/* Others write the same object all the time: nothing of theirs or ours is lost. */
static void test_conflicts_are_settled(void **state)
{
    start(&late, append);
    for (int i = 0; i < 2000; i++) {
        _cleanup_free_ char *body = xasprintf("{\"data\":{\"other\":\"%d\"}}", i);
        sim_patch(test.s, MAPS "/a", body);
        sim_run(test.s, 30);
    }
    sim_run(test.s, 60000);
    assert_string_equal(value(MAPS "/a", "/data/n"), "xxxxxxxxxx");
    assert_string_equal(value(MAPS "/a", "/data/other"), "1999");
    stop();
}

static void make_named(struct task *t, yyjson_val *map)
{
    if (task_get_ns(t, &API_SECRETS, "default", "named"))
        test.count++;
    else
        task_create(t, &API_SECRETS, "default", secret("named", map));
}

static void test_create_whose_answer_was_lost(void **state)
{
    struct sim_config cfg = {.seed = 1, .delay_ms = {1, 5}, .late_event_ms = 100000};

    start(&cfg, make_named);
    sim_run(test.s, 1000);
    stop();
    start(&cfg, make_named);
    cfg.lose_answer = 1000;
    sim_configure(test.s, &cfg);
    sim_run(test.s, 20000); /* made, but nobody knows */
    cfg.lose_answer = 0;
    sim_configure(test.s, &cfg);
    sim_run(test.s, 200000); /* the latest event has come by then */
    assert_int_equal(sim_count(test.s, SECRETS, NULL, NULL), 1);
    assert_true(test.count > 0);
    stop();
}

/* --- absence --- */

static void delete_if_alone(struct task *t, yyjson_val *map)
{
    if (test.count++)
        return;
    task_require_absent(t, &API_SECRETS, "default", "friend", "some-uid");
    task_create(t, &API_SECRETS, "default", secret("yes", map));
}

static void keep_if_friend(struct task *t, yyjson_val *map)
{
    _cleanup_free_ char *uid = xstrdup(value(SECRETS "/friend", "/metadata/uid"));

    if (test.count++)
        return;
    task_require_absent(t, &API_SECRETS, "default", "friend", uid);
    task_create(t, &API_SECRETS, "default", secret("no", map));
}

static void test_require_absent(void **state)
{
    start(&calm, delete_if_alone);
    sim_run(test.s, 2000);
    assert_string_equal(value(SECRETS "/yes", "/metadata/name"), "yes");
    stop();
    start(&calm, keep_if_friend);
    sim_post(test.s, SECRETS, "{\"metadata\":{\"name\":\"friend\"}}");
    sim_run(test.s, 2000);
    assert_string_equal(value(SECRETS "/no", "/metadata/name"), "");
    assert_true(test.count > 1);
    stop();
}

/* --- delete --- */

static void delete_old(struct task *t, yyjson_val *map)
{
    yyjson_val *old = task_get_ns(t, &API_SECRETS, "default", "old");

    str_printf(&test.log, "%c", old ? '1' : '0');
    if (old)
        task_delete(t, &API_SECRETS, old, NULL);
    task_requeue(t, 100);
}

static void test_a_deleted_object_is_gone_at_once(void **state)
{
    struct sim_config cfg = late;

    start(&calm, delete_old);
    sim_run(test.s, 250);
    sim_post(test.s, SECRETS, "{\"metadata\":{\"name\":\"old\"}}");
    sim_run(test.s, 20);
    sim_configure(test.s, &cfg);
    sim_run(test.s, 3000);
    assert_non_null(strstr(str_text(&test.log), "010"));
    assert_null(strstr(str_text(&test.log), "11"));
    assert_ptr_equal(strchr(str_text(&test.log), '1'), strrchr(str_text(&test.log), '1'));
    stop();
}

/* --- names --- */

static void test_suffixes(void **state)
{
    char a[6], b[6];

    assert_string_equal(name_suffix("seed", a), name_suffix("seed", b));
    assert_int_equal(strlen(a), 5);
    assert_string_not_equal(name_suffix("seed", a), name_suffix("seee", b));
    assert_string_not_equal(name_suffix("", a), name_suffix("0", b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_made_twice),
        cmocka_unit_test(test_owner_hears_of_what_it_owns),
        cmocka_unit_test(test_writes_stop_at_the_first_failure),
        cmocka_unit_test(test_own_writes_do_not_conflict),
        cmocka_unit_test(test_conflicts_are_settled),
        cmocka_unit_test(test_create_whose_answer_was_lost),
        cmocka_unit_test(test_require_absent),
        cmocka_unit_test(test_a_deleted_object_is_gone_at_once),
        cmocka_unit_test(test_suffixes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
