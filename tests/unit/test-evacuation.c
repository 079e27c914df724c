/* Eviction strategies and what an evacuation does next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "migration/evacuation.h"

static yyjson_doc *parse(const char *text)
{
    yyjson_doc *doc = NULL;

    assert_int_equal(json_parse(text, strlen(text), &doc, NULL), 0);
    return doc;
}

static void test_verdicts(void **state)
{
    static const struct {
        const char *strategy;
        enum eviction_verdict cannot_move, can_move;
    } rows[] = {
        {"None", EVICTION_ALLOWED, EVICTION_ALLOWED},
        {"LiveMigrate", EVICTION_BLOCKED, EVICTION_MARKS},
        {"LiveMigrateIfPossible", EVICTION_ALLOWED, EVICTION_MARKS},
        {"External", EVICTION_MARKS, EVICTION_MARKS},
        {"", EVICTION_ALLOWED, EVICTION_ALLOWED},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
        json_set_str(d, "/spec/evictionStrategy", rows[i].strategy);
        _cleanup_doc_ yyjson_doc *vmi = yyjson_mut_doc_imut_copy(d, NULL);
        enum eviction_strategy s = eviction_strategy_of(yyjson_doc_get_root(vmi));
        assert_int_equal(eviction_verdict(s, false), rows[i].cannot_move);
        assert_int_equal(eviction_verdict(s, true), rows[i].can_move);
    }
}

static void test_mark_counts_on_its_own_node_only(void **state)
{
    _cleanup_doc_ yyjson_doc *here = parse("{\"status\":{\"nodeName\":\"a\",\"evacuationNodeName\":\"a\"}}"),
                             *moved = parse("{\"status\":{\"nodeName\":\"b\",\"evacuationNodeName\":\"a\"}}"),
                             *none = parse("{\"status\":{\"evacuationNodeName\":\"\",\"nodeName\":\"\"}}");

    assert_true(evacuation_is_marked(yyjson_doc_get_root(here)));
    assert_false(evacuation_is_marked(yyjson_doc_get_root(moved)));
    assert_false(evacuation_is_marked(yyjson_doc_get_root(none)));
}

static void test_taint(void **state)
{
    _cleanup_doc_ yyjson_doc *node = parse(
        "{\"spec\":{\"taints\":[{\"key\":\"empty\",\"effect\":\"NoSchedule\"},{\"key\":\"other\",\"effect\":\"NoExecute\"}]}}");
    _cleanup_doc_ yyjson_doc *kubevirt =
        parse("{\"spec\":{\"configuration\":{\"migrations\":{\"nodeDrainTaintKey\":\"empty\"}}}}");

    assert_string_equal(evacuation_taint_key(NULL), "kubevirt.io/drain");
    assert_string_equal(evacuation_taint_key(yyjson_doc_get_root(kubevirt)), "empty");
    assert_true(evacuation_is_tainted(yyjson_doc_get_root(node), "empty"));
    assert_false(evacuation_is_tainted(yyjson_doc_get_root(node), "other"));
    assert_false(evacuation_is_tainted(yyjson_doc_get_root(node), "kubevirt.io/drain"));
}

#define MARKED .strategy = EVICTION_LIVE_MIGRATE, .migratable = true, .marked = true

static void test_steps(void **state)
{
    static const struct {
        struct evacuation_view view;
        enum evacuation_action action;
        enum evacuation_wait wait;
    } rows[] = {
        {{.strategy = EVICTION_LIVE_MIGRATE, .migratable = true}, EVACUATION_WITHDRAW, EVACUATION_FOR_NOTHING},
        {{MARKED}, EVACUATION_MIGRATE, EVACUATION_FOR_NOTHING},
        {{MARKED, .queued = true}, EVACUATION_WAIT, EVACUATION_FOR_MIGRATION},
        {{MARKED, .moving = true}, EVACUATION_WAIT, EVACUATION_FOR_MIGRATION},
        {{MARKED, .crowded = true}, EVACUATION_WAIT, EVACUATION_FOR_PODS},
        {{.strategy = EVICTION_LIVE_MIGRATE, .marked = true}, EVACUATION_WAIT, EVACUATION_FOR_MIGRATABLE},
        {{.strategy = EVICTION_EXTERNAL, .marked = true, .migratable = true}, EVACUATION_WAIT, EVACUATION_FOR_OTHERS},
        /* the cordon */
        {{MARKED, .cordoned = true}, EVACUATION_MIGRATE, EVACUATION_FOR_NOTHING},
        {{MARKED, .cordoned = true, .was_cordoned = true}, EVACUATION_MIGRATE, EVACUATION_FOR_NOTHING},
        {{MARKED, .was_cordoned = true}, EVACUATION_WITHDRAW, EVACUATION_FOR_NOTHING},
        {{MARKED, .was_cordoned = true, .queued = true}, EVACUATION_WITHDRAW, EVACUATION_FOR_NOTHING},
        {{MARKED, .was_cordoned = true, .moving = true}, EVACUATION_WAIT, EVACUATION_FOR_MIGRATION},
        {{MARKED, .was_cordoned = true, .tainted = true}, EVACUATION_MIGRATE, EVACUATION_FOR_NOTHING},
        /* the taint */
        {{.strategy = EVICTION_LIVE_MIGRATE, .tainted = true, .migratable = true}, EVACUATION_MIGRATE, EVACUATION_FOR_NOTHING},
        {{.strategy = EVICTION_LIVE_MIGRATE, .tainted = true}, EVACUATION_WAIT, EVACUATION_FOR_MIGRATABLE},
        {{.strategy = EVICTION_LIVE_MIGRATE_IF_POSSIBLE, .tainted = true, .migratable = true}, EVACUATION_MIGRATE,
         EVACUATION_FOR_NOTHING},
        {{.strategy = EVICTION_LIVE_MIGRATE_IF_POSSIBLE, .tainted = true}, EVACUATION_WITHDRAW, EVACUATION_FOR_NOTHING},
        {{.strategy = EVICTION_NONE, .tainted = true, .migratable = true}, EVACUATION_WITHDRAW, EVACUATION_FOR_NOTHING},
        {{.strategy = EVICTION_EXTERNAL, .tainted = true, .migratable = true}, EVACUATION_WITHDRAW, EVACUATION_FOR_NOTHING},
        /* failures */
        {{MARKED, .failures = 1, .failed_ms = 19999}, EVACUATION_WAIT, EVACUATION_FOR_BACKOFF},
        {{MARKED, .failures = 1, .failed_ms = 20000}, EVACUATION_MIGRATE, EVACUATION_FOR_NOTHING},
        {{MARKED, .failures = 2, .failed_ms = 39999}, EVACUATION_WAIT, EVACUATION_FOR_BACKOFF},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct evacuation_step step = evacuation_next(&rows[i].view);
        if (step.action != rows[i].action || step.wait != rows[i].wait)
            fail_msg("row %zu: %s, waiting for %d", i, evacuation_action_string(step.action), (int)step.wait);
    }
}

static void test_backoff_grows(void **state)
{
    static const int64_t seconds[] = {0, 20, 40, 80, 160, 320, 320, 320};

    for (unsigned i = 0; i < sizeof(seconds) / sizeof(seconds[0]); i++)
        assert_int_equal(evacuation_backoff_ms(i), seconds[i] * 1000);
    struct evacuation_step step = evacuation_next(&(struct evacuation_view){MARKED, .failures = 3, .failed_ms = 30000});
    assert_int_equal(step.look_again_ms, 50000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_mark_counts_on_its_own_node_only),
        cmocka_unit_test(test_taint),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_backoff_grows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
