#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/str.h"
#include "client/workqueue.h"
#include "virtual.h"

struct fixture {
    struct virtual *v;
    struct env *env;
    struct workqueue *q;
    struct str log; /* "key@ms " for each work */
    bool hold;      /* keep keys in work */
    int fail;       /* so many works fail */
};

static void work(void *userdata, const char *key)
{
    struct fixture *f = userdata;

    str_printf(&f->log, "%s@%lld ", key, (long long)(virtual_now(f->v) - 1000));
    if (f->hold)
        return;
    if (f->fail > 0) {
        f->fail--;
        workqueue_retry(f->q, key);
    } else {
        workqueue_done(f->q, key);
    }
}

static int set_up(void **state)
{
    struct fixture *f = xnew(struct fixture);

    f->v = virtual_new(1);
    f->env = virtual_env(f->v, NULL);
    f->q = workqueue_new(f->env, 2, work, f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    workqueue_free(f->q);
    virtual_env_free(f->env);
    virtual_free(f->v);
    str_done(&f->log);
    free(f);
    return 0;
}

static void test_order_and_duplicates(void **state)
{
    struct fixture *f = *state;

    workqueue_add(f->q, "a");
    workqueue_add(f->q, "b");
    workqueue_add(f->q, "a");
    assert_string_equal(str_text(&f->log), ""); /* never at once */
    assert_int_equal(workqueue_busy(f->q), 2);
    virtual_run(f->v, 10);
    assert_string_equal(str_text(&f->log), "a@0 b@0 ");
    assert_int_equal(workqueue_len(f->q), 0);
}

static void test_never_twice_at_a_time(void **state)
{
    struct fixture *f = *state;

    f->hold = true;
    workqueue_add(f->q, "a");
    virtual_run(f->v, 10);
    workqueue_add(f->q, "a");
    workqueue_add(f->q, "a");
    virtual_run(f->v, 10);
    assert_string_equal(str_text(&f->log), "a@0 ");
    f->hold = false;
    workqueue_done(f->q, "a");
    virtual_run(f->v, 10);
    assert_string_equal(str_text(&f->log), "a@0 a@20 ");
}

static void test_parallel_limit(void **state)
{
    struct fixture *f = *state;

    f->hold = true;
    workqueue_add(f->q, "a");
    workqueue_add(f->q, "b");
    workqueue_add(f->q, "c");
    virtual_run(f->v, 10);
    assert_string_equal(str_text(&f->log), "a@0 b@0 ");
    workqueue_done(f->q, "b");
    virtual_run(f->v, 10);
    assert_string_equal(str_text(&f->log), "a@0 b@0 c@10 ");
}

static void test_delays(void **state)
{
    struct fixture *f = *state;

    workqueue_add_after(f->q, "a", 500);
    workqueue_add_after(f->q, "a", 100);
    workqueue_add_after(f->q, "a", 300);
    assert_int_equal(workqueue_busy(f->q), 0);
    virtual_run(f->v, 1000);
    assert_string_equal(str_text(&f->log), "a@100 ");
}

static void test_add_makes_delay_moot(void **state)
{
    struct fixture *f = *state;

    workqueue_add_after(f->q, "a", 500);
    workqueue_add(f->q, "a");
    virtual_run(f->v, 1000);
    assert_string_equal(str_text(&f->log), "a@0 ");
    assert_int_equal(workqueue_len(f->q), 0);
}

static void test_back_off(void **state)
{
    struct fixture *f = *state;
    int64_t last = 0;

    f->hold = true;
    workqueue_add(f->q, "a");
    virtual_run(f->v, 1);
    for (int i = 0; i < 14; i++) {
        int64_t delay = workqueue_retry(f->q, "a"), base = MIN(50ll << i, 30000ll);
        assert_int_equal(workqueue_failures(f->q, "a"), i + 1);
        assert_in_range(delay, base * 8 / 10, base * 12 / 10);
        assert_true(delay > last || i > 9);
        last = delay;
        f->log.len = 0;
        virtual_run(f->v, delay + 1);
        assert_true(f->log.len > 0);
    }
    workqueue_done(f->q, "a");
    assert_int_equal(workqueue_failures(f->q, "a"), 0);
    assert_int_equal(workqueue_len(f->q), 0);
}

static void test_change_during_failed_work_comes_at_once(void **state)
{
    struct fixture *f = *state;

    f->hold = true;
    workqueue_add(f->q, "a");
    virtual_run(f->v, 1);
    workqueue_add(f->q, "a");
    workqueue_retry(f->q, "a");
    virtual_run(f->v, 1);
    assert_string_equal(str_text(&f->log), "a@0 a@1 ");
    assert_int_equal(workqueue_failures(f->q, "a"), 1);
}

static void test_many_keys(void **state)
{
    struct fixture *f = *state;
    char key[16];

    f->fail = 500;
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        workqueue_add(f->q, key);
    }
    virtual_run(f->v, 60000);
    assert_int_equal(workqueue_len(f->q), 0);
    assert_int_equal(f->fail, 0);
}

static void test_freed_with_work(void **state)
{
    struct fixture *f = *state;

    f->hold = true;
    workqueue_add(f->q, "a");
    virtual_run(f->v, 1);
    workqueue_add(f->q, "b");
    workqueue_add_after(f->q, "c", 5);
    f->q = workqueue_free(f->q);
    f->log.len = 0;
    virtual_run(f->v, 100);
    assert_int_equal(f->log.len, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_order_and_duplicates), T(test_never_twice_at_a_time), T(test_parallel_limit),
        T(test_delays),               T(test_add_makes_delay_moot),  T(test_back_off),
        T(test_many_keys),            T(test_freed_with_work),       T(test_change_during_failed_work_comes_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
