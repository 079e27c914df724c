#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "agent/guest/lines.h"

#define ONE "2026-11-21T08:00:00.000000Z first\n"
#define TWO "2026-11-21T08:00:01.500000Z second line\n"
#define THREE "2026-11-21T08:00:03.000000Z third\n"

static struct line_options read_options(const char *target)
{
    _cleanup_uri_ struct http_uri uri = {0};
    struct line_options o;

    assert_int_equal(http_uri_parse(target, &uri, NULL), 0);
    assert_int_equal(line_options_read(&uri, 1795248005000, &o, NULL), 0); /* 2026-11-21T08:00:05Z */
    return o;
}

static void shown(const char *target, const char *text, const char *expected)
{
    struct line_options o = read_options(target);
    _cleanup_str_ struct str out = {0};
    size_t at = lines_tail(text, strlen(text), o.tail);

    lines_take(&o, text + at, strlen(text) - at, &out);
    assert_string_equal(str_text(&out), expected);
}

static void options_select_lines(void **state)
{
    shown("/log", ONE TWO THREE, "first\nsecond line\nthird\n");
    shown("/log?timestamps=true", ONE, ONE);
    shown("/log?tailLines=2", ONE TWO THREE, "second line\nthird\n");
    shown("/log?tailLines=9", ONE TWO, "first\nsecond line\n");
    shown("/log?tailLines=0", ONE TWO, "");
    shown("/log?sinceTime=2026-11-21T08:00:01Z", ONE TWO THREE, "second line\nthird\n");
    shown("/log?sinceSeconds=2", ONE TWO THREE, "third\n");
    shown("/log?limitBytes=8", ONE TWO THREE, "first\nse");
    shown("/log?limitBytes=0", ONE, "");
    shown("/log", "", "");
}

static void unfinished_lines_wait(void **state)
{
    struct line_options o = read_options("/log");
    _cleanup_str_ struct str out = {0};

    assert_int_equal(lines_take(&o, ONE "2026", strlen(ONE) + 4, &out), strlen(ONE));
    assert_string_equal(str_text(&out), "first\n");
}

static void bad_values_are_refused(void **state)
{
    static const char *const bad[] = {"/log?tailLines=-1", "/log?tailLines=x", "/log?limitBytes=", "/log?sinceTime=now",
                                      "/log?sinceSeconds=1&sinceTime=2026-11-21T08:00:01Z"};
    struct line_options o;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_uri_ struct http_uri uri = {0};
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

        assert_int_equal(http_uri_parse(bad[i], &uri, NULL), 0);
        assert_true(line_options_read(&uri, 0, &o, &err) < 0);
        assert_int_equal(err.reason, GW_BAD_REQUEST);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_select_lines),
        cmocka_unit_test(unfinished_lines_wait),
        cmocka_unit_test(bad_values_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
