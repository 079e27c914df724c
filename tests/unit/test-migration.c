#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fs.h"
#include "migration/brake.h"
#include "migration/downtime.h"
#include "migration/epoch.h"
#include "migration/note.h"
#include "migration/progress.h"
#include "migration/settings.h"
#include "migration/watchdog.h"

static yyjson_doc *parse(const char *text)
{
    yyjson_doc *doc = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (json_parse(text, strlen(text), &doc, &err) < 0)
        fail_msg("%s", err.message);
    return doc;
}

static enum epoch_state state_of(const char *migration_state)
{
    _cleanup_free_ char *text = xasprintf("{\"status\":{\"migrationState\":%s}}", migration_state);
    _cleanup_doc_ yyjson_doc *doc = parse(text);
    struct epoch e;

    epoch_read(yyjson_doc_get_root(doc), &e);
    return e.state;
}

static void test_epoch_states(void **state)
{
    assert_int_equal(state_of("null"), EPOCH_NONE);
    assert_int_equal(state_of("{}"), EPOCH_NONE);
    assert_int_equal(state_of("{\"handover\":{\"epoch\":3}}"), EPOCH_OPEN);
    assert_int_equal(state_of("{\"handover\":{\"epoch\":3,\"grant\":{}}}"), EPOCH_GRANTED);
    assert_int_equal(state_of("{\"handover\":{\"epoch\":3,\"grant\":{},\"returned\":{}}}"), EPOCH_RETURNED);
    assert_int_equal(state_of("{\"completed\":true,\"handover\":{\"epoch\":3,\"grant\":{},\"claim\":{}}}"), EPOCH_CLAIMED);
    assert_int_equal(state_of("{\"completed\":true,\"failed\":true,\"handover\":{\"epoch\":3,\"returned\":{}}}"), EPOCH_CLOSED);
    assert_true(epoch_settled(EPOCH_CLOSED));
    assert_false(epoch_settled(EPOCH_RETURNED));
}

static void test_note_survives_and_garbage_is_refused(void **state)
{
    char dir[] = "/tmp/godwit-test-XXXXXX";
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_handover_note_ struct handover_note back = {0};
    struct handover_note note = {.note = NOTE_CLAIMED, .epoch = 7, .migration_uid = "u-1", .proof = "{\"a\":1}"};

    assert_non_null(mkdtemp(dir));
    _cleanup_free_ char *path = xasprintf("%s/handover.json", dir);
    assert_int_equal(handover_note_load(path, &back, &err), 0);
    assert_int_equal(back.note, NOTE_NONE);
    assert_int_equal(handover_note_save(path, &note, &err), 0);
    assert_int_equal(handover_note_load(path, &back, &err), 0);
    assert_int_equal(back.note, NOTE_CLAIMED);
    assert_int_equal(back.epoch, 7);
    assert_string_equal(back.migration_uid, "u-1");
    assert_string_equal(back.proof, "{\"a\":1}");
    handover_note_done(&back);
    assert_int_equal(fs_write(path, "{\"note\":\"grant", 14, 0600, &err), 0);
    assert_true(handover_note_load(path, &back, &err) < 0);
    assert_int_equal(fs_write(path, "{\"note\":\"sold\"}", 15, 0600, &err), 0);
    assert_true(handover_note_load(path, &back, &err) < 0);
    assert_int_equal(fs_remove_tree(dir, &err), 0);
}

static void effective(const char *kubevirt, const char *hco, const char *policies, const char *labels, const char *ns,
                      struct migration_settings *ret)
{
    _cleanup_doc_ yyjson_doc *k = parse(kubevirt), *h = parse(hco), *p = parse(policies), *l = parse(labels), *n = parse(ns);
    yyjson_val *list[8], *item;
    size_t i;

    json_each_at(yyjson_doc_get_root(p), i, item)
        list[i] = item;
    settings_effective(yyjson_doc_get_root(k), yyjson_doc_get_root(h), list, yyjson_arr_size(yyjson_doc_get_root(p)),
                       yyjson_doc_get_root(l), yyjson_doc_get_root(n), ret);
}

static void test_settings_defaults_and_order(void **state)
{
    struct migration_settings s;

    effective("{}", "{}", "[]", "{}", "{}", &s);
    assert_int_equal(s.parallel_per_cluster, 5);
    assert_int_equal(s.parallel_outbound_per_node, 2);
    assert_int_equal(s.completion_timeout_per_gib_s, 800);
    assert_int_equal(s.progress_timeout_s, 150);
    assert_int_equal(s.bandwidth, 0);
    assert_false(s.auto_converge);
    effective("{\"spec\":{\"configuration\":{\"migrations\":{\"bandwidthPerMigration\":\"64Mi\"}}}}",
              "{\"spec\":{\"liveMigrationConfig\":{\"bandwidthPerMigration\":\"1Gi\",\"progressTimeout\":10}}}", "[]", "{}", "{}", &s);
    assert_int_equal(s.bandwidth, 64 << 20);
    assert_int_equal(s.progress_timeout_s, 10);
}

#define POLICY(name, ns, vmi, extra) \
    "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"selectors\":{\"namespaceSelector\":{" ns \
    "},\"virtualMachineInstanceSelector\":{" vmi "}}" extra "}}"

static void test_policy_precedence(void **state)
{
    struct migration_settings s;
    const char *labels = "{\"a\":\"1\",\"b\":\"1\"}", *ns = "{\"z\":\"1\"}";

    /* More matching labels win, whatever the name. */
    effective("{}", "{}", "[" POLICY("a", "", "\"a\":\"1\"", "") "," POLICY("z", "\"z\":\"1\"", "\"a\":\"1\"", ",\"allowAutoConverge\":true") "]",
              labels, ns, &s);
    assert_string_equal(s.policy, "z");
    assert_true(s.auto_converge);
    /* Equal counts: the alphabetical order of the matching keys. */
    effective("{}", "{}", "[" POLICY("p1", "", "\"b\":\"1\"", "") "," POLICY("p2", "", "\"a\":\"1\"", "") "]", labels, ns, &s);
    assert_string_equal(s.policy, "p2");
    /* The same keys: the name. */
    effective("{}", "{}", "[" POLICY("p2", "", "\"a\":\"1\"", "") "," POLICY("p1", "", "\"a\":\"1\"", "") "]", labels, ns, &s);
    assert_string_equal(s.policy, "p1");
    /* One pair that does not match rules a policy out; no selectors match nothing. */
    effective("{}", "{}", "[" POLICY("p1", "", "\"a\":\"1\",\"b\":\"2\"", "") ",{\"metadata\":{\"name\":\"p0\"},\"spec\":{\"selectors\":{}}}]",
              labels, ns, &s);
    assert_string_equal(s.policy, "");
}

static void test_settings_roundtrip(void **state)
{
    struct migration_settings s = {.bandwidth = 64 << 20, .completion_timeout_per_gib_s = 20, .auto_converge = true}, back;
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();

    settings_write(&s, d, "/c");
    assert_string_equal(json_mut_str(d, "/c/bandwidthPerMigration"), "64Mi");
    _cleanup_free_ char *text = json_text(json_mut_at(d, "/c"));
    _cleanup_doc_ yyjson_doc *doc = parse(text);
    settings_read(yyjson_doc_get_root(doc), &back);
    assert_int_equal(back.bandwidth, 64 << 20);
    assert_int_equal(back.completion_timeout_per_gib_s, 20);
    assert_true(back.auto_converge);
}

static void test_watchdog(void **state)
{
    struct watchdog w = {.progress_timeout_ms = 1000, .completion_timeout_ms = 5000};

    assert_int_equal(watchdog_budget_ms(800, 6LL << 30), 4800000);
    assert_int_equal(watchdog_budget_ms(800, (6LL << 30) + 1), 5600000);
    watchdog_start(&w, 100);
    assert_null(watchdog_check(&w, 1000, 10));
    assert_null(watchdog_check(&w, 1900, 10));
    assert_non_null(strstr(watchdog_check(&w, 2000, 10), "progressTimeout"));
    assert_null(watchdog_check(&w, 2100, 11));
    assert_null(watchdog_check(&w, 3000, 12));
    assert_null(watchdog_check(&w, 4000, 13));
    assert_non_null(strstr(watchdog_check(&w, 5100, 14), "completionTimeoutPerGiB"));
    w = (struct watchdog){0};
    watchdog_start(&w, 0);
    assert_null(watchdog_check(&w, 1LL << 40, 0));
}

static void test_rate_needs_time(void **state)
{
    struct progress p = {0};
    struct copy_sample s = {.now_ms = 1000, .ram_total = 1000, .ram_remaining = 1000};

    progress_update(&p, &s);
    s = (struct copy_sample){.now_ms = 1004, .ram_total = 1000, .ram_remaining = 1000, .disk_total = 5000, .disk_transferred = 5000};
    progress_update(&p, &s);
    assert_int_equal(p.bytes_per_s, 0);
    s.now_ms = 2000;
    progress_update(&p, &s);
    assert_int_equal(p.bytes_per_s, 5000);
}

/* A guest that writes, a mirror that sends over a link, in steps of 250 ms of virtual time: bytes per second. */
static struct brake writes_for(int seconds, int64_t guest, int64_t link, int64_t *ret_lag)
{
    struct brake b = {0};
    int64_t lag = 0, sent = 0;

    for (int64_t now = 1000; now < 1000 + seconds * 1000; now += 250) {
        int64_t written = (b.limit && b.limit < guest ? b.limit : guest) / 4, room = link / 4;
        lag += written;
        sent += lag < room ? lag : room;
        lag -= lag < room ? lag : room;
        brake_update(&b, now, lag, sent);
    }
    *ret_lag = lag;
    return b;
}

static void test_downtime_only_grows(void **state)
{
    for (int64_t round = 0; round < 1000; round++)
        assert_true(downtime_limit_ms(round) <= downtime_limit_ms(round + 1));
    assert_true(downtime_limit_ms(0) <= 30);
    assert_int_equal(downtime_limit_ms(1000000), 300);
}

static void test_brake(void **state)
{
    int64_t lag;
    struct brake b = writes_for(60, 50 << 20, 100 << 20, &lag);
    assert_int_equal(b.limit, 0); /* it keeps up */
    assert_false(b.behind);

    b = writes_for(10, 150 << 20, 100 << 20, &lag);
    assert_true(b.limit > 0 && b.limit <= 50 << 20);
    b = writes_for(60, 150 << 20, 100 << 20, &lag);
    assert_true(b.limit >= 25 << 20); /* no slower than it takes */
    assert_false(b.behind);
    assert_true(lag < 25 << 20);

    b = writes_for(60, 150 << 20, 0, &lag);
    assert_int_equal(b.limit, 0); /* a link that is cut is not the guest's fault */
    assert_true(b.behind);
    b = writes_for(600, 1 << 30, 64 << 10, &lag);
    assert_int_equal(b.limit, 64 << 10);
}

static void test_progress(void **state)
{
    struct progress p = {0};
    struct copy_sample s = {.now_ms = 1000, .ram_total = 1000, .ram_remaining = 1000};

    progress_update(&p, &s);
    assert_int_equal(p.percent, 0);
    assert_int_equal(p.eta_s, -1);
    assert_true(p.converging);
    assert_non_null(strstr(p.reason, "nothing was sent"));
    s = (struct copy_sample){.now_ms = 2000, .ram_total = 1000, .ram_remaining = 500, .ram_transferred = 500, .iteration = 1};
    progress_update(&p, &s);
    assert_int_equal(p.percent, 50);
    assert_int_equal(p.bytes_per_s, 500);
    assert_int_equal(p.eta_s, 2);
    assert_true(p.converging);
    /* The next round begins with more to do than the last one ended with: the bar stays. */
    s = (struct copy_sample){.now_ms = 3000, .ram_total = 1000, .ram_remaining = 800, .ram_transferred = 1000,
                             .iteration = 2, .dirty_bytes_per_s = 600};
    progress_update(&p, &s);
    assert_int_equal(p.percent, 50);
    assert_false(p.converging);
    assert_int_equal(p.eta_s, -1);
    assert_non_null(strstr(p.reason, "faster"));
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    progress_write(&p, d, "/p");
    assert_true(yyjson_mut_is_null(json_mut_at(d, "/p/etaSeconds")));
    progress_write_final(&p, d, "/p", 1234, -1);
    assert_int_equal(yyjson_mut_get_sint(json_mut_at(d, "/p/totalTimeMs")), 1234);
    assert_null(json_mut_at(d, "/p/downtimeMs"));
    assert_int_equal(yyjson_mut_get_sint(json_mut_at(d, "/p/percent")), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_epoch_states),
        cmocka_unit_test(test_note_survives_and_garbage_is_refused),
        cmocka_unit_test(test_settings_defaults_and_order),
        cmocka_unit_test(test_policy_precedence),
        cmocka_unit_test(test_settings_roundtrip),
        cmocka_unit_test(test_watchdog),
        cmocka_unit_test(test_rate_needs_time),
        cmocka_unit_test(test_brake),
        cmocka_unit_test(test_downtime_only_grows),
        cmocka_unit_test(test_progress),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
