#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/duration.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/map.h"
#include "base/random.h"
#include "base/str.h"
#include "base/vec.h"

VEC_DEFINE(int_vec, int);

static void test_vec(void **state)
{
    struct int_vec v = {0};
    int sum = 0;

    for (int i = 0; i < 100; i++)
        int_vec_push(&v, i);
    int_vec_remove(&v, 0);
    int_vec_remove(&v, 98);
    VEC_EACH(&v, i)
        sum += *i;
    assert_int_equal(sum, 99 * 98 / 2);
    int_vec_done(&v);
}

static void test_map_keeps_what_is_put(void **state)
{
    _cleanup_(map_freep) struct map *m = map_new(free);
    char key[16];

    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        map_put(m, key, xstrdup(key));
    }
    for (int i = 0; i < 1000; i += 2) {
        snprintf(key, sizeof(key), "k%d", i);
        assert_true(map_remove(m, key));
        assert_false(map_remove(m, key));
    }
    map_put(m, "k1", xstrdup("again"));
    assert_string_equal(map_get(m, "k1"), "again");
    assert_null(map_get(m, "k0"));
    assert_int_equal(map_len(m), 500);
    size_t seen = 0;
    for (size_t c = 0; map_next(m, &c, NULL, NULL);)
        seen++;
    assert_int_equal(seen, 500);
}

static void test_map_churn_stays_small(void **state)
{
    _cleanup_(map_freep) struct map *m = map_new(NULL);
    char key[16];

    for (int i = 0; i < 100000; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        map_put(m, key, m);
        if (i >= 10) {
            snprintf(key, sizeof(key), "k%d", i - 10);
            assert_ptr_equal(map_steal(m, key), m);
        }
    }
    assert_int_equal(map_len(m), 10);
}

static void test_error_carries_causes(void **state)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    gw_error_add_cause(&err, CAUSE_REQUIRED, "spec.vmiName", "Required value");
    assert_int_equal(gw_error_set(&err, GW_INVALID, "object is invalid"), -EINVAL);
    assert_int_equal(err.n_causes, 1);
    assert_string_equal(err.causes[0].field, "spec.vmiName");
    assert_int_equal(gw_error_wrap(&err, -5, "creating %s", "x"), -5);
    assert_string_equal(err.message, "creating x: object is invalid");
    assert_int_equal(gw_reason_code(err.reason), 422);
    assert_int_equal(gw_reason_from("Conflict", 409), GW_CONFLICT);
    assert_int_equal(gw_reason_from(NULL, 410), GW_EXPIRED);
    assert_int_equal(gw_error_set(NULL, GW_NOT_FOUND, "x"), -ENOENT);
}

static void test_json_paths(void **state)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    _cleanup_doc_ yyjson_doc *back = NULL;

    json_set_str(d, "/metadata/labels/a~1b", "c");
    json_set_int(d, "/spec/n", 5);
    json_set_int(d, "/spec/n", 6);
    _cleanup_free_ char *text = json_text(yyjson_mut_doc_get_root(d));
    assert_string_equal(text, "{\"metadata\":{\"labels\":{\"a/b\":\"c\"}},\"spec\":{\"n\":6}}");
    assert_int_equal(json_parse(text, strlen(text), &back, NULL), 0);
    yyjson_val *root = yyjson_doc_get_root(back);
    assert_string_equal(json_key_str(root, "/metadata/labels", "a/b"), "c");
    assert_int_equal(json_int(root, "/spec/n", -1), 6);
    assert_int_equal(json_int(root, "/metadata", -1), -1);
    _cleanup_free_ char *path = json_path("/metadata/labels", "a/b~c");
    assert_string_equal(path, "/metadata/labels/a~1b~0c");
}

static void test_json_loops_take_what_is_absent(void **state)
{
    static const char text[] = "{\"list\":[\"a\",\"b\"],\"map\":{\"k\":1,\"l\":null}}";
    _cleanup_doc_ yyjson_doc *doc = NULL;
    yyjson_val *key, *value;
    size_t i, n = 0;

    assert_int_equal(json_parse(text, strlen(text), &doc, NULL), 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    json_each(json_at(root, "/list"), value)
        json_each(json_at(root, "/list"), key)
            n++;
    assert_int_equal(n, 4);
    json_each_at(json_at(root, "/list"), i, value)
        assert_string_equal(yyjson_get_str(value), i ? "b" : "a");
    assert_int_equal(i, 2);
    json_each_member(json_at(root, "/map"), key, value)
        n += yyjson_is_null(value) ? 10 : (size_t)yyjson_get_int(value);
    assert_int_equal(n, 15);
    json_each(json_at(root, "/map"), value)
        n++;
    json_each_member(json_at(root, "/absent"), key, value)
        n++;
    assert_int_equal(n, 15);
}

static void test_json_find(void **state)
{
    static const char text[] = "[{},{\"name\":\"a\",\"n\":1},{\"name\":\"a\",\"n\":2},\"a\"]";
    _cleanup_doc_ yyjson_doc *doc = NULL;

    assert_int_equal(json_parse(text, strlen(text), &doc, NULL), 0);
    yyjson_val *list = yyjson_doc_get_root(doc);
    assert_int_equal(json_int(json_find(list, "/name", "a"), "/n", 0), 1);
    assert_ptr_equal(json_find(list, "", "a"), json_at(list, "/3"));
    assert_null(json_find(list, "/name", "b"));
    assert_null(json_find(list, "/name", NULL));
    assert_null(json_find(NULL, "", "a"));
}

static void test_json_refuses_depth_and_says_where(void **state)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    char deep[1000];
    yyjson_doc *doc = NULL;

    memset(deep, '[', sizeof(deep));
    assert_true(json_parse(deep, sizeof(deep), &doc, &err) < 0);
    assert_non_null(strstr(err.message, "nested"));
    assert_true(json_parse("{\n \"a\": }", 9, &doc, &err) < 0);
    assert_non_null(strstr(err.message, "line 2"));
}

static void test_clock(void **state)
{
    char buf[CLOCK_TEXT_MAX];

    assert_string_equal(clock_format(0, buf), "1970-01-01T00:00:00Z");
    assert_int_equal(clock_parse("2026-11-21T08:00:00.250Z"), clock_parse("2026-11-21T09:00:00.25+01:00"));
    assert_int_equal(clock_parse(clock_format(1795248000000, buf)), 1795248000000);
    assert_int_equal(clock_parse("yesterday"), -1);
    assert_string_equal(clock_format_micro(1500000, buf), "1970-01-01T00:00:01.500000Z");
}

static void test_fs(void **state)
{
    char dir[] = "/tmp/godwit-test-XXXXXX";
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    size_t len;

    assert_non_null(mkdtemp(dir));
    _cleanup_free_ char *deep = xasprintf("%s/a/b/c", dir), *file = xasprintf("%s/f", deep);
    _cleanup_free_ char *text = NULL, *secret = NULL;
    assert_int_equal(fs_mkdirs(deep, 0755, &err), 0);
    assert_int_equal(fs_write(file, "hello", 5, 0600, &err), 0);
    assert_int_equal(fs_write(file, "world!", 6, 0600, &err), 0);
    assert_int_equal(fs_read_secret(file, 0, &secret, NULL, &err), 0);
    assert_string_equal(secret, "world!");
    for (mode_t bit = 01; bit < 0100; bit <<= 1) {
        _cleanup_error_ struct gw_error why = GW_ERROR_INIT;

        assert_int_equal(fs_write(file, "world!", 6, 0600 | bit, &err), 0);
        assert_int_equal(fs_read_secret(file, 0, &text, NULL, &why), -EPERM);
        assert_non_null(strstr(why.message, "chmod 600"));
        assert_true(fs_is_shared(file));
    }
    assert_false(fs_is_shared("/dev/null"));
    assert_int_equal(fs_read(file, 0, &text, &len, &err), 0);
    assert_int_equal(len, 6);
    assert_string_equal(text, "world!");
    assert_int_equal(fs_remove_tree(dir, &err), 0);
    assert_false(fs_exists(dir));
    assert_int_equal(fs_remove_tree(dir, &err), 0);
    char *none = NULL;
    assert_int_equal(fs_read(file, 0, &none, NULL, &err), -ENOENT);
}

static void test_random(void **state)
{
    char a[UUID_TEXT], b[UUID_TEXT], s[6];

    assert_string_not_equal(random_uuid(a), random_uuid(b));
    assert_int_equal(strlen(a), 36);
    assert_int_equal(a[14], '4');
    assert_int_equal(strlen(random_suffix(s, 5)), 5);
}

static void test_durations(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {
        {"5m0s", 300000}, {"0", 0}, {"0s", 0}, {"1.5h", 5400000}, {"-2s", -2000}, {"300ms", 300}, {"1h2m3.5s", 3723500},
        {".5s", 500},     {"1\xc2\xb5s", 0}, {"999999999h", 3162240000000},
    };
    static const char *const bad[] = {"", "5", "s", "5x", "1s5", "1 s", ".s", "--1s", "1e3s"};
    int64_t ms;

    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        assert_return_code(duration_parse(good[i].text, &ms, NULL), 0);
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_true(duration_parse(bad[i], &ms, NULL) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_durations),
        cmocka_unit_test(test_vec),
        cmocka_unit_test(test_map_keeps_what_is_put),
        cmocka_unit_test(test_map_churn_stays_small),
        cmocka_unit_test(test_error_carries_causes),
        cmocka_unit_test(test_json_paths),
        cmocka_unit_test(test_json_loops_take_what_is_absent),
        cmocka_unit_test(test_json_find),
        cmocka_unit_test(test_json_refuses_depth_and_says_where),
        cmocka_unit_test(test_clock),
        cmocka_unit_test(test_fs),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
