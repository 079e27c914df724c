#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/patch.h"
#include "api/yaml.h"
#include "base/alloc.h"
#include "base/str.h"

enum kind_of_patch { JSON, MERGE, STRATEGIC };

static const char schema_text[] =
    "type: object\n"
    "properties:\n"
    "  a: {type: integer}\n"
    "  map: {type: object, additionalProperties: {type: string}}\n"
    "  whole: {type: object, x-kubernetes-patch-strategy: replace, properties: {x: {type: integer}, y: {type: "
    "integer}}}\n"
    "  volume: {type: object, properties: {disk: {type: string}, net: {type: string}}}\n"
    "  plain: {type: array, items: {type: string}}\n"
    "  set: {type: array, x-kubernetes-patch-strategy: merge, items: {type: string}}\n"
    "  taints:\n"
    "    type: array\n"
    "    x-kubernetes-patch-strategy: merge\n"
    "    x-kubernetes-patch-merge-key: key\n"
    "    items:\n"
    "      type: object\n"
    "      properties:\n"
    "        key: {type: string}\n"
    "        value: {type: string}\n"
    "        inner: {type: array, x-kubernetes-patch-strategy: merge, x-kubernetes-patch-merge-key: id,\n"
    "          items: {type: object, properties: {id: {type: integer}, v: {type: integer}}}}\n";

static struct schema_set *set;
static struct schema *schema;
static yyjson_doc *schema_doc;

static int set_up(void **state)
{
    set = schema_set_new(NULL, NULL);
    return yaml_parse(schema_text, strlen(schema_text), &schema_doc, NULL) < 0 ||
           schema_compile(set, yyjson_doc_get_root(schema_doc), &schema, NULL) < 0;
}

static int tear_down(void **state)
{
    schema_set_free(set);
    yyjson_doc_free(schema_doc);
    return 0;
}

static int run(enum kind_of_patch how, const char *object, const char *patch, char **ret, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *o = yyjson_read(object, strlen(object), 0), *p = yyjson_read(patch, strlen(patch), 0);
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_copy(yyjson_doc_get_root(o));
    int rc;

    assert_non_null(p);
    if (how == JSON)
        rc = patch_json(d, yyjson_doc_get_root(p), err);
    else if (how == MERGE)
        rc = patch_merge(d, yyjson_doc_get_root(p), err);
    else
        rc = patch_strategic(d, schema, yyjson_doc_get_root(p), err);
    *ret = rc < 0 ? NULL : json_text(d->root);
    return rc;
}

static void check(enum kind_of_patch how, const char *object, const char *patch, const char *expected)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_free_ char *text = NULL;

    if (run(how, object, patch, &text, &err) < 0)
        fail_msg("%s: %s", patch, gw_error_message(&err));
    assert_string_equal(text, expected);
}

static void refuse(enum kind_of_patch how, const char *object, const char *patch, enum gw_reason reason)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_free_ char *text = NULL;

    if (run(how, object, patch, &text, &err) >= 0)
        fail_msg("%s was taken: %s", patch, text);
    assert_int_equal(err.reason, reason);
}

static void test_json_patch(void **state)
{
    check(JSON, "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\",\"value\":{\"c\":2}}]", "{\"a\":1,\"b\":{\"c\":2}}");
    check(JSON, "{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/a\",\"value\":2}]", "{\"a\":2}");
    check(JSON, "{\"l\":[1,3]}",
          "[{\"op\":\"add\",\"path\":\"/l/1\",\"value\":2},{\"op\":\"add\",\"path\":\"/l/-\",\"value\":4}]",
          "{\"l\":[1,2,3,4]}");
    check(JSON, "{\"l\":[1,2],\"a\":1}", "[{\"op\":\"remove\",\"path\":\"/l/0\"},{\"op\":\"remove\",\"path\":\"/a\"}]",
          "{\"l\":[2]}");
    check(JSON, "{\"a/b\":{\"~\":1}}", "[{\"op\":\"replace\",\"path\":\"/a~1b/~0\",\"value\":null}]",
          "{\"a/b\":{\"~\":null}}");
    check(JSON, "{\"a\":{\"b\":1},\"c\":{}}", "[{\"op\":\"move\",\"from\":\"/a/b\",\"path\":\"/c/d\"}]",
          "{\"a\":{},\"c\":{\"d\":1}}");
    check(JSON, "{\"a\":{\"b\":1}}",
          "[{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"/c\"},{\"op\":\"add\",\"path\":\"/c/x\",\"value\":2}]",
          "{\"a\":{\"b\":1},\"c\":{\"b\":1,\"x\":2}}");
    check(JSON, "{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"\",\"value\":{\"b\":2}}]", "{\"b\":2}");
    check(JSON, "{\"a\":{\"x\":1,\"y\":[2]}}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":{\"y\":[2],\"x\":1}}]",
          "{\"a\":{\"x\":1,\"y\":[2]}}");
    check(JSON, "{}", "[]", "{}");
}

static void test_json_patch_as_kube_apiserver_has_it(void **state)
{
    static const char ssh_key[] =
        "[{\"op\":\"test\",\"path\":\"/spec/accessCredentials\",\"value\":null},{\"op\":\"add\",\"path\":"
        "\"/spec/accessCredentials\",\"value\":[]},{\"op\":\"add\",\"path\":\"/spec/accessCredentials/"
        "-\",\"value\":1}]";

    check(JSON, "{\"spec\":{}}", ssh_key, "{\"spec\":{\"accessCredentials\":[1]}}");
    refuse(JSON, "{\"spec\":{}}", "[{\"op\":\"add\",\"path\":\"/spec/accessCredentials/-\",\"value\":1}]", GW_INVALID);
    refuse(JSON, "{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":null}]", GW_INVALID);
    check(JSON, "{}", "[{\"op\":\"test\",\"path\":\"/x/y/z\",\"value\":null}]", "{}");
}

static void test_json_patch_that_does_not_apply(void **state)
{
    static const char *const bad[] = {
        "[{\"op\":\"remove\",\"path\":\"/x\"}]",
        "[{\"op\":\"replace\",\"path\":\"/x\",\"value\":1}]",
        "[{\"op\":\"add\",\"path\":\"/x/y\",\"value\":1}]",
        "[{\"op\":\"add\",\"path\":\"/l/3\",\"value\":1}]",
        "[{\"op\":\"add\",\"path\":\"/l/01\",\"value\":1}]",
        "[{\"op\":\"remove\",\"path\":\"/l/-\"}]",
        "[{\"op\":\"remove\",\"path\":\"/l/2\"}]",
        "[{\"op\":\"remove\",\"path\":\"\"}]",
        "[{\"op\":\"add\",\"path\":\"/a/b\",\"value\":1}]",
        "[{\"op\":\"move\",\"from\":\"/l\",\"path\":\"/l/0\"}]",
        "[{\"op\":\"copy\",\"from\":\"/x\",\"path\":\"/y\"}]",
        "[{\"op\":\"test\",\"path\":\"/a\",\"value\":2}]",
    };
    static const char *const malformed[] = {
        "{}",
        "[1]",
        "[{\"op\":\"add\"}]",
        "[{\"op\":\"jump\",\"path\":\"/a\"}]",
        "[{\"op\":\"add\",\"path\":\"/a\"}]",
        "[{\"op\":\"move\",\"path\":\"/a\"}]",
        "[{\"op\":\"add\",\"path\":\"a\",\"value\":1}]",
    };

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        refuse(JSON, "{\"a\":1,\"l\":[1,2]}", bad[i], GW_INVALID);
    for (size_t i = 0; i < ARRAY_SIZE(malformed); i++)
        refuse(JSON, "{\"a\":1,\"l\":[1,2]}", malformed[i], GW_BAD_REQUEST);
}

static void test_json_patch_cannot_explode(void **state)
{
    _cleanup_str_ struct str copies = {0}, deep = {0}, many = {0};

    str_puts(&copies, "[{\"op\":\"add\",\"path\":\"/a\",\"value\":\"xxxxxxxxxxxxxxxx\"}");
    for (int i = 0; i < 40; i++)
        str_printf(&copies, ",{\"op\":\"copy\",\"from\":\"\",\"path\":\"/c%d\"}", i);
    str_puts(&copies, "]");
    refuse(JSON, "{}", str_text(&copies), GW_BAD_REQUEST);
    str_puts(&deep, "[{\"op\":\"add\",\"path\":\"/a\",\"value\":{}}");
    for (int i = 0; i < JSON_MAX_DEPTH; i++)
        str_puts(&deep, ",{\"op\":\"copy\",\"from\":\"\",\"path\":\"/a\"}");
    str_puts(&deep, "]");
    refuse(JSON, "{}", str_text(&deep), GW_BAD_REQUEST);
    str_puts(&many, "[{\"op\":\"add\",\"path\":\"/a\",\"value\":1}");
    for (int i = 0; i < PATCH_MAX_OPERATIONS; i++)
        str_puts(&many, ",{\"op\":\"add\",\"path\":\"/a\",\"value\":1}");
    str_puts(&many, "]");
    refuse(JSON, "{}", str_text(&many), GW_TOO_LARGE);
}

static void test_merge_patch(void **state)
{
    check(MERGE, "{\"a\":1,\"b\":{\"c\":2,\"d\":3}}", "{\"a\":null,\"b\":{\"c\":4},\"e\":[1]}",
          "{\"b\":{\"c\":4,\"d\":3},\"e\":[1]}");
    check(MERGE, "{\"a\":[1,2]}", "{\"a\":[3]}", "{\"a\":[3]}");
    check(MERGE, "{\"a\":\"b\"}", "{\"a\":{\"c\":{\"d\":null,\"e\":1}}}", "{\"a\":{\"c\":{\"e\":1}}}");
    check(MERGE, "{}", "{\"a\":null}", "{}");
    refuse(MERGE, "{}", "[1]", GW_BAD_REQUEST);
}

static void test_strategic_objects(void **state)
{
    check(STRATEGIC, "{\"a\":1,\"map\":{\"x\":\"1\",\"y\":\"2\"}}", "{\"a\":null,\"map\":{\"y\":null,\"z\":\"3\"}}",
          "{\"map\":{\"x\":\"1\",\"z\":\"3\"}}");
    check(STRATEGIC, "{\"map\":{\"x\":\"1\"}}", "{\"map\":{\"$patch\":\"replace\",\"z\":\"3\"}}",
          "{\"map\":{\"z\":\"3\"}}");
    check(STRATEGIC, "{\"map\":{\"x\":\"1\"},\"a\":1}", "{\"map\":{\"$patch\":\"delete\"}}", "{\"a\":1}");
    check(STRATEGIC, "{\"whole\":{\"x\":1}}", "{\"whole\":{\"y\":2}}", "{\"whole\":{\"y\":2}}");
    check(STRATEGIC, "{\"volume\":{\"disk\":\"d\"}}", "{\"volume\":{\"$retainKeys\":[\"net\"],\"net\":\"n\"}}",
          "{\"volume\":{\"net\":\"n\"}}");
    refuse(STRATEGIC, "{\"volume\":{}}", "{\"volume\":{\"$retainKeys\":[\"net\"],\"disk\":\"n\"}}", GW_BAD_REQUEST);
    refuse(STRATEGIC, "{\"map\":{}}", "{\"map\":{\"$patch\":\"shuffle\"}}", GW_BAD_REQUEST);
    refuse(STRATEGIC, "{}", "[]", GW_BAD_REQUEST);
}

static void test_strategic_lists(void **state)
{
    check(STRATEGIC, "{\"plain\":[\"a\"]}", "{\"plain\":[\"b\"]}", "{\"plain\":[\"b\"]}");
    check(STRATEGIC, "{\"set\":[\"a\",\"b\"]}", "{\"set\":[\"b\",\"c\"]}", "{\"set\":[\"a\",\"b\",\"c\"]}");
    check(STRATEGIC, "{\"set\":[\"a\",\"b\",\"c\"]}",
          "{\"$deleteFromPrimitiveList/set\":[\"a\",\"c\"],\"set\":[\"d\"]}", "{\"set\":[\"b\",\"d\"]}");
    check(STRATEGIC, "{\"taints\":[{\"key\":\"a\",\"value\":\"1\"},{\"key\":\"b\"}]}",
          "{\"taints\":[{\"key\":\"b\",\"value\":\"2\"},{\"key\":\"c\",\"value\":null}]}",
          "{\"taints\":[{\"key\":\"a\",\"value\":\"1\"},{\"key\":\"b\",\"value\":\"2\"},{\"key\":\"c\"}]}");
    check(STRATEGIC, "{\"taints\":[{\"key\":\"a\"},{\"key\":\"b\"}]}",
          "{\"taints\":[{\"$patch\":\"delete\",\"key\":\"a\"}]}", "{\"taints\":[{\"key\":\"b\"}]}");
    check(STRATEGIC, "{\"taints\":[{\"key\":\"a\"}]}", "{\"taints\":[{\"$patch\":\"replace\"},{\"key\":\"z\"}]}",
          "{\"taints\":[{\"key\":\"z\"}]}");
    check(STRATEGIC, "{\"taints\":[{\"key\":\"a\",\"inner\":[{\"id\":1,\"v\":1}]}]}",
          "{\"taints\":[{\"key\":\"a\",\"inner\":[{\"id\":2,\"v\":2},{\"id\":1,\"v\":3}]}]}",
          "{\"taints\":[{\"key\":\"a\",\"inner\":[{\"id\":1,\"v\":3},{\"id\":2,\"v\":2}]}]}");
    check(STRATEGIC, "{}", "{\"taints\":[{\"key\":\"a\"},{\"$patch\":\"delete\",\"key\":\"b\"}]}",
          "{\"taints\":[{\"key\":\"a\"}]}");
    refuse(STRATEGIC, "{\"taints\":[{\"key\":\"a\"}]}", "{\"taints\":[{\"value\":\"x\"}]}", GW_BAD_REQUEST);
}

static void test_strategic_order(void **state)
{
    check(STRATEGIC, "{\"set\":[\"a\",\"b\",\"c\"]}", "{\"$setElementOrder/set\":[\"c\",\"b\",\"a\"]}",
          "{\"set\":[\"c\",\"b\",\"a\"]}");
    check(
        STRATEGIC, "{\"taints\":[{\"key\":\"a\"},{\"key\":\"own\"},{\"key\":\"b\"}]}",
        "{\"$setElementOrder/taints\":[{\"key\":\"b\"},{\"key\":\"n\"},{\"key\":\"a\"}],\"taints\":[{\"key\":\"n\"}]}",
        "{\"taints\":[{\"key\":\"own\"},{\"key\":\"b\"},{\"key\":\"n\"},{\"key\":\"a\"}]}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_patch),
        cmocka_unit_test(test_json_patch_as_kube_apiserver_has_it),
        cmocka_unit_test(test_json_patch_that_does_not_apply),
        cmocka_unit_test(test_json_patch_cannot_explode),
        cmocka_unit_test(test_merge_patch),
        cmocka_unit_test(test_strategic_objects),
        cmocka_unit_test(test_strategic_lists),
        cmocka_unit_test(test_strategic_order),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
