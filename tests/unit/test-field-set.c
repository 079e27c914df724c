/* Sets of fields, and the merge of an apply, over a small schema. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "api/field_set.h"
#include "api/patch.h"
#include "api/yaml.h"
#include "base/alloc.h"
#include "base/str.h"
#include "quoted.h"

static const char source[] =
    "type: object\n"
    "properties:\n"
    "  metadata: {type: object, properties: {labels: {type: object, additionalProperties: {type: string}},\n"
    "    finalizers: {type: array, items: {type: string}, x-kubernetes-list-type: set}}}\n"
    "  spec:\n"
    "    type: object\n"
    "    properties:\n"
    "      rig: {type: object, properties: {masts: {type: integer}, sails: {type: integer}}}\n"
    "      paint: {type: object, x-kubernetes-map-type: atomic, properties: {hull: {type: string}, deck: {type: string}}}\n"
    "      route: {type: array, items: {type: string}}\n"
    "      crew: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [name], items: {type: object,\n"
    "        properties: {name: {type: string}, rank: {type: string}, pay: {type: integer}}}}\n"
    "      ports: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [port, kind], items: {type: "
    "object,\n"
    "        properties: {port: {type: integer}, kind: {type: string, default: sea}, open: {type: boolean}}}}\n"
    "      log: {type: object, x-kubernetes-preserve-unknown-fields: true}\n";

struct world {
    yyjson_doc *doc;
    struct schema_set *set;
    struct schema *schema;
    yyjson_mut_doc *d;
    yyjson_doc *values[16]; /* kept until the end */
    size_t n;
};

static int set_up(void **state)
{
    struct world *w = xnew(struct world);

    assert_int_equal(yaml_parse(source, strlen(source), &w->doc, NULL), 0);
    w->set = schema_set_new(NULL, NULL);
    assert_int_equal(schema_compile(w->set, yyjson_doc_get_root(w->doc), &w->schema, NULL), 0);
    w->d = json_object();
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    while (w->n)
        yyjson_doc_free(w->values[--w->n]);
    yyjson_mut_doc_free(w->d);
    schema_set_free(w->set);
    yyjson_doc_free(w->doc);
    free(w);
    return 0;
}

static yyjson_val *value(struct world *w, const char *text)
{
    assert_true(w->n < ARRAY_SIZE(w->values));
    w->values[w->n] = json(text);
    return yyjson_doc_get_root(w->values[w->n++]);
}

static yyjson_mut_val *set(struct world *w, const char *text)
{
    return yyjson_val_mut_copy(w->d, value(w, text));
}

static void assert_is(struct world *w, yyjson_mut_val *got, const char *text)
{
    _cleanup_free_ char *is = json_text(got);
    yyjson_mut_val *wanted = set(w, text);

    if (!yyjson_mut_equals(got, wanted))
        fail_msg("got %s instead of %s", is, text);
}

static void test_what_a_configuration_names(void **state)
{
    struct world *w = *state;
    yyjson_val *v = value(w, "{'metadata':{'labels':{'app':'x'},'finalizers':['a/b']},'spec':{'rig':{'masts':2},"
                             "'paint':{'hull':'red'},'route':['a','b'],'crew':[{'name':'jo','rank':'mate'}],"
                             "'ports':[{'port':1}],'log':{'day':{'one':1},'list':[1]}}}");

    assert_is(w, field_set_of(w->schema, v, w->d),
              "{'f:metadata':{'f:labels':{'f:app':{}},'f:finalizers':{'v:\\\"a/b\\\"':{}}},'f:spec':{'f:rig':{'f:masts':{}},"
              "'f:paint':{},'f:route':{},'f:crew':{'k:{\\\"name\\\":\\\"jo\\\"}':{'.':{},'f:name':{},'f:rank':{}}},"
              "'f:ports':{'k:{\\\"kind\\\":\\\"sea\\\",\\\"port\\\":1}':{'.':{},'f:port':{}}},"
              "'f:log':{'f:day':{'.':{},'f:one':{}},'f:list':{}}}}");
}

static void test_what_has_changed(void **state)
{
    struct world *w = *state;
    yyjson_val *before = value(w, "{'spec':{'rig':{'masts':2,'sails':4},'crew':[{'name':'jo','pay':1},{'name':'al'}],"
                                  "'route':['a'],'paint':{'hull':'red'}}}");
    yyjson_val *after = value(w, "{'spec':{'rig':{'masts':3,'sails':4},'crew':[{'name':'cy'},{'name':'jo','pay':2}],"
                                 "'route':['a'],'paint':{'hull':'red','deck':'tan'}}}");
    struct field_changes c = field_set_compare(w->schema, before, after, w->d);

    assert_is(w, c.set, "{'f:spec':{'f:rig':{'f:masts':{}},'f:paint':{},"
                        "'f:crew':{'k:{\\\"name\\\":\\\"cy\\\"}':{'.':{},'f:name':{}},'k:{\\\"name\\\":\\\"jo\\\"}':{'f:pay':{}}}}}");
    assert_is(w, c.removed, "{'f:spec':{'f:crew':{'k:{\\\"name\\\":\\\"al\\\"}':{'.':{},'f:name':{}}}}}");
    c = field_set_compare(w->schema, after, after, w->d);
    assert_true(field_set_empty(c.set) && field_set_empty(c.removed));
}

static void test_what_comes_is_owned_with_its_containers(void **state)
{
    struct world *w = *state;
    struct field_changes c = field_set_compare(w->schema, value(w, "{'spec':{}}"),
                                               value(w, "{'spec':{'rig':{'masts':1}},'metadata':{'labels':{'a':'b'}}}"), w->d);

    assert_is(w, c.set, "{'f:spec':{'.':{},'f:rig':{'.':{},'f:masts':{}}},'f:metadata':{'.':{},'f:labels':{'.':{},'f:a':{}}}}");
}

static void test_operations(void **state)
{
    struct world *w = *state;
    yyjson_mut_val *a = set(w, "{'f:x':{'f:y':{}},'f:l':{'.':{},'f:one':{}}}");

    field_set_add(w->d, a, set(w, "{'f:x':{'f:z':{}},'f:l':{'f:two':{}},'f:n':{}}"));
    assert_is(w, a, "{'f:x':{'f:y':{},'f:z':{}},'f:l':{'.':{},'f:one':{},'f:two':{}},'f:n':{}}");
    assert_is(w, field_set_common(w->d, a, set(w, "{'f:x':{'f:y':{},'f:q':{}},'f:l':{},'f:n':{'f:below':{}}}")),
              "{'f:x':{'f:y':{}},'f:l':{}}");
    field_set_remove(a, set(w, "{'f:x':{'f:y':{},'f:z':{}},'f:l':{'f:one':{},'f:two':{}}}"));
    assert_is(w, a, "{'f:l':{},'f:n':{}}");
    field_set_remove(a, set(w, "{'f:l':{'.':{},'f:one':{}},'f:n':{'f:below':{}}}"));
    assert_is(w, a, "{'f:n':{}}");
    field_set_remove(a, set(w, "{'f:n':{}}"));
    assert_true(field_set_empty(a));
}

static void test_a_leaf_takes_what_was_below_it(void **state)
{
    struct world *w = *state;
    yyjson_mut_val *a = set(w, "{'f:x':{'f:y':{}}}");

    field_set_remove(a, set(w, "{'f:x':{}}"));
    assert_true(field_set_empty(a));
}

static void note_path(void *data, const char *path)
{
    str_printf(data, "%s ", path);
}

static void test_paths_read_as_messages_write_them(void **state)
{
    struct world *w = *state;
    _cleanup_str_ struct str paths = {0};

    field_set_each(set(w, "{'f:spec':{'f:crew':{'k:{\\\"name\\\":\\\"jo\\\"}':{'.':{},'f:pay':{}}},'f:l':{'v:\\\"a\\\"':{}}}}"), note_path,
                   &paths);
    assert_string_equal(str_text(&paths), ".spec.crew[name=\"jo\"] .spec.crew[name=\"jo\"].pay .spec.l[=\"a\"] ");
}

static void assert_applies(struct world *w, const char *old, const char *wanted, const char *applied, const char *kept,
                           const char *result)
{
    yyjson_mut_val *got = NULL;
    int r = patch_apply(w->d, w->schema, value(w, old), value(w, wanted), set(w, applied), set(w, kept), &got, NULL);

    assert_int_equal(r, 0);
    assert_is(w, got, result);
    while (w->n)
        yyjson_doc_free(w->values[--w->n]);
}

static void test_apply_merges(void **state)
{
    struct world *w = *state;

    assert_applies(w, "{'spec':{'rig':{'masts':1,'sails':9},'route':['a'],'crew':[{'name':'al'},{'name':'jo','pay':1}]}}",
                   "{'spec':{'rig':{'masts':2},'route':['b','c'],'crew':[{'name':'jo','rank':'mate'},{'name':'cy'}]}}", "{}",
                   "{}",
                   "{'spec':{'rig':{'masts':2,'sails':9},'route':['b','c'],'crew':[{'name':'al'},"
                   "{'name':'jo','pay':1,'rank':'mate'},{'name':'cy'}]}}");
    assert_applies(w, "{'spec':{'crew':[{'name':'a'},{'name':'b'},{'name':'c'}],'log':{'a':1}}}",
                   "{'spec':{'crew':[{'name':'c'},{'name':'a'}],'log':{}}}", "{}", "{}",
                   "{'spec':{'crew':[{'name':'c'},{'name':'b'},{'name':'a'}],'log':{'a':1}}}");
}

static void test_apply_takes_away_what_is_not_named_any_more(void **state)
{
    struct world *w = *state;
    const char *crew = "{'f:spec':{'f:crew':{'k:{\\\"name\\\":\\\"al\\\"}':{'.':{},'f:name':{},'f:pay':{}}}}}";

    assert_applies(w, "{'spec':{'rig':{'masts':1,'sails':9},'paint':{'hull':'x'}}}", "{'spec':{'paint':{'hull':'x'}}}",
                   "{'f:spec':{'f:rig':{'f:masts':{}},'f:paint':{}}}", "{}", "{'spec':{'paint':{'hull':'x'}}}");
    assert_applies(w, "{'spec':{'rig':{'masts':1,'sails':9},'route':['a']}}", "{'spec':{'route':['a']}}",
                   "{'f:spec':{'f:rig':{'f:masts':{}}}}", "{'f:spec':{'f:rig':{'f:sails':{}}}}",
                   "{'spec':{'rig':{'sails':9},'route':['a']}}");
    assert_applies(w, "{'spec':{'crew':[{'name':'al','pay':1},{'name':'jo'}]}}", "{'spec':{'crew':[{'name':'jo'}]}}", crew, "{}",
                   "{'spec':{'crew':[{'name':'jo'}]}}");
    assert_applies(w, "{'spec':{'crew':[{'name':'al','pay':1,'rank':'x'},{'name':'jo'}]}}", "{'spec':{'crew':[{'name':'jo'}]}}", crew,
                   "{'f:spec':{'f:crew':{'k:{\\\"name\\\":\\\"al\\\"}':{'.':{},'f:name':{},'f:rank':{}}}}}",
                   "{'spec':{'crew':[{'name':'al','rank':'x'},{'name':'jo'}]}}");
}

static void test_apply_leaves_what_nobody_named_in_maps_and_lists(void **state)
{
    struct world *w = *state;

    assert_applies(w, "{'metadata':{'labels':{'a':'1','rule':'2'},'finalizers':['x','server']},'spec':{'rig':{}}}", "{}",
                   "{'f:metadata':{'f:labels':{'f:a':{}},'f:finalizers':{'v:\\\"x\\\"':{}}}}", "{}",
                   "{'metadata':{'labels':{'rule':'2'},'finalizers':['server']},'spec':{'rig':{}}}");
    assert_applies(w, "{'metadata':{'labels':{'a':'1'}},'spec':{'rig':{}}}", "{}", "{'f:metadata':{'f:labels':{'f:a':{}}}}", "{}",
                   "{'metadata':{},'spec':{'rig':{}}}");
}

static void test_apply_refuses_items_that_cannot_be_told_apart(void **state)
{
    struct world *w = *state;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    yyjson_mut_val *got = NULL;

    assert_true(patch_apply(w->d, w->schema, NULL, value(w, "{'spec':{'crew':[{'name':'a'},{'name':'a'}]}}"), NULL, NULL, &got,
                            &err) < 0);
    assert_non_null(strstr(gw_error_message(&err), "duplicate entries for key {\"name\":\"a\"}"));
    gw_error_done(&err);
    assert_true(patch_apply(w->d, w->schema, NULL, value(w, "{'spec':{'crew':[{'pay':1}]}}"), NULL, NULL, &got, &err) < 0);
    assert_int_equal(err.reason, GW_BAD_REQUEST);
}

static void test_what_is_huge_is_owned_as_a_whole(void **state)
{
    struct world *w = *state;
    _cleanup_str_ struct str wide = {0}, deep = {0};
    yyjson_mut_val *set;
    int depth = 0;

    str_puts(&wide, "{'spec':{'log':{'k':1");
    for (int i = 0; i < FIELD_SET_WIDTH; i++)
        str_printf(&wide, ",'k%d':1", i);
    str_puts(&wide, "}}}");
    assert_is(w, field_set_of(w->schema, value(w, str_text(&wide)), w->d), "{'f:spec':{'f:log':{}}}");
    str_puts(&deep, "{'spec':{'log':");
    for (int i = 0; i < 150; i++)
        str_puts(&deep, "{'a':");
    str_puts(&deep, "1");
    for (int i = 0; i < 152; i++)
        str_puts(&deep, "}");
    set = field_set_of(w->schema, value(w, str_text(&deep)), w->d);
    for (yyjson_mut_val *key; yyjson_mut_obj_size(set); depth++) {
        yyjson_mut_obj_iter it = yyjson_mut_obj_iter_with(set);

        while ((key = yyjson_mut_obj_iter_next(&it)))
            set = yyjson_mut_obj_iter_get_val(key);
    }
    assert_int_equal(depth, FIELD_SET_DEPTH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_a_configuration_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_has_changed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_comes_is_owned_with_its_containers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_operations, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_leaf_takes_what_was_below_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_paths_read_as_messages_write_them, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_apply_merges, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_apply_takes_away_what_is_not_named_any_more, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_apply_leaves_what_nobody_named_in_maps_and_lists, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_huge_is_owned_as_a_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_apply_refuses_items_that_cannot_be_told_apart, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
