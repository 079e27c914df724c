/* What is read from /proc, by the formats of proc(5), and rates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/node/usage_read.h"

static void host_counts_what_is_not_idle(void **state)
{
    uint64_t ticks;

    assert_true(usage_host_cpu("cpu  100 20 30 9999 888 4 5 6 70 8\ncpu0 1 2 3\n", &ticks));
    assert_int_equal(ticks, 165);
    assert_false(usage_host_cpu("intr 5\n", &ticks));
}

static void memory_is_what_is_not_available(void **state)
{
    int64_t bytes;

    assert_true(usage_host_memory("MemTotal:  1000 kB\nMemFree:  1 kB\nMemAvailable:  400 kB\n", &bytes));
    assert_int_equal(bytes, 600 * 1024);
    assert_false(usage_host_memory("MemTotal: 1000 kB\n", &bytes));
}

static void process_names_may_hold_anything(void **state)
{
    struct process_usage u;

    assert_true(usage_process("7 (a) R 9 (b) S 1 2 3 4 -1 64 5 6 7 8 120 30 9 10 20 0 3 0 5000 123456 77 1844 1\n", &u));
    assert_int_equal(u.ticks, 150);
    assert_int_equal(u.start, 5000);
    assert_int_equal(u.pages, 77);
    assert_false(usage_process("7 (a) S 1 2", &u));
}

static void rates_are_in_billionths(void **state)
{
    assert_int_equal(usage_rate(100, 250, 1000000000, 100), 1500000000); /* one and a half CPUs */
    assert_int_equal(usage_rate(250, 100, 1000000000, 100), 0);
    assert_int_equal(usage_rate(100, 250, 0, 100), 0);
    assert_int_equal(usage_rate(0, UINT64_MAX / 2, INT64_MAX, 100) > 0, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_counts_what_is_not_idle),
        cmocka_unit_test(memory_is_what_is_not_available),
        cmocka_unit_test(process_names_may_hold_anything),
        cmocka_unit_test(rates_are_in_billionths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
