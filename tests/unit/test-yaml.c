#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/yaml.h"
#include "base/alloc.h"
#include "base/str.h"

static void check(const char *yaml, const char *json)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (yaml_parse(yaml, strlen(yaml), &doc, &err) < 0)
        fail_msg("%s: %s", yaml, gw_error_message(&err));
    _cleanup_free_ char *text = yyjson_val_write(yyjson_doc_get_root(doc), 0, NULL);
    assert_string_equal(text, json);
}

static void refuse(const char *yaml, const char *message)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    assert_true(yaml_parse(yaml, strlen(yaml), &doc, &err) < 0);
    assert_int_equal(err.reason, GW_BAD_REQUEST);
    if (!strstr(gw_error_message(&err), message))
        fail_msg("%s: %s", yaml, gw_error_message(&err));
}

static void test_core_schema(void **state)
{
    check("[null, ~, Null, '', true, FALSE, yes, on]", "[null,null,null,\"\",true,false,\"yes\",\"on\"]");
    check("[1, -1, +7, 0o17, 0x1F, 007, 18446744073709551615]", "[1,-1,7,15,31,7,18446744073709551615]");
    check("[1.5, .5, 2., 1e3, -9223372036854775808]", "[1.5,0.5,2.0,1000.0,-9223372036854775808]");
    check("[1_000, 0b1, 1.2.3, 12:30, e3, -, +, ., 0o8, 64Mi]",
          "[\"1_000\",\"0b1\",\"1.2.3\",\"12:30\",\"e3\",\"-\",\"+\",\".\",\"0o8\",\"64Mi\"]");
    check("[!!str 1, \"1\", ! 1, !!int 1, !!float 1.5]", "[\"1\",\"1\",\"1\",1,1.5]");
    check("a:\nb: |\n  x\n  y\n", "{\"a\":null,\"b\":\"x\\ny\\n\"}");
    check("1: one\ntrue: t\n", "{\"1\":\"one\",\"true\":\"t\"}");
}

static void test_anchors_are_copied(void **state)
{
    check("a: &x {k: [1]}\nb: *x\nc: *x\n", "{\"a\":{\"k\":[1]},\"b\":{\"k\":[1]},\"c\":{\"k\":[1]}}");
    check("[&s text, *s]", "[\"text\",\"text\"]");
    refuse("[*x]", "alias");
    refuse("&x [*x]", "alias");
}

static void test_what_is_refused(void **state)
{
    refuse("a: [", "line");
    refuse("", "one document");
    refuse("a: 1\n---\nb: 2\n", "not 2");
    refuse("? [1]\n: 2", "not a scalar");
    refuse("<<: {a: 1}", "merge key");
    refuse("!!binary aGk=", "tag");
    refuse("!!int abc", "tag");
    refuse("1e999", "too large");
    refuse("\"a\\0b\"", "NUL");
}

static void test_a_small_text_cannot_become_a_huge_tree(void **state)
{
    _cleanup_str_ struct str laughs = {0}, deep = {0};

    str_puts(&laughs, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 9; i++)
        str_printf(&laughs, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1, i - 1,
                   i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    refuse(str_text(&laughs), "more nodes");
    for (int i = 0; i < 300; i++)
        str_puts(&deep, "[");
    refuse(str_text(&deep), "nesting");
}

static void test_streams(void **state)
{
    static const char text[] = "---\na: 1\n---\n# nothing\n---\n- 2\n...\n";
    _cleanup_yaml_docs_ struct yaml_docs docs = {0};

    assert_int_equal(yaml_parse_all(text, strlen(text), &docs, NULL), 0);
    assert_int_equal(docs.len, 2);
    assert_int_equal(json_int(yyjson_doc_get_root(docs.items[0]), "/a", 0), 1);
    assert_int_equal(json_int(yyjson_doc_get_root(docs.items[1]), "/0", 0), 2);
}

static void test_what_is_written_reads_the_same(void **state)
{
    static const char *const texts[] = {
        "{\"a\":{\"b\":[1,\"two\",{\"c\":null,\"d\":[]},[3,[4]],{}],\"e\":{}},\"f\":true}",
        "[\"yes\",\"1\",\"\",\"a: b\",\"# no\",\"- x\",\"*a\",\"two\\nlines\\n\",\"\\u00e9\",\"0x1\",\"null\",\"~\",\"1.5\",-2,1.5]",
        "{\"kubevirt.io/size\":\"small\",\"yes\":\"n\",\"1\":\"x\",\"\":\"2026-01-01T00:00:00Z\"}",
        "\"text\"",
        "[\"\\u0001\\u007f\\u0085\\u2028\\ufeff\\ud83d\\ude00\\\\\\\"\\t\\u00a0\"]",
        "[]",
    };

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        _cleanup_doc_ yyjson_doc *json = NULL, *again = NULL;
        assert_int_equal(json_parse(texts[i], strlen(texts[i]), &json, NULL), 0);
        _cleanup_free_ char *text = yaml_write(yyjson_doc_get_root(json));
        if (yaml_parse(text, strlen(text), &again, NULL) < 0 ||
            !json_equal(yyjson_doc_get_root(json), yyjson_doc_get_root(again)))
            fail_msg("%s became\n%s", texts[i], text);
    }
}

static void test_it_looks_as_kubectl_prints_it(void **state)
{
    static const char json[] = "{\"kind\":\"X\",\"spec\":{\"disks\":[{\"name\":\"a\",\"disk\":{}},{\"name\":\"b\"}],\"m\":\"1\"}}";
    _cleanup_doc_ yyjson_doc *doc = NULL;

    assert_int_equal(json_parse(json, strlen(json), &doc, NULL), 0);
    _cleanup_free_ char *text = yaml_write(yyjson_doc_get_root(doc));
    assert_string_equal(text, "kind: X\nspec:\n  disks:\n  - name: a\n    disk: {}\n  - name: b\n  m: \"1\"\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_core_schema),     cmocka_unit_test(test_anchors_are_copied),
        cmocka_unit_test(test_what_is_refused), cmocka_unit_test(test_a_small_text_cannot_become_a_huge_tree),
        cmocka_unit_test(test_streams),         cmocka_unit_test(test_what_is_written_reads_the_same),
        cmocka_unit_test(test_it_looks_as_kubectl_prints_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
