#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/schema.h"
#include "api/yaml.h"
#include "base/alloc.h"
#include "base/str.h"

static const char kind_text[] =
    "type: object\n"
    "required: [spec]\n"
    "properties:\n"
    "  spec:\n"
    "    type: object\n"
    "    required: [name]\n"
    "    properties:\n"
    "      name: {type: string, minLength: 2, maxLength: 5, pattern: '^[a-zé]*$'}\n"
    "      mode: {type: string, enum: [A, B], default: A}\n"
    "      cores: {type: integer, minimum: 1, maximum: 8, format: int32}\n"
    "      ratio: {type: number}\n"
    "      on: {type: boolean}\n"
    "      memory: {format: quantity}\n"
    "      port: {x-kubernetes-int-or-string: true}\n"
    "      when: {type: string, format: date-time}\n"
    "      labels: {type: object, additionalProperties: {type: string}}\n"
    "      free: {type: object, x-kubernetes-preserve-unknown-fields: true}\n"
    "      nul: {type: string, nullable: true}\n"
    "      empty: {type: object}\n"
    "      later: {type: boolean, x-godwit-support: later, x-godwit-reason: it comes with disks}\n"
    "      never: {type: object, x-godwit-support: never}\n"
    "      disks:\n"
    "        type: array\n"
    "        maxItems: 3\n"
    "        minItems: 1\n"
    "        x-kubernetes-list-type: map\n"
    "        x-kubernetes-list-map-keys: [name]\n"
    "        items: {$ref: disk}\n"
    "      tags: {type: array, x-kubernetes-list-type: set, items: {type: string}}\n"
    "      tree: {$ref: tree}\n"
    "      cache: {$ref: disk, description: own words, default: {name: c}, x-protobuf: 9}\n";

static const char disk_text[] =
    "{\"type\":\"object\",\"description\":\"a disk\",\"properties\":{\"name\":{\"type\":\"string\"},"
    "\"bus\":{\"type\":\"string\",\"default\":\"virtio\"}}}";
static const char tree_text[] =
    "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\",\"default\":\"leaf\"},"
    "\"child\":{\"$ref\":\"tree\"}}}";

static struct {
    yyjson_doc *kind, *disk, *tree;
    struct schema_set *set;
    struct schema *schema;
} t;

static yyjson_val *resolve(void *data, const char *name)
{
    return streq(name, "disk") ? yyjson_doc_get_root(t.disk) : streq(name, "tree") ? yyjson_doc_get_root(t.tree) : NULL;
}

static int set_up(void **state)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    t.disk = yyjson_read(disk_text, strlen(disk_text), 0);
    t.tree = yyjson_read(tree_text, strlen(tree_text), 0);
    t.set = schema_set_new(resolve, NULL);
    if (yaml_parse(kind_text, strlen(kind_text), &t.kind, &err) < 0 ||
        schema_compile(t.set, yyjson_doc_get_root(t.kind), &t.schema, &err) < 0) {
        print_error("%s\n", gw_error_message(&err));
        return -1;
    }
    return 0;
}

static int tear_down(void **state)
{
    schema_set_free(t.set);
    yyjson_doc_free(t.kind);
    yyjson_doc_free(t.disk);
    yyjson_doc_free(t.tree);
    return 0;
}

static yyjson_mut_doc *parse(const char *json)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;

    assert_int_equal(json_parse(json, strlen(json), &doc, NULL), 0);
    return json_copy(yyjson_doc_get_root(doc));
}

static void check_prune(const char *json, const char *pruned, const char *faults)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = parse(json);
    _cleanup_str_ struct str found = {0};
    struct text_vec list = {0};

    schema_prune(t.schema, d, d->root, &list);
    VEC_EACH (&list, f)
        str_printf(&found, "%s;", *f);
    text_vec_clear(&list);
    _cleanup_free_ char *text = json_text(d->root);
    assert_string_equal(text, pruned);
    assert_string_equal(str_text(&found), faults);
}

static void test_prune(void **state)
{
    check_prune("{\"spec\":{\"name\":\"a\",\"x\":1},\"y\":{}}", "{\"spec\":{\"name\":\"a\"}}",
                "unknown field \"spec.x\";unknown field \"y\";");
    check_prune("{\"spec\":{\"disks\":[{\"name\":\"a\"},{\"nam\":1}]}}", "{\"spec\":{\"disks\":[{\"name\":\"a\"},{}]}}",
                "unknown field \"spec.disks[1].nam\";");
    check_prune("{\"spec\":{\"free\":{\"a\":{\"b\":null}},\"labels\":{\"k\":\"v\"}}}",
                "{\"spec\":{\"free\":{\"a\":{\"b\":null}},\"labels\":{\"k\":\"v\"}}}", "");
    check_prune("{\"spec\":{\"name\":null,\"nul\":null,\"empty\":{\"a\":1}}}", "{\"spec\":{\"nul\":null,\"empty\":{}}}",
                "unknown field \"spec.empty.a\";");
    check_prune("{\"spec\":{\"name\":\"a\",\"cores\":1,\"name\":{\"b\":1}}}",
                "{\"spec\":{\"name\":{\"b\":1},\"cores\":1}}", "duplicate field \"spec.name\";");
    check_prune("{\"spec\":{\"tree\":{\"child\":{\"child\":{\"z\":1}}}}}",
                "{\"spec\":{\"tree\":{\"child\":{\"child\":{}}}}}", "unknown field \"spec.tree.child.child.z\";");
    check_prune("{\"spec\":{\"memory\":64,\"port\":64}}", "{\"spec\":{\"memory\":\"64\",\"port\":64}}", "");
    check_prune("{\"spec\":{\"memory\":0.5,\"name\\u0000x\":1}}", "{\"spec\":{\"memory\":\"0.5\"}}",
                "unknown field \"spec.name\";");
}

static void test_prune_finds_duplicates_in_large_maps(void **state)
{
    _cleanup_str_ struct str json = {0};
    struct text_vec list = {0};

    str_puts(&json, "{\"spec\":{\"labels\":{\"k7\":\"first\"");
    for (int i = 0; i < 2000; i++)
        str_printf(&json, ",\"k%d\":\"v%d\"", i, i);
    str_puts(&json, "}}}");
    _cleanup_mut_doc_ yyjson_mut_doc *d = parse(str_text(&json));
    schema_prune(t.schema, d, d->root, &list);
    assert_int_equal(list.len, 1);
    assert_string_equal(list.items[0], "duplicate field \"spec.labels.k7\"");
    assert_string_equal(json_mut_str(d, "/spec/labels/k7"), "v7");
    text_vec_clear(&list);
}

static void check_default(const char *json, const char *expected)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = parse(json);

    schema_default(t.schema, d, d->root);
    _cleanup_free_ char *text = json_text(d->root);
    assert_string_equal(text, expected);
}

static void test_default(void **state)
{
    check_default("{}", "{}");
    check_default("{\"spec\":{\"mode\":\"B\",\"cache\":{\"name\":\"d\",\"bus\":\"sata\"}}}",
                  "{\"spec\":{\"mode\":\"B\",\"cache\":{\"name\":\"d\",\"bus\":\"sata\"}}}");
    check_default("{\"spec\":{}}", "{\"spec\":{\"mode\":\"A\",\"cache\":{\"name\":\"c\",\"bus\":\"virtio\"}}}");
    check_default(
        "{\"spec\":{\"mode\":\"A\",\"disks\":[{},{\"bus\":\"x\"}],\"tree\":{\"child\":{}},\"cache\":{\"bus\":\"y\"}}}",
        "{\"spec\":{\"mode\":\"A\",\"disks\":[{\"bus\":\"virtio\"},{\"bus\":\"x\"}],\"tree\":{\"child\":{\"name\":"
        "\"leaf\"}"
        ",\"name\":\"leaf\"},\"cache\":{\"bus\":\"y\"}}}");
}

static void check(const char *spec, const char *expected)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_doc_ yyjson_doc *doc = NULL;
    _cleanup_str_ struct str found = {0};

    assert_int_equal(json_parse(spec, strlen(spec), &doc, NULL), 0);
    schema_validate(t.schema, yyjson_doc_get_root(doc), "", &err);
    for (size_t i = 0; i < err.n_causes; i++)
        str_printf(&found, "%s%s: %s", i ? "\n" : "", err.causes[i].field, err.causes[i].message);
    assert_string_equal(str_text(&found), expected);
}

static void test_validate_speaks_as_kubernetes(void **state)
{
    check("{\"spec\":{\"name\":\"abc\",\"mode\":\"B\",\"cores\":2,\"on\":true,\"ratio\":1.5,\"memory\":\"1Gi\","
          "\"port\":80}}",
          "");
    check("{}", "spec: Required value");
    check("{\"spec\":{}}", "spec.name: Required value");
    check("{\"spec\":[]}", "spec: Invalid value: \"array\": spec in body must be of type object: \"array\"");
    check("{\"spec\":{\"name\":\"abc\",\"cores\":\"two\"}}",
          "spec.cores: Invalid value: \"string\": spec.cores in body must be of type integer: \"string\"");
    check("{\"spec\":{\"name\":\"abc\",\"cores\":1.5}}",
          "spec.cores: Invalid value: \"number\": spec.cores in body must be of type integer: \"number\"");
    check("{\"spec\":{\"name\":\"abc\",\"cores\":0}}",
          "spec.cores: Invalid value: 0: spec.cores in body should be greater than or equal to 1");
    check("{\"spec\":{\"name\":\"abc\",\"cores\":9}}",
          "spec.cores: Invalid value: 9: spec.cores in body should be less than or equal to 8");
    check("{\"spec\":{\"name\":\"abc\",\"mode\":\"C\"}}",
          "spec.mode: Unsupported value: \"C\": supported values: \"A\", \"B\"");
    check("{\"spec\":{\"name\":\"ABC\"}}",
          "spec.name: Invalid value: \"ABC\": spec.name in body should match '^[a-zé]*$'");
    check("{\"spec\":{\"name\":\"a\"}}",
          "spec.name: Invalid value: \"a\": spec.name in body should be at least 2 chars long");
    check("{\"spec\":{\"name\":\"abcdef\"}}", "spec.name: Too long: may not be more than 5 bytes");
    check("{\"spec\":{\"name\":\"abc\",\"when\":\"soon\"}}",
          "spec.when: Invalid value: \"soon\": spec.when in body must be of type date-time: \"soon\"");
    check("{\"spec\":{\"name\":\"abc\",\"nul\":null,\"port\":true}}",
          "spec.port: Invalid value: \"boolean\": spec.port in body must be of type string: \"boolean\"");
    check("{\"spec\":{\"name\":\"abc\",\"labels\":{\"a\":1}}}",
          "spec.labels.a: Invalid value: \"integer\": spec.labels.a in body must be of type string: \"integer\"");
    check("{\"spec\":{\"name\":\"abc\",\"memory\":\"lots\"}}",
          "spec.memory: Invalid value: \"lots\": quantities must match the regular expression "
          "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
    check("{\"spec\":{\"name\":\"ab\\u0000c\"}}",
          "spec.name: Invalid value: \"\\u0000\": must not contain NUL characters");
}

static void test_validate_lists(void **state)
{
    check("{\"spec\":{\"name\":\"abc\",\"disks\":[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"a\"}],\"tags\":[\"x\","
          "\"x\"]}}",
          "spec.disks[2]: Duplicate value: {\"name\":\"a\"}\nspec.tags[1]: Duplicate value: \"x\"");
    check("{\"spec\":{\"name\":\"abc\",\"disks\":[]}}",
          "spec.disks: Invalid value: 0: spec.disks in body should have at least 1 items");
    check("{\"spec\":{\"name\":\"abc\",\"disks\":[{},{},{},{}]}}",
          "spec.disks: Too many: 4: must have at most 3 items");
    check("{\"spec\":{\"name\":\"abc\",\"disks\":[{\"name\":1}]}}",
          "spec.disks[0].name: Invalid value: \"integer\": spec.disks[0].name in body must be of type string: "
          "\"integer\"");
}

static void test_unsupported_fields_are_refused(void **state)
{
    check("{\"spec\":{\"name\":\"abc\",\"later\":true,\"never\":{\"deep\":1}}}",
          "spec.later: Forbidden: not supported yet: it comes with disks\nspec.never: Forbidden: not supported");
    check("{\"spec\":{\"name\":\"abc\",\"later\":false}}", "");
}

static void test_causes_are_limited(void **state)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_doc_ yyjson_doc *doc = NULL;
    _cleanup_str_ struct str json = {0};

    str_puts(&json, "{\"spec\":{\"name\":\"abc\",\"tags\":[1");
    for (int i = 0; i < 5000; i++)
        str_printf(&json, ",%d", i + 2);
    str_puts(&json, "]}}");
    assert_int_equal(json_parse(json.data, json.len, &doc, NULL), 0);
    schema_validate(t.schema, yyjson_doc_get_root(doc), "", &err);
    assert_int_equal(err.n_causes, 100);
}

static void test_fields_override_their_type(void **state)
{
    const struct property *spec = schema_property(t.schema, "spec"), *cache = schema_property(spec->schema, "cache");
    const struct property *disks = schema_property(spec->schema, "disks");

    assert_string_equal(cache->description, "own words");
    assert_int_equal(cache->protobuf, 9);
    assert_ptr_equal(cache->schema, disks->schema->items);
    assert_string_equal(cache->schema->ref, "disk");
    assert_null(schema_property(spec->schema, "nothing"));
}

static void test_bad_schemas(void **state)
{
    static const char *const bad[][2] = {
        {"{\"type\":\"text\"}", "schema: unknown type"},
        {"{\"properties\":{\"a\":{\"$ref\":\"none\"}}}", "schema.a: $ref to a type that does not exist"},
        {"{\"properties\":{\"a\":{\"type\":\"string\",\"pattern\":\"(\"}}}",
         "schema.a: the pattern is no regular expression that POSIX can express"},
        {"{\"type\":\"array\",\"items\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"bag\"}}",
         "schema.items: unknown x-kubernetes-list-type"},
        {"{\"properties\":{\"a\":1}}", "schema.a: not an object"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
        yyjson_doc *doc = yyjson_read(bad[i][0], strlen(bad[i][0]), 0);
        struct schema *s;
        assert_true(schema_compile(t.set, yyjson_doc_get_root(doc), &s, &err) < 0);
        assert_string_equal(gw_error_message(&err), bad[i][1]);
        yyjson_doc_free(doc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prune),
        cmocka_unit_test(test_prune_finds_duplicates_in_large_maps),
        cmocka_unit_test(test_default),
        cmocka_unit_test(test_validate_speaks_as_kubernetes),
        cmocka_unit_test(test_validate_lists),
        cmocka_unit_test(test_unsupported_fields_are_refused),
        cmocka_unit_test(test_causes_are_limited),
        cmocka_unit_test(test_fields_override_their_type),
        cmocka_unit_test(test_bad_schemas),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
