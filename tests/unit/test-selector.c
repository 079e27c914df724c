#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/selector.h"

static bool matches(const char *text, const char *labels)
{
    _cleanup_selector_ struct selector *s = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_doc_ yyjson_doc *doc = yyjson_read(labels, strlen(labels), 0);

    if (selector_parse(text, &s, &err) < 0)
        fail_msg("%s: %s", text, gw_error_message(&err));
    return selector_matches(s, yyjson_doc_get_root(doc));
}

static const char labels[] = "{\"app\":\"web\",\"kubevirt.io/vmi-name\":\"vm1\",\"n\":\"5\",\"empty\":\"\"}";

static void test_label_selectors(void **state)
{
    static const char *const good[] = {"",
                                       "  ",
                                       "app=web",
                                       "app==web",
                                       "app = web",
                                       "app!=db",
                                       "gone!=x",
                                       "app",
                                       "!gone",
                                       "! gone",
                                       "app in (web,db)",
                                       "app in ( web , db )",
                                       "app notin (db)",
                                       "gone notin (a)",
                                       "n>4",
                                       "n<6",
                                       "kubevirt.io/vmi-name==vm1",
                                       "app=web,n>4,!gone",
                                       "empty=",
                                       "empty in (,x)",
                                       "app,n"};
    static const char *const bad[] = {"app=db",       "app!=web",          "gone",   "!app", "gone=x",
                                      "app in (db)",  "app notin (web,x)", "n>5",    "n<5",  "app>1",
                                      "app=web,gone", "gone in (a)",       "empty=x"};

    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        if (!matches(good[i], labels))
            fail_msg("\"%s\" does not match", good[i]);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (matches(bad[i], labels))
            fail_msg("\"%s\" matches", bad[i]);
    assert_true(matches(NULL, "{}"));
    assert_false(matches("a", "null"));
}

static void test_malformed_selectors(void **state)
{
    static const char *const bad[] = {",",        "a,",  "a b",       "a=b c", "a in",  "a in b", "a in (b",
                                      "a in ()x", "=b",  "a=b=c",     "a/b/c", "-a",    "a=-",    "!a=b",
                                      "a notin",  "n>x", "a in (b))", "(a)",   "a=b,,c"};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
        struct selector *s = NULL;
        if (selector_parse(bad[i], &s, &err) >= 0)
            fail_msg("\"%s\" was taken", bad[i]);
        assert_int_equal(err.reason, GW_BAD_REQUEST);
        assert_non_null(strstr(gw_error_message(&err), "unable to parse requirement"));
    }
}

/* -1: refused; else whether it matches. */
static int object_matches(const char *selector, const char *text)
{
    _cleanup_selector_ struct selector *s = NULL;
    _cleanup_doc_ yyjson_doc *doc = yyjson_read(text, strlen(text), 0);
    _cleanup_doc_ yyjson_doc *object = selector ? yyjson_read(selector, strlen(selector), 0) : NULL;

    if (selector_from_object(yyjson_doc_get_root(object), &s, NULL) < 0)
        return -1;
    return selector_matches(s, yyjson_doc_get_root(doc));
}

static void test_label_selector_objects(void **state)
{
    assert_int_equal(object_matches(NULL, labels), 0);
    assert_int_equal(object_matches("{}", labels), 1);
    assert_int_equal(object_matches("{\"matchLabels\":{\"app\":\"web\"}}", labels), 1);
    assert_int_equal(object_matches("{\"matchLabels\":{\"app\":\"db\"}}", labels), 0);
    assert_int_equal(object_matches("{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"In\",\"values\":[\"web\"]},"
                                    "{\"key\":\"gone\",\"operator\":\"DoesNotExist\"}]}",
                                    labels),
                     1);
    assert_int_equal(
        object_matches("{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"NotIn\",\"values\":[\"web\"]}]}",
                       labels),
        0);
    assert_int_equal(
        object_matches("{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"Like\",\"values\":[\"web\"]}]}", labels),
        -1);
    assert_int_equal(object_matches("{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"In\"}]}", labels), -1);
    assert_int_equal(
        object_matches("{\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"Exists\",\"values\":[\"x\"]}]}", labels),
        -1);
    assert_int_equal(object_matches("{\"matchLabels\":{\"a b\":\"x\"}}", labels), -1);
}

static void test_expressions_of_node_selectors(void **state)
{
    static const char text[] = "[{\"key\":\"n\",\"operator\":\"Gt\",\"values\":[\"4\"]},{\"key\":\"n\",\"operator\":"
                               "\"Lt\",\"values\":[\"6\"]}]";
    _cleanup_doc_ yyjson_doc *list = yyjson_read(text, strlen(text), 0), *none = yyjson_read("[]", 2, 0);
    _cleanup_doc_ yyjson_doc *doc = yyjson_read(labels, strlen(labels), 0);
    _cleanup_selector_ struct selector *s = NULL, *nothing = NULL;

    assert_int_equal(selector_from_expressions(yyjson_doc_get_root(list), &s, NULL), 0);
    assert_true(selector_matches(s, yyjson_doc_get_root(doc)));
    assert_false(selector_matches(s, NULL));
    assert_int_equal(selector_from_expressions(yyjson_doc_get_root(none), &nothing, NULL), 0);
    assert_false(selector_matches(nothing, yyjson_doc_get_root(doc)));
    assert_false(selector_is_everything(nothing));
}

static const char *const allowed[] = {"status.phase", "spec.unschedulable", "n", NULL};
static const char object[] = "{\"metadata\":{\"name\":\"a=b\",\"namespace\":\"ns\"},\"status\":{\"phase\":\"Running\"},"
                             "\"spec\":{\"unschedulable\":true},\"n\":7}";

static int field_matches(const char *text)
{
    _cleanup_field_selector_ struct field_selector *s = NULL;
    _cleanup_doc_ yyjson_doc *doc = yyjson_read(object, strlen(object), 0);

    if (field_selector_parse(text, allowed, &s, NULL) < 0)
        return -1;
    return field_selector_matches(s, yyjson_doc_get_root(doc));
}

static void test_field_selectors(void **state)
{
    assert_int_equal(field_matches(NULL), 1);
    assert_int_equal(field_matches(""), 1);
    assert_int_equal(field_matches("metadata.namespace=ns"), 1);
    assert_int_equal(field_matches("metadata.namespace==ns,status.phase=Running"), 1);
    assert_int_equal(field_matches("status.phase!=Running"), 0);
    assert_int_equal(field_matches("status.phase!=Failed"), 1);
    assert_int_equal(field_matches("spec.unschedulable=true"), 1);
    assert_int_equal(field_matches("n=7"), 1);
    assert_int_equal(field_matches("n="), 0);
    assert_int_equal(field_matches("metadata.name=a\\=b"), 1);
    assert_int_equal(field_matches("spec.other=x"), -1);
    assert_int_equal(field_matches("status.phase"), -1);
    assert_int_equal(field_matches("n=1=2"), -1);
}

static void test_exact_fields(void **state)
{
    _cleanup_field_selector_ struct field_selector *s = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    assert_int_equal(field_selector_parse("metadata.name=x,status.phase!=y", allowed, &s, NULL), 0);
    assert_string_equal(field_selector_exact(s, "metadata.name"), "x");
    assert_null(field_selector_exact(s, "status.phase"));
    assert_false(field_selector_is_everything(s));
    struct field_selector *refused = NULL;
    assert_true(field_selector_parse("spec.nodeName=x", NULL, &refused, &err) < 0);
    assert_string_equal(gw_error_message(&err), "field label not supported: spec.nodeName");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_label_selectors),        cmocka_unit_test(test_malformed_selectors),
        cmocka_unit_test(test_label_selector_objects), cmocka_unit_test(test_expressions_of_node_selectors),
        cmocka_unit_test(test_field_selectors),        cmocka_unit_test(test_exact_fields),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
