/* meta.h, object.h and names.h: what all objects have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/meta.h"
#include "api/names.h"
#include "api/object.h"
#include "api/rules.h"
#include "base/alloc.h"
#include "base/clock.h"

static yyjson_mut_doc *parse(const char *json)
{
    _cleanup_doc_ yyjson_doc *doc = yyjson_read(json, strlen(json), 0);

    assert_non_null(doc);
    return json_copy(yyjson_doc_get_root(doc));
}

static void is(yyjson_mut_doc *d, const char *expected)
{
    _cleanup_free_ char *text = json_text(d->root);

    assert_string_equal(text, expected);
}

static void test_readers(void **state)
{
    static const char text[] =
        "{\"metadata\":{\"name\":\"n\",\"namespace\":\"ns\",\"uid\":\"u\",\"resourceVersion\":\"7\",\"generation\":3,"
        "\"creationTimestamp\":"
        "\"2026-11-21T00:00:00Z\",\"deletionTimestamp\":\"2026-11-21T00:00:01Z\",\"labels\":{\"a/"
        "b\":\"1\"},\"annotations\":{\"x\":\"y\"},"
        "\"finalizers\":[\"f1\",\"f2\"],\"ownerReferences\":[{\"uid\":\"o1\"},{\"uid\":\"o2\",\"controller\":true}]},"
        "\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"},{\"type\":\"Paused\",\"status\":"
        "\"False\"}]}}";
    _cleanup_doc_ yyjson_doc *doc = yyjson_read(text, strlen(text), 0), *none = yyjson_read("{}", 2, 0);
    yyjson_val *o = yyjson_doc_get_root(doc), *empty = yyjson_doc_get_root(none);

    assert_string_equal(meta_name(o), "n");
    assert_string_equal(meta_namespace(o), "ns");
    assert_string_equal(meta_uid(o), "u");
    assert_string_equal(meta_version(o), "7");
    assert_int_equal(meta_generation(o), 3);
    assert_int_equal(meta_created(o) + 1000, meta_deleted(o));
    assert_true(meta_deleting(o));
    assert_string_equal(meta_label(o, "a/b"), "1");
    assert_null(meta_label(o, "a"));
    assert_string_equal(meta_annotation(o, "x"), "y");
    assert_true(meta_has_finalizer(o, "f2") && !meta_has_finalizer(o, "f3"));
    assert_string_equal(json_str(meta_controller(o), "/uid"), "o2");
    assert_true(meta_owned_by(o, "o1") && !meta_owned_by(o, "o3"));
    assert_true(condition_true(o, "Ready") && !condition_true(o, "Paused") && !condition_true(o, "Gone"));
    assert_string_equal(meta_name(empty), "");
    assert_false(meta_deleting(empty));
    assert_int_equal(meta_created(empty), -1);
    assert_null(meta_controller(empty));
    assert_null(condition_find(empty, "Ready"));
}

static void test_labels_and_finalizers(void **state)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = parse("{\"metadata\":{\"name\":\"n\"}}");

    meta_set_label(d, "a/b", "1");
    meta_set_label(d, "a/b", "2");
    meta_set_annotation(d, "gone", NULL);
    is(d, "{\"metadata\":{\"name\":\"n\",\"labels\":{\"a/b\":\"2\"}}}");
    meta_set_label(d, "a/b", NULL);
    is(d, "{\"metadata\":{\"name\":\"n\"}}");
    assert_true(meta_add_finalizer(d, "x"));
    assert_false(meta_add_finalizer(d, "x"));
    assert_true(meta_add_finalizer(d, "y"));
    assert_true(meta_remove_finalizer(d, "x"));
    assert_false(meta_remove_finalizer(d, "x"));
    is(d, "{\"metadata\":{\"name\":\"n\",\"finalizers\":[\"y\"]}}");
    assert_true(meta_remove_finalizer(d, "y"));
    is(d, "{\"metadata\":{\"name\":\"n\"}}");
}

static void test_owners(void **state)
{
    static const char text[] = "{\"apiVersion\":\"v1\",\"kind\":\"K\",\"metadata\":{\"name\":\"o\",\"uid\":\"u\"}}";
    _cleanup_doc_ yyjson_doc *owner = yyjson_read(text, strlen(text), 0);
    _cleanup_mut_doc_ yyjson_mut_doc *d = parse("{\"metadata\":{\"name\":\"n\"}}");

    meta_add_owner(d, yyjson_doc_get_root(owner), false, false);
    meta_add_owner(d, yyjson_doc_get_root(owner), true, true);
    is(d, "{\"metadata\":{\"name\":\"n\",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"K\",\"name\":\"o\","
          "\"uid\":\"u\","
          "\"controller\":true,\"blockOwnerDeletion\":true}]}}");
}

static void test_conditions_move_their_time_with_status_only(void **state)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = parse("{\"metadata\":{\"name\":\"n\"}}");
    int64_t t0 = clock_parse("2026-11-21T00:00:00Z");

    assert_true(condition_set(d, "Ready", "False", "Why", "text", t0));
    assert_false(condition_set(d, "Ready", "False", "Why", "text", t0 + 5000));
    assert_true(condition_set(d, "Ready", "False", "Other", NULL, t0 + 5000));
    is(d, "{\"metadata\":{\"name\":\"n\"},\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\","
          "\"reason\":\"Other\","
          "\"lastTransitionTime\":\"2026-11-21T00:00:00Z\"}]}}");
    assert_true(condition_set(d, "Ready", "True", NULL, NULL, t0 + 5000));
    is(d, "{\"metadata\":{\"name\":\"n\"},\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\","
          "\"lastTransitionTime\":\"2026-11-21T00:00:05Z\"}]}}");
    assert_true(condition_remove(d, "Ready"));
    assert_false(condition_remove(d, "Ready"));
}

static void test_stored_form(void **state)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d =
        parse("{\"kind\":\"K\",\"spec\":{\"a\":1},\"metadata\":{\"resourceVersion\":\"3\",\"name\":\"n\"},"
              "\"apiVersion\":\"g/v1\"}");
    _cleanup_blob_ struct blob *stored = object_store(d);
    _cleanup_doc_ yyjson_doc *doc = NULL;
    _cleanup_str_ struct str out = {0};

    assert_string_equal(stored->data, "{\"metadata\":{\"name\":\"n\"},\"spec\":{\"a\":1}}");
    object_write(&out, "g/v2", "K", 42, stored->data, stored->len);
    assert_string_equal(
        str_text(&out),
        "{\"kind\":\"K\",\"apiVersion\":\"g/v2\",\"metadata\":{\"resourceVersion\":\"42\",\"name\":\"n\"},"
        "\"spec\":{\"a\":1}}");
    assert_int_equal(object_load("g/v1", "K", 42, stored->data, stored->len, &doc, NULL), 0);
    assert_string_equal(meta_version(yyjson_doc_get_root(doc)), "42");
}

static void test_damaged_objects(void **state)
{
    static const char *const bad[] = {"", "{}", "{\"metadata\":{", "{\"metadata\":{\"name\":\"n\"}",
                                      "{\"spec\":{\"a\":1}}"};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
        yyjson_doc *doc = NULL;
        assert_true(object_load("v1", "K", 1, bad[i], strlen(bad[i]), &doc, &err) < 0);
        assert_int_equal(err.reason, GW_INTERNAL_ERROR);
    }
}

static void test_names(void **state)
{
    char long_label[65], long_name[256];

    memset(long_label, 'a', 64);
    memset(long_name, 'a', 254);
    long_label[64] = long_name[254] = '\0';
    assert_null(name_fault_dns_label("a-1"));
    assert_non_null(name_fault_dns_label("a.b"));
    assert_non_null(name_fault_dns_label(""));
    assert_non_null(name_fault_dns_label("A"));
    assert_string_equal(name_fault_dns_label(long_label), "must be no more than 63 characters");
    assert_null(name_fault_dns_subdomain("a.b-c.0"));
    assert_null(name_fault_dns_subdomain(long_label));
    assert_non_null(name_fault_dns_subdomain("a..b"));
    assert_non_null(name_fault_dns_subdomain(".a"));
    assert_non_null(name_fault_dns_subdomain("a."));
    assert_non_null(name_fault_dns_subdomain("a_b"));
    assert_string_equal(name_fault_dns_subdomain(long_name), "must be no more than 253 characters");
    assert_null(name_fault_dns_1035("a1"));
    assert_non_null(name_fault_dns_1035("1a"));
    assert_null(name_fault_path_segment("A:b_c"));
    assert_string_equal(name_fault_path_segment("a/b"), "may not contain '/'");
    assert_string_equal(name_fault_path_segment(".."), "may not be '..'");
    assert_non_null(name_fault(NAME_DNS_LABEL, "a.b"));
    assert_null(name_fault(NAME_DNS_SUBDOMAIN, "a.b"));
}

static void test_label_syntax(void **state)
{
    assert_null(label_value_fault(""));
    assert_null(label_value_fault("A_b.c-1"));
    assert_non_null(label_value_fault("-a"));
    assert_non_null(label_value_fault("a b"));
    assert_null(qualified_name_fault("kubevirt.io/Vmi_name"));
    assert_null(qualified_name_fault("App"));
    assert_non_null(qualified_name_fault("a/b/c"));
    assert_string_equal(qualified_name_fault("/b"), "prefix part must be non-empty");
    assert_string_equal(qualified_name_fault("a/"), "name part must be non-empty");
    assert_non_null(qualified_name_fault("A.io/b"));
    assert_non_null(qualified_name_fault(""));
}

static void test_generated_names(void **state)
{
    _cleanup_free_ char *name = name_generate("kubevirt-migrate-vm-"), *cut = NULL;
    char base[100];

    assert_int_equal(strlen(name), strlen("kubevirt-migrate-vm-") + 5);
    memset(base, 'a', 99);
    base[99] = '\0';
    cut = name_generate(base);
    assert_int_equal(strlen(cut), 63);
    assert_null(name_fault_dns_label(cut));
}

static void check_metadata(bool namespaced, const char *metadata, const char *expected)
{
    const struct kind kind = {.namespaced = namespaced, .name_rule = NAME_DNS_SUBDOMAIN};
    _cleanup_free_ char *text = xasprintf("{\"metadata\":%s}", metadata);
    _cleanup_doc_ yyjson_doc *doc = yyjson_read(text, strlen(text), 0);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_str_ struct str found = {0};

    assert_non_null(doc);
    names_validate_metadata(&kind, yyjson_doc_get_root(doc), &err);
    for (size_t i = 0; i < err.n_causes; i++)
        str_printf(&found, "%s: %.30s;", err.causes[i].field, err.causes[i].message);
    assert_string_equal(str_text(&found), expected);
}

static void test_metadata(void **state)
{
    check_metadata(
        true,
        "{\"name\":\"a\",\"namespace\":\"b\",\"labels\":{\"x\":\"y\"},\"annotations\":{\"Upper.io/X\":\"any thing\"}}",
        "");
    check_metadata(true, "{}", "metadata.name: Required value: name or genera;");
    check_metadata(true, "{\"name\":\"A\"}", "metadata.name: Invalid value: \"A\": a lowercas;");
    check_metadata(false, "{\"name\":\"a\",\"namespace\":\"b\"}",
                   "metadata.namespace: Forbidden: not allowed on this;");
    check_metadata(true, "{\"name\":\"a\",\"namespace\":\"B\"}",
                   "metadata.namespace: Invalid value: \"B\": a lowercas;");
    check_metadata(
        true, "{\"name\":\"a\",\"labels\":{\"x y\":\"z!\"}}",
        "metadata.labels: Invalid value: \"x y\": name par;metadata.labels: Invalid value: \"z!\": a valid l;");
    check_metadata(true, "{\"name\":\"a\",\"finalizers\":[\"x y\"]}",
                   "metadata.finalizers: Invalid value: \"x y\": name par;");
    check_metadata(
        true,
        "{\"name\":\"a\",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"K\",\"name\":\"\",\"uid\":\"u\"}]}",
        "metadata.ownerReferences.name: Invalid value: \"\": name must n;");
    check_metadata(true,
                   "{\"name\":\"a\",\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"K\",\"name\":\"x\",\"uid\":"
                   "\"u\",\"controller\":true},"
                   "{\"apiVersion\":\"v1\",\"kind\":\"K\",\"name\":\"y\",\"uid\":\"v\",\"controller\":true}]}",
                   "metadata.ownerReferences: Invalid value: \"\": Only one re;");
}

static void test_finalizers_of_own_kinds_have_a_domain(void **state)
{
    static const struct {
        const char *group, *name;
        bool builtin, good;
    } rows[] = {
        {"", "example.com/hold", true, true}, {"", "foregroundDeletion", true, true}, {"", "hold", true, false},
        {"apps", "hold", true, false},        {"kubevirt.io", "hold", false, true},   {"apiextensions.k8s.io", "x.y", true, true},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct kind kind = {.group = (char *)rows[i].group, .builtin = rows[i].builtin, .name_rule = NAME_DNS_SUBDOMAIN};
        _cleanup_free_ char *text = xasprintf("{\"metadata\":{\"name\":\"a\",\"finalizers\":[\"%s\"]}}", rows[i].name);
        _cleanup_doc_ yyjson_doc *object = yyjson_read(text, strlen(text), 0);
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

        names_validate_metadata(&kind, yyjson_doc_get_root(object), &err);
        assert_int_equal(err.n_causes == 0, rows[i].good);
    }
}

static void test_a_node_is_dead_when_declared_so_and_silent(void **state)
{
    static const struct {
        const char *effect, *ready;
        bool dead;
    } rows[] = {
        {"NoExecute", "Unknown", true},
        {"NoExecute", "True", false}, /* an agent that answers */
        {"NoSchedule", "Unknown", false},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_mut_doc_ yyjson_mut_doc *d = parse("{\"spec\":{\"taints\":[{}]},\"status\":{\"conditions\":[{}]}}");
        json_set_str(d, "/spec/taints/0/key", "node.kubernetes.io/out-of-service");
        json_set_str(d, "/spec/taints/0/effect", rows[i].effect);
        json_set_str(d, "/status/conditions/0/type", "Ready");
        json_set_str(d, "/status/conditions/0/status", rows[i].ready);
        _cleanup_doc_ yyjson_doc *node = yyjson_mut_doc_imut_copy(d, NULL);
        assert_int_equal(node_is_dead(yyjson_doc_get_root(node)), rows[i].dead);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finalizers_of_own_kinds_have_a_domain),
        cmocka_unit_test(test_readers),         cmocka_unit_test(test_labels_and_finalizers),
        cmocka_unit_test(test_owners),          cmocka_unit_test(test_conditions_move_their_time_with_status_only),
        cmocka_unit_test(test_stored_form),     cmocka_unit_test(test_damaged_objects),
        cmocka_unit_test(test_names),           cmocka_unit_test(test_label_syntax),
        cmocka_unit_test(test_generated_names), cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_a_node_is_dead_when_declared_so_and_silent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
