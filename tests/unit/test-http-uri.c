#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "http/uri.h"

static void paths_are_split_before_they_are_decoded(void **state)
{
    _cleanup_uri_ struct http_uri u = {0};

    assert_int_equal(http_uri_parse("/api/v1//namespaces/a%2Fb/pods/", &u, NULL), 0);
    assert_int_equal(u.n_segments, 5);
    assert_string_equal(u.segments[3], "a/b");
    assert_string_equal(u.path, "/api/v1/namespaces/a/b/pods");
    assert_int_equal(u.n_params, 0);
}

static void the_root_has_no_segments(void **state)
{
    _cleanup_uri_ struct http_uri u = {0};

    assert_int_equal(http_uri_parse("/?", &u, NULL), 0);
    assert_int_equal(u.n_segments, 0);
    assert_string_equal(u.path, "/");
}

static void queries_are_decoded(void **state)
{
    _cleanup_uri_ struct http_uri u = {0};

    assert_int_equal(
        http_uri_parse("/a?fieldSelector=metadata.name%3Dx&labelSelector=a+in+%28b%29&watch&&a=1&a=2&e=", &u, NULL), 0);
    assert_string_equal(http_uri_param(&u, "fieldSelector"), "metadata.name=x");
    assert_string_equal(http_uri_param(&u, "labelSelector"), "a in (b)");
    assert_string_equal(http_uri_param(&u, "watch"), "");
    assert_string_equal(http_uri_param(&u, "a"), "1");
    assert_string_equal(http_uri_param(&u, "e"), "");
    assert_null(http_uri_param(&u, "b"));
}

static void flags_are_read_as_go_does(void **state)
{
    _cleanup_uri_ struct http_uri u = {0};

    assert_int_equal(http_uri_parse("/a?watch=True&a=true&b&c=0&d=false&e=yes&f=1", &u, NULL), 0);
    assert_true(http_uri_flag(&u, "watch"));
    assert_true(http_uri_flag(&u, "a"));
    assert_true(http_uri_flag(&u, "b"));
    assert_true(http_uri_flag(&u, "f"));
    assert_false(http_uri_flag(&u, "c"));
    assert_false(http_uri_flag(&u, "d"));
    assert_false(http_uri_flag(&u, "e"));
    assert_false(http_uri_flag(&u, "absent"));
}

static void faults_are_refused_and_named(void **state)
{
    static const struct {
        const char *target, *message;
    } cases[] = {
        {"api", "does not begin"},        {"", "does not begin"},
        {"*", "does not begin"},          {"/a%2", "percent encoding"},
        {"/a%", "percent encoding"},      {"/a%zz", "percent encoding"},
        {"/a%00b", "percent encoding"},   {"/a/../b", "\"..\""},
        {"/a/%2e%2E/b", "\"..\""},        {"/a/./b", "\".\""},
        {"/a?x=%4", "percent encoding"},  {"/a?%=4", "percent encoding"},
        {"/a?x=%00", "percent encoding"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct http_uri u = {0};
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

        assert_true(http_uri_parse(cases[i].target, &u, &err) < 0);
        assert_int_equal(err.reason, GW_BAD_REQUEST);
        assert_non_null(strstr(err.message, cases[i].message));
        assert_null(u.segments);
    }
}

static void numbers_of_parts_are_limited(void **state)
{
    _cleanup_str_ struct str path = {0}, query = {0};
    _cleanup_free_ char *longest = NULL;
    struct http_uri u = {0};

    for (int i = 0; i < HTTP_URI_MAX_SEGMENTS; i++)
        str_puts(&path, "/a");
    for (int i = 0; i < HTTP_URI_MAX_PARAMS; i++)
        str_puts(&query, "a&");
    longest = xasprintf("%s?%s", path.data, query.data);
    assert_int_equal(http_uri_parse(longest, &u, NULL), 0);
    http_uri_done(&u);
    str_puts(&query, "a");
    free(longest);
    longest = xasprintf("/?%s", query.data);
    assert_int_equal(http_uri_parse(longest, &u, NULL), -EINVAL);
    str_puts(&path, "/a");
    assert_int_equal(http_uri_parse(path.data, &u, NULL), -EINVAL);
}

static void accept_headers_are_taken_apart(void **state)
{
    const char *cursor = "application/json;as=Table;v=v1;g=meta.k8s.io, Text/Plain ; Q=0.5 ,, bogus,"
                         "application/json;x=\"a,b;c\\\"d\" , */*";
    struct http_media m;

    assert_true(http_media_next(&cursor, &m));
    assert_string_equal(m.type, "application/json");
    assert_int_equal(m.n_params, 3);
    assert_string_equal(http_media_param(&m, "as"), "Table");
    assert_string_equal(http_media_param(&m, "g"), "meta.k8s.io");
    assert_null(http_media_param(&m, "q"));
    assert_true(http_media_next(&cursor, &m));
    assert_string_equal(m.type, "text/plain");
    assert_string_equal(http_media_param(&m, "q"), "0.5");
    assert_true(http_media_next(&cursor, &m));
    assert_string_equal(http_media_param(&m, "x"), "a,b;c\"d");
    assert_true(http_media_next(&cursor, &m));
    assert_string_equal(m.type, "*/*");
    assert_false(http_media_next(&cursor, &m));
}

static void malformed_media_types_are_skipped(void **state)
{
    const char *cursor = "a/b;x, a/b;=y, a/b;;, ;q=1, "
                         "a/bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, c/d";
    struct http_media m;

    assert_true(http_media_next(&cursor, &m));
    assert_string_equal(m.type, "c/d");
    assert_false(http_media_next(&cursor, &m));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_split_before_they_are_decoded),
        cmocka_unit_test(the_root_has_no_segments),
        cmocka_unit_test(queries_are_decoded),
        cmocka_unit_test(flags_are_read_as_go_does),
        cmocka_unit_test(faults_are_refused_and_named),
        cmocka_unit_test(numbers_of_parts_are_limited),
        cmocka_unit_test(accept_headers_are_taken_apart),
        cmocka_unit_test(malformed_media_types_are_skipped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
