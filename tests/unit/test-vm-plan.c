/* The run strategies: each row of the table in KubeVirt's documentation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "controllers/vm_plan.h"

static enum vm_action next(enum run_strategy strategy, enum instance_state instance)
{
    return vm_next(&(struct vm_view){.strategy = strategy, .instance = instance});
}

#define EXPECT(got, want) assert_string_equal(vm_action_string(got), vm_action_string(want))

static void test_always(void **state)
{
    EXPECT(next(RUN_ALWAYS, INSTANCE_NONE), VM_START);
    EXPECT(next(RUN_ALWAYS, INSTANCE_LIVE), VM_KEEP);
    EXPECT(next(RUN_ALWAYS, INSTANCE_SUCCEEDED), VM_STOP);
    EXPECT(next(RUN_ALWAYS, INSTANCE_FAILED), VM_STOP);
    EXPECT(next(RUN_ALWAYS, INSTANCE_DELETING), VM_KEEP);
}

static void test_halted(void **state)
{
    EXPECT(next(RUN_HALTED, INSTANCE_NONE), VM_KEEP);
    EXPECT(next(RUN_HALTED, INSTANCE_LIVE), VM_STOP);
    EXPECT(next(RUN_HALTED, INSTANCE_FAILED), VM_STOP);
    EXPECT(vm_next(&(struct vm_view){.strategy = RUN_HALTED, .start_asked = true}), VM_TURN_ON);
    EXPECT(vm_next(&(struct vm_view){.strategy = RUN_HALTED, .start_asked = true, .instance = INSTANCE_LIVE}), VM_STOP);
}

static void test_manual(void **state)
{
    struct vm_view v = {.strategy = RUN_MANUAL, .strategy_new = true};

    EXPECT(vm_next(&v), VM_KEEP);
    v.start_asked = true;
    EXPECT(vm_next(&v), VM_START);
    v.instance = INSTANCE_SUCCEEDED;
    EXPECT(vm_next(&v), VM_KEEP); /* a final one stays until it is asked to stop */
    v.stop_asked = true;
    EXPECT(vm_next(&v), VM_STOP);
}

static void test_rerun_on_failure(void **state)
{
    struct vm_view v = {.strategy = RUN_RERUN_ON_FAILURE, .strategy_new = true};

    EXPECT(vm_next(&v), VM_START);
    v.strategy_new = false;
    EXPECT(vm_next(&v), VM_KEEP);
    v.start_asked = true;
    EXPECT(vm_next(&v), VM_START);
    EXPECT(next(RUN_RERUN_ON_FAILURE, INSTANCE_FAILED), VM_RERUN);
    EXPECT(next(RUN_RERUN_ON_FAILURE, INSTANCE_SUCCEEDED), VM_STOP);
}

static void test_once(void **state)
{
    struct vm_view v = {.strategy = RUN_ONCE, .strategy_new = true};

    EXPECT(vm_next(&v), VM_START);
    v.strategy_new = false;
    EXPECT(vm_next(&v), VM_KEEP);
    v.start_asked = true;
    EXPECT(vm_next(&v), VM_KEEP);
    EXPECT(next(RUN_ONCE, INSTANCE_FAILED), VM_KEEP);
    EXPECT(next(RUN_ONCE, INSTANCE_SUCCEEDED), VM_KEEP);
}

static void test_deletion_waits_for_the_instance(void **state)
{
    for (int s = 0; s < RUN_STRATEGY_MAX; s++) {
        struct vm_view v = {.strategy = (enum run_strategy)s, .instance = INSTANCE_LIVE, .deleting = true, .start_asked = true};
        EXPECT(vm_next(&v), VM_STOP);
        v.instance = INSTANCE_DELETING;
        EXPECT(vm_next(&v), VM_KEEP);
        v.instance = INSTANCE_NONE;
        EXPECT(vm_next(&v), VM_RELEASE);
    }
}

static void test_backoff(void **state)
{
    assert_int_equal(vm_backoff_ms(1), 10000);
    assert_int_equal(vm_backoff_ms(2), 40000);
    assert_int_equal(vm_backoff_ms(5), 250000);
    assert_int_equal(vm_backoff_ms(6), 300000);
    assert_int_equal(vm_backoff_ms(1000000), 300000);
}

static enum run_strategy strategy_of(const char *spec)
{
    _cleanup_doc_ yyjson_doc *doc = yyjson_read(spec, strlen(spec), 0);

    return run_strategy_of(yyjson_doc_get_root(doc));
}

static void test_strategy_of_a_vm(void **state)
{
    assert_int_equal(strategy_of("{\"spec\":{\"running\":true}}"), RUN_ALWAYS);
    assert_int_equal(strategy_of("{\"spec\":{\"running\":false}}"), RUN_HALTED);
    assert_int_equal(strategy_of("{\"spec\":{\"runStrategy\":\"RerunOnFailure\"}}"), RUN_RERUN_ON_FAILURE);
    assert_int_equal(strategy_of("{\"spec\":{\"runStrategy\":\"Manual\"}}"), RUN_MANUAL);
    assert_int_equal(strategy_of("{\"spec\":{}}"), RUN_HALTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_always),
        cmocka_unit_test(test_halted),
        cmocka_unit_test(test_manual),
        cmocka_unit_test(test_rerun_on_failure),
        cmocka_unit_test(test_once),
        cmocka_unit_test(test_deletion_waits_for_the_instance),
        cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_strategy_of_a_vm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
