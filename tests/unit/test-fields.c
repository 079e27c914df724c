/* The table of docs/fields.md is true: it is what the kind files say, what they call refused is refused with a cause that
 * names the field, and what they call working is accepted. */
#include "rules-helper.h"

#include "api/fields.h"
#include "base/fs.h"

static const struct kind *kind_of(const char *name)
{
    static const char *const groups[] = {"kubevirt.io", "migrations.kubevirt.io", "hco.kubevirt.io"};
    const struct kind *k = NULL;

    for (size_t i = 0; i < ARRAY_SIZE(groups) && !k; i++)
        k = kinds_find_kind(world.kinds, groups[i], NULL, name);
    assert_non_null(k);
    return k;
}

static void test_document_is_current(void **state)
{
    _cleanup_free_ char *text = NULL;
    _cleanup_str_ struct str now = {0};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    assert_int_equal(fs_read(SOURCE_DIR "/docs/fields.md", 0, &text, NULL, &err), 0);
    fields_write(world.kinds, &now);
    if (!streq(text, str_text(&now)))
        fail_msg("docs/fields.md is out of date: run `build/gcc/src/godwit fields > docs/fields.md`");
}

/* A value that asks for something, by the type of the schema. */
static yyjson_mut_val *some_value(yyjson_mut_doc *d, const struct schema *s)
{
    yyjson_mut_val *v;

    switch (s->type) {
    case SCHEMA_BOOLEAN:
        return yyjson_mut_bool(d, true);
    case SCHEMA_INTEGER:
    case SCHEMA_NUMBER:
    case SCHEMA_INT_OR_STRING:
        return yyjson_mut_int(d, 1);
    case SCHEMA_STRING:
        return yyjson_mut_str(d, "x");
    case SCHEMA_ARRAY:
        v = yyjson_mut_arr(d);
        yyjson_mut_arr_append(v, some_value(d, s->items));
        return v;
    default:
        return yyjson_mut_obj(d);
    }
}

/* Puts value at a path such as "spec.volumes[].hostDisk", making what lies on the way. */
static void put(yyjson_mut_doc *d, const char *path, yyjson_mut_val *value)
{
    _cleanup_free_ char *rest = xstrdup(path);
    yyjson_mut_val *here = d->root;

    for (char *part = rest, *next; part; part = next) {
        next = strchr(part, '.');
        if (next)
            *next++ = '\0';
        size_t lists = 0;
        while (str_ends(part, "[]")) {
            part[strlen(part) - 2] = '\0';
            lists++;
        }
        yyjson_mut_val *v = next ? yyjson_mut_obj(d) : value, *inner = v;
        if (next)
            for (; lists; lists--) {
                yyjson_mut_val *list = yyjson_mut_arr(d);
                yyjson_mut_arr_append(list, v);
                v = list;
            }
        yyjson_mut_obj_add(here, yyjson_mut_strcpy(d, part), v);
        here = inner;
    }
}

static char *indexed(const char *path)
{
    struct str out = {0};

    for (const char *c = path; *c; c++)
        str_puts(&out, c[0] == '[' && c[1] == ']' ? "[0" : (char[]){*c, 0});
    return str_take(&out);
}

struct refusal {
    const struct kind *kind;
    size_t count;
};

static void expect_refusal(void *data, const char *path, const struct property *p)
{
    struct refusal *r = data;
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    _cleanup_doc_ yyjson_doc *object = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_free_ char *field = indexed(path);

    if (p->support == SUPPORT_WORKS)
        return;
    r->count++;
    if (!p->reason || !*p->reason)
        fail_msg("%s %s has no reason", r->kind->kind, path);
    put(d, path, some_value(d, p->schema));
    object = yyjson_mut_doc_imut_copy(d, NULL);
    schema_validate(r->kind->schema, yyjson_doc_get_root(object), "", &err);
    for (size_t i = 0; i < err.n_causes; i++)
        if (streq(err.causes[i].field, field) && strstr(err.causes[i].message, "not supported") &&
            strstr(err.causes[i].message, p->reason))
            return;
    fail_msg("%s %s is not refused", r->kind->kind, path);
}

static void test_unsupported_is_refused(void **state)
{
    static const struct {
        const char *kind;
        size_t least; /* refused fields that there are at least: a walk that misses half would show */
    } kinds[] = {
        {"VirtualMachine", 10}, {"VirtualMachineInstance", 90}, {"VirtualMachineInstanceMigration", 3},
        {"MigrationPolicy", 2}, {"KubeVirt", 60},               {"HyperConverged", 50},
    };

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct refusal r = {.kind = kind_of(kinds[i].kind)};
        fields_each(r.kind, expect_refusal, &r);
        assert_in_range(r.count, kinds[i].least, 500);
    }
}

/* Whether some object has a value at the path; "[]" is any item and ".*" any member. */
static bool present(yyjson_val *v, const char *path)
{
    size_t len = strcspn(path, ".[");
    yyjson_val *key, *item;

    if (!*path || !v)
        return v != NULL;
    if (str_starts(path, "[]")) {
        json_each(v, item)
            if (present(item, path + 2))
                return true;
        return false;
    }
    if (*path == '.')
        return present(v, path + 1);
    if (*path != '*')
        return present(yyjson_obj_getn(v, path, len), path + len);
    json_each_member(v, key, item)
        if (present(item, path + 1))
            return true;
    return false;
}

static void expect_present(void *data, const char *path, const struct property *p)
{
    if (p->support == SUPPORT_WORKS && str_starts(path, "spec") && !present(data, path))
        fail_msg("%s works, but tests/unit/data/vmi-full.yaml does not use it", path);
}

static void test_what_works_is_accepted(void **state)
{
    _cleanup_free_ char *text = NULL, *faults = NULL;
    _cleanup_doc_ yyjson_doc *object = NULL, *stored = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    assert_int_equal(fs_read(SOURCE_DIR "/tests/unit/data/vmi-full.yaml", 0, &text, NULL, &err), 0);
    object = yaml(text);
    fields_each(kind_of("VirtualMachineInstance"), expect_present, yyjson_doc_get_root(object));
    stored = admit(&world, yyjson_doc_get_root(object), NULL, &err);
    faults = causes(&err);
    assert_string_equal(faults, "");
    assert_true(json_equal(json_at(yyjson_doc_get_root(stored), "/spec"), json_at(yyjson_doc_get_root(object), "/spec")));
}

static void test_enum_refusals_say_why(void **state)
{
    _cleanup_doc_ yyjson_doc *object = yaml("{apiVersion: kubevirt.io/v1, kind: KubeVirt, metadata: {name: kubevirt, namespace: "
                                            "kubevirt}, spec: {configuration: {migrations: {allowPostCopy: true}}}}");
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _unused_ _cleanup_doc_ yyjson_doc *stored = admit(&world, yyjson_doc_get_root(object), NULL, &err);

    assert_int_equal(err.n_causes, 1);
    assert_string_equal(err.causes[0].field, "spec.configuration.migrations.allowPostCopy");
    assert_non_null(strstr(err.causes[0].message, "post-copy is not built yet"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_document_is_current),
        cmocka_unit_test(test_unsupported_is_refused),
        cmocka_unit_test(test_what_works_is_accepted),
        cmocka_unit_test(test_enum_refusals_say_why),
    };
    return cmocka_run_group_tests(tests, world_load, world_unload);
}
