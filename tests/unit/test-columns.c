#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "api/columns.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "kinds-fixture.h"

static void test_ages(void **state)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } rows[] = {
        {-5, "<invalid>"},
        {-1, "0s"},
        {0, "0s"},
        {119, "119s"},
        {120, "2m"},
        {121, "2m1s"},
        {248, "4m8s"},
        {599, "9m59s"},
        {600, "10m"},
        {659, "10m"},
        {10799, "179m"},
        {10800, "3h"},
        {11100, "3h5m"},
        {28799, "7h59m"},
        {28800, "8h"},
        {172799, "47h"},
        {172800, "2d"},
        {190800, "2d5h"},
        {691199, "7d23h"},
        {691200, "8d"},
        {63071999, "729d"},
        {63072000, "2y"},
        {63072000 + 86400 * 3, "2y3d"},
        {252288000, "8y"},
        {400000000, "12y"},
    };
    char buf[AGE_TEXT_MAX];

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        assert_string_equal(age_format(rows[i].seconds, buf), rows[i].text);
}

static void check(const char *group, const char *kind, const char *object, const char *expected)
{
    const struct kind *k = kinds_find_kind(kinds, group, NULL, kind);
    _cleanup_doc_ yyjson_doc *doc = yyjson_read(object, strlen(object), 0);
    _cleanup_mut_doc_ yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);

    assert_non_null(k);
    assert_non_null(doc);
    _cleanup_free_ char *text =
        json_text(columns_cells(k, yyjson_doc_get_root(doc), clock_parse("2026-11-21T00:10:00Z"), d));
    assert_string_equal(text, expected);
    assert_int_equal(yyjson_mut_arr_size(columns_definitions(k, d)),
                     yyjson_mut_arr_size(columns_cells(k, yyjson_doc_get_root(doc), 0, d)));
}

static void test_cells_of_kubevirt_kinds(void **state)
{
    check("kubevirt.io", "VirtualMachineInstance",
          "{\"metadata\":{\"name\":\"a\",\"creationTimestamp\":\"2026-11-21T00:05:52Z\"},\"status\":{\"phase\":"
          "\"Running\",\"interfaces\":"
          "[{\"ipAddress\":\"10.1.1.1\"}],\"nodeName\":\"n1\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"},"
          "{\"type\":\"LiveMigratable\",\"status\":\"False\"}]}}",
          "[\"a\",\"4m8s\",\"Running\",\"10.1.1.1\",\"n1\",\"True\",\"False\",null]");
    check("kubevirt.io", "VirtualMachineInstanceMigration",
          "{\"metadata\":{\"name\":\"m\"},\"spec\":{\"vmiName\":\"a\"}}", "[\"m\",null,\"a\"]");
}

static void test_computed_cells(void **state)
{
    check("", "Pod",
          "{\"metadata\":{\"name\":\"p\",\"creationTimestamp\":\"2026-11-21T00:00:00Z\"},\"spec\":{\"containers\":[{},{"
          "}],\"nodeName\":\"n\"},"
          "\"status\":{\"phase\":\"Running\",\"podIP\":\"10.0.0.1\",\"containerStatuses\":[{\"ready\":true,"
          "\"restartCount\":2},{\"ready\":false}]}}",
          "[\"p\",\"1/2\",\"Running\",\"2\",\"10m\",\"10.0.0.1\",\"n\",\"<none>\",\"<none>\"]");
    check("", "Pod",
          "{\"metadata\":{\"name\":\"p\",\"deletionTimestamp\":\"2026-11-21T00:00:00Z\"},\"status\":{\"phase\":"
          "\"Running\"}}",
          "[\"p\",\"0/0\",\"Terminating\",\"0\",null,\"<none>\",\"<none>\",\"<none>\",\"<none>\"]");
    check("", "Node",
          "{\"metadata\":{\"name\":\"n\",\"labels\":{\"node-role.kubernetes.io/"
          "worker\":\"\"}},\"spec\":{\"unschedulable\":true},"
          "\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}",
          "[\"n\",\"Ready,SchedulingDisabled\",\"worker\",null,null,\"<none>\",\"<none>\",\"<unknown>\",\"<unknown>\",\"<unknown>\"]");
    check("", "Event",
          "{\"metadata\":{\"name\":\"e\"},\"lastTimestamp\":\"2026-11-21T00:09:30Z\",\"type\":\"Normal\",\"reason\":"
          "\"R\","
          "\"involvedObject\":{\"kind\":\"VirtualMachine\",\"name\":\"vm\"},\"message\":\"m\",\"count\":3}",
          "[\"30s\",\"Normal\",\"R\",\"virtualmachine/vm\",\"m\",3,\"e\"]");
    check("certificates.k8s.io", "CertificateSigningRequest",
          "{\"metadata\":{\"name\":\"c\"},\"status\":{\"conditions\":[{\"type\":\"Approved\"}],\"certificate\":\"eA==\"}}",
          "[\"c\",null,null,null,\"<none>\",\"Approved,Issued\"]");
    check("certificates.k8s.io", "CertificateSigningRequest",
          "{\"metadata\":{\"name\":\"c\"},\"status\":{\"conditions\":[{\"type\":\"Denied\"}]}}",
          "[\"c\",null,null,null,\"<none>\",\"Denied\"]");
    check("", "ServiceAccount", "{\"metadata\":{\"name\":\"a\"},\"secrets\":[{\"name\":\"s\"}]}", "[\"a\",\"1\",null]");
    check("", "ConfigMap",
          "{\"metadata\":{\"name\":\"c\"},\"data\":{\"a\":\"\",\"b\":\"\"},\"binaryData\":{\"c\":\"\"}}",
          "[\"c\",\"3\",null]");
    check("", "PersistentVolumeClaim",
          "{\"metadata\":{\"name\":\"c\"},\"spec\":{\"accessModes\":[\"ReadWriteMany\",\"ReadOnlyMany\"]}}",
          "[\"c\",null,null,null,\"RWX,ROX\",null,null,null]");
}

static void test_cell_types(void **state)
{
    static const char yaml[] =
        "{group: x.io, kind: T, plural: ts, singular: t, scope: Cluster, versions: [{name: v1, storage: true}], "
        "columns: ["
        "{name: I, type: integer, path: .i}, {name: B, type: boolean, path: .b}, {name: F, type: number, path: .f}, "
        "{name: D, type: date, path: .d}, "
        "{name: S, type: string, path: .s}, {name: L, type: string, path: '.l[*].n'}], schema: {properties: {}}}";
    _cleanup_(kinds_freep) struct kinds *own = kinds_new_empty();
    struct kinds *saved = kinds;

    assert_int_equal(kinds_add_yaml(own, "t", yaml, strlen(yaml), NULL), 0);
    kinds = own;
    check("x.io", "T",
          "{\"metadata\":{\"name\":\"t\"},\"i\":3,\"b\":true,\"f\":1.5,\"d\":\"soon\",\"s\":{\"k\":1},\"l\":[{\"n\":"
          "\"a\"},{\"n\":2}]}",
          "[\"t\",3,true,1.5,\"<invalid>\",\"{\\\"k\\\":1}\",\"a 2\"]");
    check("x.io", "T", "{\"metadata\":{\"name\":\"t\"},\"i\":\"3\",\"b\":1,\"f\":\"x\",\"d\":5,\"s\":7}",
          "[\"t\",null,null,null,null,\"7\",null]");
    kinds = saved;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ages),
        cmocka_unit_test(test_cells_of_kubevirt_kinds),
        cmocka_unit_test(test_computed_cells),
        cmocka_unit_test(test_cell_types),
    };

    return cmocka_run_group_tests(tests, load, unload);
}
