#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glob.h>
#include <string.h>

#include "api/embedded.h"
#include "api/kind.h"
#include "api/rules.h"
#include "base/alloc.h"
#include "base/str.h"
#include "kinds-fixture.h"

static void add(struct kinds *k, const char *yaml)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (kinds_add_yaml(k, "test", yaml, strlen(yaml), &err) < 0)
        fail_msg("%s", gw_error_message(&err));
}

static const char widget[] =
    "group: example.com\nkind: Widget\nplural: widgets\nsingular: widget\nshortNames: [w]\nscope: Namespaced\n"
    "versions: [{name: v1, storage: true}, {name: v1beta1, deprecated: old}, {name: v0, served: false}]\n"
    "subresources: [status]\n"
    "schema: {properties: {spec: {type: object}}}\n";

static void test_every_file_is_embedded(void **state)
{
    static const char *const patterns[] = {SOURCE_DIR "/kinds/*.yaml", SOURCE_DIR "/kinds/defs/*.yaml",
                                           SOURCE_DIR "/kinds/initial/*.yaml"};
    size_t files = 0, rows = 0;
    glob_t found;

    for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
        assert_int_equal(glob(patterns[i], 0, NULL, &found), 0);
        files += found.gl_pathc;
        globfree(&found);
    }
    while (embedded_kinds[rows].name)
        rows++;
    assert_int_equal(files, rows);
}

static void test_built_in_kinds(void **state)
{
    const struct kind *pods = kinds_find(kinds, "", "v1", "pods");

    assert_non_null(pods);
    assert_string_equal(pods->kind, "Pod");
    assert_string_equal(pods->list_kind, "PodList");
    assert_string_equal(pods->prefix, "/registry/core/pods/");
    assert_string_equal(pods->resource, "pods");
    assert_true(pods->builtin && pods->namespaced && pods->has_status);
    assert_ptr_equal(kinds_find_object(kinds, "v1", "Pod"), pods);
    assert_null(kinds_find(kinds, "", "v2", "pods"));
    assert_null(kinds_find(kinds, "apps", NULL, "pods"));
    assert_non_null(schema_property(schema_property(pods->schema, "metadata")->schema, "ownerReferences"));
}

/* What kubectl explain shows: a sentence for each kind and for each of its fields. */
static void expect_described(const struct schema *s, const char *kind, const char *path, int depth)
{
    for (size_t i = 0; s && depth < 12 && i < s->n_properties; i++) {
        const struct property *p = &s->properties[i];
        _cleanup_free_ char *below = xasprintf("%s.%s", path, p->name);
        if (!p->description || strlen(p->description) < 5)
            fail_msg("%s: %s has no description", kind, below);
        expect_described(p->schema->items ? p->schema->items : p->schema, kind, below, depth + 1);
    }
}

static void test_kinds_are_described(void **state)
{
    struct kind_vec list;

    kinds_list(kinds, &list);
    for (size_t i = 0; i < list.len; i++) {
        const struct kind *k = list.items[i];
        const char *text = json_str(k->schema->source, "/description");
        if (!text || strlen(text) < 30 || text[strlen(text) - 1] != '.')
            fail_msg("%s has no description", k->kind);
        expect_described(k->schema, k->kind, "", 0);
    }
    assert_true(list.len > 15);
    kind_vec_done(&list);
}

static void test_a_kind_of_its_own(void **state)
{
    _cleanup_(kinds_freep) struct kinds *k = kinds_new_empty();

    add(k, widget);
    const struct kind *w = kinds_find(k, "example.com", "v1", "widgets");
    assert_non_null(w);
    assert_non_null(kinds_find(k, "example.com", "v1beta1", "widgets"));
    assert_null(kinds_find(k, "example.com", "v0", "widgets"));
    assert_ptr_equal(kinds_find_object(k, "example.com/v1beta1", "Widget"), w);
    assert_string_equal(kind_version(w, "v1beta1")->deprecated, "old");
    assert_string_equal(kind_storage_version(w), "v1");
    assert_string_equal(w->resource, "widgets.example.com");
    assert_string_equal(w->qualified, "Widget.example.com");
    assert_string_equal(w->short_names[0], "w");
    assert_null(w->short_names[1]);
    assert_int_equal(w->n_columns, 1);
    assert_string_equal(w->columns[0].name, "Age");
    assert_true(w->has_status && !w->builtin);
    _cleanup_free_ char *key = kind_key(w, "default", "a"), *version = kind_api_version(w, NULL);
    assert_string_equal(key, "/registry/example.com/widgets/default/a");
    assert_string_equal(version, "example.com/v1");
}

static void test_replaced_and_removed_kinds_stay_valid(void **state)
{
    _cleanup_(kinds_freep) struct kinds *k = kinds_new_empty();
    struct kind_vec list;

    add(k, widget);
    const struct kind *first = kinds_find(k, "example.com", NULL, "widgets");
    uint64_t generation = kinds_generation(k);
    add(k, widget);
    assert_ptr_not_equal(kinds_find(k, "example.com", NULL, "widgets"), first);
    assert_true(kinds_generation(k) > generation);
    kinds_list(k, &list);
    assert_int_equal(list.len, 1);
    kind_vec_done(&list);
    assert_true(kinds_remove(k, "example.com", "widgets"));
    assert_false(kinds_remove(k, "example.com", "widgets"));
    assert_null(kinds_find(k, "example.com", NULL, "widgets"));
    assert_string_equal(first->kind, "Widget");
}

static void test_lists_are_sorted(void **state)
{
    struct kind_vec list;

    kinds_list(kinds, &list);
    assert_true(list.len > 10);
    for (size_t i = 1; i < list.len; i++) {
        int by_group = strcmp(list.items[i - 1]->group, list.items[i]->group);
        assert_true(by_group < 0 || (by_group == 0 && strcmp(list.items[i - 1]->plural, list.items[i]->plural) < 0));
    }
    kind_vec_done(&list);
}

static void test_faulty_files(void **state)
{
    static const char *const bad[][2] = {
        {"kind: X", "test: group, kind, plural and singular are required"},
        {"{group: g, kind: X, plural: xs, singular: x, scope: Here}", "test: scope is neither Namespaced nor Cluster"},
        {"{group: g, kind: X, plural: xs, singular: x, scope: Cluster}",
         "test: exactly one version must be the storage version"},
        {"{group: g, kind: X, plural: xs, singular: x, scope: Cluster, versions: [{name: v1, storage: true}], columns: "
         "[{name: A}]}",
         "test: a column needs name and path"},
        {"{group: g, kind: X, plural: xs, singular: x, scope: Cluster, versions: [{name: v1, storage: true}], "
         "schema: {properties: {a: {type: b}}}}",
         "test: schema.a: unknown type"},
    };
    _cleanup_(kinds_freep) struct kinds *k = kinds_new_empty();

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
        assert_true(kinds_add_yaml(k, "test", bad[i][0], strlen(bad[i][0]), &err) < 0);
        assert_string_equal(gw_error_message(&err), bad[i][1]);
    }
}

static void test_headline_of_invalid_objects(void **state)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    const struct kind *pods = kinds_find(kinds, "", "v1", "pods");

    assert_int_equal(kind_invalid(pods, "p", &err), 0);
    field_required(&err, "spec.a", "say it");
    assert_true(kind_invalid(pods, "p", &err) < 0);
    assert_string_equal(gw_error_message(&err), "Pod \"p\" is invalid: spec.a: Required value: say it");
    field_invalid(&err, "spec.b", "3", "too %s", "small");
    assert_true(kind_invalid(pods, "p", &err) < 0);
    assert_string_equal(gw_error_message(&err),
                        "Pod \"p\" is invalid: [spec.a: Required value: say it, spec.b: Invalid value: 3: too small]");
    assert_int_equal(err.reason, GW_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_file_is_embedded),
        cmocka_unit_test(test_built_in_kinds),
        cmocka_unit_test(test_kinds_are_described),
        cmocka_unit_test(test_a_kind_of_its_own),
        cmocka_unit_test(test_replaced_and_removed_kinds_stay_valid),
        cmocka_unit_test(test_lists_are_sorted),
        cmocka_unit_test(test_faulty_files),
        cmocka_unit_test(test_headline_of_invalid_objects),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
