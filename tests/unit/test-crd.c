#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/crd.h"
#include "api/pattern.h"
#include "api/rules.h"
#include "api/yaml.h"
#include "base/alloc.h"
#include "base/str.h"
#include "kinds-fixture.h"

#define CRD(name, group, versions) \
    "{metadata: {name: " name ", uid: u1}, spec: {group: " group \
    ", scope: Namespaced, names: {plural: widgets, kind: Widget, " \
    "shortNames: [wd]}, versions: [" versions "]}}"
#define V1(schema) \
    "{name: v1, served: true, storage: true, subresources: {status: {}}, additionalPrinterColumns: " \
    "[{name: Size, type: integer, jsonPath: .spec.size}], selectableFields: [{jsonPath: .spec.size}], schema: " \
    "{openAPIV3Schema: " schema "}}"
#define SCHEMA(spec) "{type: object, properties: {spec: {type: object, properties: {" spec "}}}}"

static yyjson_doc *parse(const char *yaml)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    yyjson_doc *doc = NULL;

    if (yaml_parse(yaml, strlen(yaml), &doc, &err) < 0)
        fail_msg("%s", gw_error_message(&err));
    return doc;
}

static void check(const char *yaml, const char *expected)
{
    _cleanup_doc_ yyjson_doc *doc = parse(yaml);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_str_ struct str found = {0};

    crd_validate(yyjson_doc_get_root(doc), &err);
    for (size_t i = 0; i < err.n_causes; i++)
        str_printf(&found, "%s%s: %s", i ? "\n" : "", err.causes[i].field, err.causes[i].message);
    assert_string_equal(str_text(&found), expected);
}

static void test_validation(void **state)
{
    check(CRD("widgets.x.io", "x.io", V1(SCHEMA("size: {type: integer}"))), "");
    check(CRD("widgets.y.io", "x.io", V1(SCHEMA(""))),
          "metadata.name: Invalid value: \"widgets.y.io\": must be spec.names.plural+\".\"+spec.group");
    check(CRD("widgets.x", "x", V1(SCHEMA(""))),
          "spec.group: Invalid value: \"x\": should be a domain with at least one dot");
    check(CRD("widgets.x.io", "x.io", "{name: v1, served: true, storage: true}"),
          "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required");
    check(CRD("widgets.x.io", "x.io", V1(SCHEMA("")) ", " V1(SCHEMA(""))),
          "spec.versions: Invalid value: \"\": must have exactly one version marked as storage version");
    check(
        CRD("widgets.x.io", "x.io",
            V1(SCHEMA(
                "size: {type: integer}")) ", {name: v2, storage: false, served: true, schema: {openAPIV3Schema: {}}}"),
        "spec.versions[1].schema.openAPIV3Schema: Forbidden: versions with different schemas are not supported yet");
    check(CRD("widgets.x.io", "x.io", V1("{properties: {l: {items: {}}, any: {x-kubernetes-preserve-unknown-fields: true}}}")),
          "spec.versions[*].schema.openAPIV3Schema.type: Required value: must not be empty at the root\n"
          "spec.versions[*].schema.openAPIV3Schema.properties[l].type: Required value: must not be empty for specified "
          "object fields\n"
          "spec.versions[*].schema.openAPIV3Schema.properties[l].items.type: Required value: must not be empty for "
          "specified array items");
    check(CRD("widgets.x.io", "x.io", V1(SCHEMA("size: {type: text}"))),
          "spec: Invalid value: \"\": widgets.x.io: schema.spec.size: unknown type");
}

static void test_what_is_not_evaluated_is_refused(void **state)
{
    check(
        CRD("widgets.x.io", "x.io", V1(SCHEMA("size: {type: integer, x-kubernetes-validations: [{rule: self > 1}]}"))),
        "spec.versions[*].schema.openAPIV3Schema.properties[spec].properties[size].x-kubernetes-validations: "
        "Forbidden: validation rules "
        "(CEL) are not supported: remove them from the schema");
    check(CRD("widgets.x.io", "x.io", V1(SCHEMA("l: {type: array, items: {type: string, oneOf: [{type: string}]}}"))),
          "spec.versions[*].schema.openAPIV3Schema.properties[spec].properties[l].items.oneOf: Forbidden: not "
          "supported yet");
    check(CRD("widgets.x.io", "x.io", V1(SCHEMA("m: {type: object, $ref: objectmeta}"))),
          "spec.versions[*].schema.openAPIV3Schema.properties[spec].properties[m].$ref: Forbidden: references are not "
          "allowed in structural "
          "schemas");
    check(CRD("widgets.x.io", "x.io",
              V1(SCHEMA("p: {x-kubernetes-int-or-string: true, anyOf: [{type: integer}, {type: string}]}"))),
          "");
}

static void test_registration(void **state)
{
    _cleanup_doc_ yyjson_doc *doc = parse(CRD("widgets.x.io", "x.io", V1(SCHEMA("size: {type: integer, default: 3}"))));
    _cleanup_doc_ yyjson_doc *changed = parse(CRD("widgets.x.io", "x.io", V1(SCHEMA("size: {type: string}"))));
    yyjson_val *crd = yyjson_doc_get_root(doc);
    const struct kind *kind;

    assert_int_equal(crd_register(kinds, crd, NULL), 0);
    kind = kinds_find_object(kinds, "x.io/v1", "Widget");
    assert_non_null(kind);
    assert_string_equal(kind->singular, "widget");
    assert_string_equal(kind->list_kind, "WidgetList");
    assert_string_equal(kind->columns[0].name, "Size");
    assert_string_equal(kind->selectable[0], "spec.size");
    assert_true(kind->has_status && kind->namespaced && !kind->builtin && kind->origin);
    assert_non_null(schema_property(kind->schema, "metadata"));
    assert_int_equal(crd_register(kinds, crd, NULL), 0);
    assert_ptr_equal(kinds_find_object(kinds, "x.io/v1", "Widget"), kind);
    assert_int_equal(crd_register(kinds, yyjson_doc_get_root(changed), NULL), 0);
    assert_ptr_not_equal(kinds_find_object(kinds, "x.io/v1", "Widget"), kind);
    crd_unregister(kinds, crd);
    assert_null(kinds_find_object(kinds, "x.io/v1", "Widget"));
}

static void test_built_in_kinds_stay(void **state)
{
    _cleanup_doc_ yyjson_doc *doc =
        parse("{metadata: {name: virtualmachines.kubevirt.io, uid: u}, spec: {group: kubevirt.io, scope: Namespaced, "
              "names: {plural: virtualmachines, kind: VirtualMachine}, versions: [" V1(SCHEMA("")) "]}}");
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    assert_true(crd_register(kinds, yyjson_doc_get_root(doc), &err) < 0);
    assert_int_equal(err.reason, GW_FORBIDDEN);
    crd_unregister(kinds, yyjson_doc_get_root(doc));
    assert_non_null(kinds_find(kinds, "kubevirt.io", "v1", "virtualmachines"));
}

static void test_names_are_taken_once_in_a_group(void **state)
{
    static const struct {
        const char *group, *names, *reason; /* reason NULL: no conflict */
    } rows[] = {
        {"x.io", "plural: gadgets, kind: Gadget", NULL},
        {"y.io", "plural: widgets, kind: Widget", NULL},
        {"x.io", "plural: gadgets, kind: Widget", "KindConflict"},
        {"x.io", "plural: gadgets, kind: Gadget, listKind: Widget", "ListKindConflict"},
        {"x.io", "plural: wd, kind: Gadget", "PluralConflict"},
        {"x.io", "plural: gadgets, singular: widgets, kind: Gadget", "SingularConflict"},
        {"x.io", "plural: gadgets, kind: Gadget, shortNames: [g, wd]", "ShortNamesConflict"},
    };
    _cleanup_doc_ yyjson_doc *first = parse(CRD("widgets.x.io", "x.io", V1(SCHEMA(""))));

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *text = xasprintf("{metadata: {name: other}, spec: {group: %s, names: {%s}}}", rows[i].group, rows[i].names);
        _cleanup_doc_ yyjson_doc *doc = parse(text);
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

        assert_int_equal(crd_check_names(yyjson_doc_get_root(doc), yyjson_doc_get_root(first), &err) < 0, rows[i].reason != NULL);
        if (rows[i].reason)
            assert_string_equal(err.causes[0].type, rows[i].reason);
    }
    assert_int_equal(crd_check_names(yyjson_doc_get_root(first), yyjson_doc_get_root(first), NULL), 0);
}

/* What is printed is a definition that another API server, and this one, could take. */
static void test_kinds_print_as_definitions(void **state)
{
    struct kind_vec list;

    kinds_list(kinds, &list);
    VEC_EACH (&list, k) {
        _cleanup_mut_doc_ yyjson_mut_doc *d = crd_from_kind(*k);
        _cleanup_doc_ yyjson_doc *crd = yyjson_mut_doc_imut_copy(d, NULL);
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
        if (!strchr((*k)->group, '.'))
            continue; /* the core group can't be defined */
        crd_validate(yyjson_doc_get_root(crd), &err);
        if (err.n_causes)
            fail_msg("%s: %s: %s", (*k)->resource, err.causes[0].field, err.causes[0].message);
        _cleanup_free_ char *text = json_text(d->root);
        assert_null(strstr(text, "x-godwit"));
        assert_null(strstr(text, "x-protobuf"));
        assert_null(strstr(text, "$ref"));
    }
    kind_vec_done(&list);
}

static void test_patterns(void **state)
{
    static const struct {
        const char *re2, *good, *bad;
    } rows[] = {
        {"^\\d{3}$", "123", "12a"}, {"^(?:ab)+$", "abab", "aba"},   {"^[\\w.\\-]+$", "a_1.-", "a b"},
        {"^[^\\]\\d]$", "x", "]"},  {"^[^\\]\\d]$", "x", "5"},      {"^[a-z\\\\]$", "\\", "-"},
        {"^[]a]$", "]", "b"},       {"^[[:alpha:]\\d]$", "9", "-"}, {"^a\\.b\\/c$", "a.b/c", "axb/c"},
        {"^\\[x\\]$", "[x]", "x"},  {"^[^\\s]+$", "ab", "a b"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        regex_t re;
        assert_int_equal(pattern_compile(rows[i].re2, &re), 0);
        if (regexec(&re, rows[i].good, 0, NULL, 0) != 0 || regexec(&re, rows[i].bad, 0, NULL, 0) == 0)
            fail_msg("%s", rows[i].re2);
        regfree(&re);
    }
}

static void test_bad_patterns(void **state)
{
    static const char *const bad[] = {"(", "[", "[\\", "(?i)x", "(?P<n>x)", "a{2,1}"};
    regex_t re;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (pattern_compile(bad[i], &re) == 0)
            fail_msg("%s was taken", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_validation),
        cmocka_unit_test(test_what_is_not_evaluated_is_refused),
        cmocka_unit_test(test_registration),
        cmocka_unit_test(test_names_are_taken_once_in_a_group),
        cmocka_unit_test(test_built_in_kinds_stay),
        cmocka_unit_test(test_kinds_print_as_definitions),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_bad_patterns),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
