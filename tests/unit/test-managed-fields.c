/* The entries of managedFields by themselves: who owns what after which write. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "api/managed_fields.h"
#include "base/str.h"
#include "quoted.h"

#define T1 "2026-11-21T08:00:00Z"
#define T2 "2026-11-21T09:00:00Z"

struct list {
    yyjson_mut_doc *d;
    yyjson_mut_val *entries;
};

static int set_up(void **state)
{
    struct list *l = xnew(struct list);

    l->d = json_object();
    l->entries = yyjson_mut_arr(l->d);
    *state = l;
    return 0;
}

static int tear_down(void **state)
{
    struct list *l = *state;

    yyjson_mut_doc_free(l->d);
    free(l);
    return 0;
}

static yyjson_mut_val *set(struct list *l, const char *text)
{
    _cleanup_doc_ yyjson_doc *doc = json(text);

    return yyjson_val_mut_copy(l->d, yyjson_doc_get_root(doc));
}

static bool update(struct list *l, const char *manager, const char *subresource, const char *time, const char *changed,
                   const char *removed)
{
    struct managed_writer w = {manager, "v1", subresource, time};
    struct field_changes c = {set(l, changed), set(l, removed)};

    return managed_update(l->d, l->entries, &w, &c);
}

static int apply(struct list *l, const char *manager, const char *named, const char *changed, bool force,
                 struct gw_error *err)
{
    struct managed_writer w = {manager, "v1", NULL, T2};
    struct field_changes c = {set(l, changed), set(l, "{}")};

    return managed_apply(l->d, l->entries, &w, set(l, named), &c, force, err);
}

/* "manager operation/subresource time fields" of one entry. */
static void assert_entry(struct list *l, size_t at, const char *wanted)
{
    yyjson_mut_val *e = yyjson_mut_arr_get(l->entries, at);
    _cleanup_free_ char *fields = json_text(yyjson_mut_obj_get(e, "fieldsV1"));
    const char *sub = yyjson_mut_get_str(yyjson_mut_obj_get(e, "subresource"));
    _cleanup_str_ struct str is = {0};

    assert_non_null(e);
    str_printf(&is, "%s %s/%s %s %s", yyjson_mut_get_str(yyjson_mut_obj_get(e, "manager")),
               yyjson_mut_get_str(yyjson_mut_obj_get(e, "operation")), sub ? sub : "",
               yyjson_mut_get_str(yyjson_mut_obj_get(e, "time")), fields);
    for (char *c = is.data; *c; c++)
        *c = *c == '"' ? '\'' : *c;
    assert_string_equal(str_text(&is), wanted);
}

static void assert_count(struct list *l, size_t n)
{
    assert_int_equal(yyjson_mut_arr_size(l->entries), n);
}

static void test_updates_take_over(void **state)
{
    struct list *l = *state;

    assert_true(update(l, "a", NULL, T1, "{'f:x':{},'f:y':{}}", "{}"));
    assert_false(update(l, "b", NULL, T2, "{}", "{}"));
    assert_count(l, 1);
    assert_true(update(l, "b", NULL, T2, "{'f:y':{}}", "{}"));
    assert_entry(l, 0, "a Update/ " T1 " {'f:x':{}}");
    assert_entry(l, 1, "b Update/ " T2 " {'f:y':{}}");
    assert_true(update(l, "b", NULL, T2, "{}", "{'f:x':{},'f:y':{}}"));
    assert_count(l, 0);
}

static void test_a_subresource_has_an_entry_of_its_own(void **state)
{
    struct list *l = *state;

    (void)update(l, "a", NULL, T1, "{'f:spec':{}}", "{}");
    (void)update(l, "a", "status", T2, "{'f:status':{}}", "{}");
    assert_entry(l, 0, "a Update/ " T1 " {'f:spec':{}}");
    assert_entry(l, 1, "a Update/status " T2 " {'f:status':{}}");
}

static void test_applied_entries_come_first_and_their_conflicts_are_told(void **state)
{
    struct list *l = *state;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    (void)update(l, "edit", NULL, T1, "{'f:spec':{'f:x':{},'f:y':{},'f:z':{}}}", "{}");
    assert_int_equal(apply(l, "me", "{'f:spec':{'f:x':{}}}", "{}", false, NULL), 0);
    assert_entry(l, 0, "me Apply/ " T2 " {'f:spec':{'f:x':{}}}"); /* the same value: shared */
    assert_entry(l, 1, "edit Update/ " T1 " {'f:spec':{'f:x':{},'f:y':{},'f:z':{}}}");
    assert_true(apply(l, "you", "{'f:spec':{'f:y':{}}}", "{'f:spec':{'f:y':{}}}", false, &err) < 0);
    assert_string_equal(gw_error_message(&err),
                        "Apply failed with 1 conflict: conflict with \"edit\" using v1: .spec.y");
    assert_int_equal(err.n_causes, 1);
    assert_string_equal(err.causes[0].type, "FieldManagerConflict");
    assert_string_equal(err.causes[0].message, "conflict with \"edit\" using v1");
    assert_string_equal(err.causes[0].field, ".spec.y");
    gw_error_done(&err);
    assert_true(apply(l, "you", "{}", "{'f:spec':{'f:x':{},'f:y':{}}}", false, &err) < 0);
    assert_string_equal(gw_error_message(&err), "Apply failed with 3 conflicts: conflicts with \"me\":\n- .spec.x\n"
                                                "conflicts with \"edit\" using v1:\n- .spec.x\n- .spec.y");
}

static void test_force_takes(void **state)
{
    struct list *l = *state;

    (void)update(l, "edit", NULL, T1, "{'f:x':{},'f:y':{}}", "{}");
    assert_int_equal(apply(l, "me", "{'f:x':{}}", "{'f:x':{}}", true, NULL), 0);
    assert_entry(l, 0, "me Apply/ " T2 " {'f:x':{}}");
    assert_entry(l, 1, "edit Update/ " T1 " {'f:y':{}}");
    assert_int_equal(apply(l, "me", "{}", "{}", false, NULL), 0); /* wants nothing any more */
    assert_count(l, 1);
}

static void test_an_apply_of_the_same_changes_nothing(void **state)
{
    struct list *l = *state;

    (void)apply(l, "me", "{'f:x':{}}", "{'f:x':{}}", false, NULL);
    yyjson_mut_obj_put(yyjson_mut_arr_get_first(l->entries), yyjson_mut_str(l->d, "time"), yyjson_mut_str(l->d, T1));
    (void)apply(l, "me", "{'f:x':{}}", "{}", false, NULL);
    assert_entry(l, 0, "me Apply/ " T1 " {'f:x':{}}");
}

static void test_many_updaters_become_one(void **state)
{
    struct list *l = *state;
    char manager[8], field[16];

    for (int i = 0; i < 14; i++) {
        snprintf(manager, sizeof(manager), "m%d", i);
        snprintf(field, sizeof(field), "{'f:x%d':{}}", i);
        (void)update(l, manager, NULL, T1, field, "{}");
    }
    assert_count(l, 10);
    assert_entry(l, 0, "ancient-changes Update/ " T1 " {'f:x0':{},'f:x1':{},'f:x2':{},'f:x3':{},'f:x4':{}}");
}

static void test_only_good_entries_are_read(void **state)
{
    struct list *l = *state;
    const char *good = "[{'manager':'a','operation':'Apply','apiVersion':'v1','fieldsType':'FieldsV1','fieldsV1':{'f:x':{}}}]";
    const char *bad[] = {"[{'operation':'Steal','fieldsType':'FieldsV1','fieldsV1':{}}]", "[{'operation':'Apply'}]", "[1]", "{}",
                         "[{}]"};
    _cleanup_doc_ yyjson_doc *doc = json(good);

    assert_int_equal(yyjson_mut_arr_size(managed_read(l->d, yyjson_doc_get_root(doc))), 1);
    assert_int_equal(yyjson_mut_arr_size(managed_read(l->d, NULL)), 0);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_doc_ yyjson_doc *fault = json(bad[i]);

        assert_int_equal(yyjson_mut_arr_size(managed_read(l->d, yyjson_doc_get_root(fault))), 0);
        assert_int_equal(managed_is_reset(yyjson_doc_get_root(fault)), i == 4);
    }
}

static void test_nobody_manages_what_the_server_stamps(void **state)
{
    struct list *l = *state;
    yyjson_mut_val *s = set(l, "{'f:apiVersion':{},'f:metadata':{'.':{},'f:name':{},'f:uid':{},'f:labels':{'f:a':{}}},'f:spec':{}}");
    yyjson_mut_val *bare = set(l, "{'f:kind':{},'f:metadata':{'f:generation':{}}}");

    managed_forget(s);
    managed_forget(bare);
    assert_true(yyjson_mut_equals(s, set(l, "{'f:metadata':{'f:labels':{'f:a':{}}},'f:spec':{}}")));
    assert_true(field_set_empty(bare));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_updates_take_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_subresource_has_an_entry_of_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_applied_entries_come_first_and_their_conflicts_are_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_force_takes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_apply_of_the_same_changes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_updaters_become_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_only_good_entries_are_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nobody_manages_what_the_server_stamps, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
