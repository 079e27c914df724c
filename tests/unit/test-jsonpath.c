#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/jsonpath.h"

static const char text[] =
    "{\"status\":{\"phase\":\"Running\",\"conditions\":[{\"type\":\"A\",\"status\":\"False\"},{\"type\":\"Ready\","
    "\"status\":"
    "\"True\"}],\"n\":[1,2,3]},\"labels\":{\"a.b/c\":\"x\"},\"deep\":[{\"m\":{\"k\":\"v\"},\"w\":1}]}";

static yyjson_doc *doc;

static int parse(void **state)
{
    doc = yyjson_read(text, strlen(text), 0);
    return doc ? 0 : -1;
}

static int release(void **state)
{
    yyjson_doc_free(doc);
    return 0;
}

static bool append(void *data, yyjson_val *v)
{
    _cleanup_free_ char *one = yyjson_val_write(v, 0, NULL);

    strcat(strcat(data, one), " ");
    return true;
}

static void check(const char *path, const char *all)
{
    _cleanup_(jsonpath_freep) struct jsonpath *p = NULL;
    char found[256] = "";

    assert_int_equal(jsonpath_parse(path, &p, NULL), 0);
    jsonpath_each(p, yyjson_doc_get_root(doc), append, found);
    assert_string_equal(found, all);
    assert_int_equal(jsonpath_first(p, yyjson_doc_get_root(doc)) != NULL, *all != '\0');
}

static void test_paths(void **state)
{
    check(".status.phase", "\"Running\" ");
    check("$.status.phase", "\"Running\" ");
    check("status.phase", "\"Running\" ");
    check(".status.absent.more", "");
    check(".status.n[0]", "1 ");
    check(".status.n[-1]", "3 ");
    check(".status.n[3]", "");
    check(".status.n[*]", "1 2 3 ");
    check(".labels['a.b/c']", "\"x\" ");
    check(".labels.a\\.b/c", "\"x\" ");
    check(".labels.*", "\"x\" ");
    check(".status.conditions[?(@.type==\"Ready\")].status", "\"True\" ");
    check(".status.conditions[?(@.type == 'Ready')].status", "\"True\" ");
    check(".status.conditions[?(@.type!=\"Ready\")].status", "\"False\" ");
    check(".deep[?(@.m.k==\"v\")].w", "1 ");
}

static void test_bad_paths(void **state)
{
    static const char *const bad[] = {
        ".", "..a", ".a[", ".a[x]", ".a[?(@.b)]", ".a['b]", ".a[?(@.b==1)]", ".a[?(@.b==\"x\"]", ".a[1"};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct jsonpath *p = NULL;
        if (jsonpath_parse(bad[i], &p, NULL) >= 0)
            fail_msg("%s was taken", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_bad_paths),
    };

    return cmocka_run_group_tests(tests, parse, release);
}
