/* How many requests may wait for agents at a time, and how many of them for guests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/agents_internal.h"

static void test_who_waits_for_guests_leaves_places(void **state)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct agents *a = NULL;
    sd_event *loop = NULL;

    assert_return_code(sd_event_new(&loop), 0);
    assert_return_code(agents_new(NULL, 0, loop, &a, NULL), 0); /* no connection is made */
    for (int i = 0; i < 3; i++) {
        assert_return_code(agents_be_patient(a, &err), 0);
        assert_return_code(agents_enter(a, &err), 0);
    }
    assert_true(agents_be_patient(a, &err) < 0);
    assert_int_equal(err.reason, GW_TOO_MANY_REQUESTS);
    assert_string_equal(gw_error_message(&err), "3 requests wait for guests already, please try again later");
    for (int i = 0; i < 3; i++)
        assert_return_code(agents_enter(a, NULL), 0);
    assert_true(agents_enter(a, NULL) < 0);
    agents_heard(a);
    agents_leave(a);
    assert_return_code(agents_be_patient(a, NULL), 0);
    assert_return_code(agents_enter(a, NULL), 0);
    agents_free(a);
    sd_event_unref(loop);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_waits_for_guests_leaves_places),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
