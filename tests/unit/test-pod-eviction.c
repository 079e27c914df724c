/* pods/eviction over the real API: each eviction strategy, marks, dry runs, and pods that nobody would miss. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/meta.h"
#include "server-fixture.h"

#define POD_LIST "/api/v1/namespaces/default/pods"
#define TRIGGERED \
    "admission webhook \\\"virt-launcher-eviction-interceptor.kubevirt.io\\\" denied the request: Eviction triggered " \
    "evacuation of VMI \\\"default/vm2\\\""

static const char eviction[] = "{\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\",\"metadata\":{\"name\":\"p2\"}}";

/* The VMI vm2 on node-a with its pod p2; able: "True", "False", or NULL for a condition that is absent. */
static void add_vmi(struct fixture *f, const char *strategy, const char *able)
{
    _cleanup_free_ char *text = NULL, *pod = NULL, *status = NULL;
    _cleanup_free_ char *vmi = xasprintf(
        "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"VirtualMachineInstance\",\"metadata\":{\"name\":\"vm2\"},\"spec\":"
        "{\"evictionStrategy\":\"%s\",\"domain\":{\"memory\":{\"guest\":\"64Mi\"},\"devices\":{}}}}", strategy);
    _cleanup_doc_ yyjson_doc *doc = NULL;

    assert_int_equal(fixture_call(f, "c", "system:godwit:controllers", "POST", FIXTURE_VMIS, vmi, &text), 201);
    assert_int_equal(json_parse(text, strlen(text), &doc, NULL), 0);
    status = xasprintf("{\"status\":{\"phase\":\"Running\",\"nodeName\":\"node-a\",\"conditions\":[%s%s%s]}}",
                       able ? "{\"type\":\"LiveMigratable\",\"reason\":\"R\",\"message\":\"why not\",\"status\":\"" : "",
                       able ? able : "", able ? "\"}" : "");
    assert_int_equal(fixture_admin(f, "PATCH", FIXTURE_VMIS "/vm2", status), 200);
    pod = xasprintf("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p2\",\"labels\":{\"kubevirt.io\":\"virt-launcher\"},"
                    "\"annotations\":{\"kubevirt.io/domain\":\"vm2\"},\"ownerReferences\":[{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":"
                    "\"VirtualMachineInstance\",\"name\":\"vm2\",\"uid\":\"%s\",\"controller\":true}]},\"spec\":{\"nodeName\":\"node-a\","
                    "\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}", meta_uid(yyjson_doc_get_root(doc)));
    assert_int_equal(fixture_admin(f, "POST", POD_LIST, pod), 201);
}

/* The status, and text in *ret (freed by the caller). */
static int evict(struct fixture *f, const char *query, const char *body, char **ret)
{
    _cleanup_free_ char *target = xasprintf(POD_LIST "/p2/eviction%s", query);

    return fixture_call(f, "admin", "system:masters", "POST", target, body, ret);
}

static void expect_denied(struct fixture *f, const char *query, const char *part)
{
    _cleanup_free_ char *text = NULL;

    assert_int_equal(evict(f, query, eviction, &text), 429);
    if (!strstr(text, part))
        fail_msg("%s", text);
    assert_non_null(strstr(text, "\"reason\":\"TooManyRequests\""));
}

static bool has(struct fixture *f, const char *target, const char *part)
{
    _cleanup_free_ char *text = NULL;

    return fixture_call(f, "a", "system:masters", "GET", target, NULL, &text) == 200 && strstr(text, part);
}

#define MARK "\"evacuationNodeName\":\"node-a\""

static void migratable_ones_are_marked(void **state)
{
    static const char *const strategies[] = {"LiveMigrate", "LiveMigrateIfPossible", "External"};

    for (size_t i = 0; i < ARRAY_SIZE(strategies); i++) {
        struct fixture *f = fixture_new();
        fixture_populate(f);
        add_vmi(f, strategies[i], "True");
        expect_denied(f, "?dryRun=All", TRIGGERED);
        assert_false(has(f, FIXTURE_VMIS "/vm2", MARK));
        expect_denied(f, "", TRIGGERED);
        assert_true(has(f, FIXTURE_VMIS "/vm2", MARK));
        expect_denied(f, "", "denied the request: Evacuation in progress: Eviction triggered evacuation of VMI \\\"default/vm2\\\"");
        assert_true(has(f, POD_LIST "/p2", "\"name\":\"p2\""));
        fixture_free(f);
    }
}

static void what_cannot_move_is_kept_with_the_reason(void **state)
{
    add_vmi(*state, "LiveMigrate", "False");
    expect_denied(*state, "", "VMI vm2 is configured with an eviction strategy but is not live-migratable (R: why not)");
    assert_false(has(*state, FIXTURE_VMIS "/vm2", MARK));
}

static void what_has_not_begun_to_run_is_kept(void **state)
{
    add_vmi(*state, "LiveMigrate", NULL);
    expect_denied(*state, "", "not live-migratable (it has not begun to run)");
}

static void external_marks_what_cannot_move_too(void **state)
{
    add_vmi(*state, "External", "False");
    expect_denied(*state, "", TRIGGERED);
    assert_true(has(*state, FIXTURE_VMIS "/vm2", MARK));
}

static void others_end(void **state)
{
    static const char *const rows[][2] = {{"None", "True"}, {"LiveMigrateIfPossible", "False"}};

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *text = NULL;
        struct fixture *f = fixture_new();
        fixture_populate(f);
        add_vmi(f, rows[i][0], rows[i][1]);
        assert_int_equal(evict(f, "?dryRun=All", eviction, NULL), 201);
        assert_false(has(f, POD_LIST "/p2", "deletionTimestamp"));
        assert_int_equal(evict(f, "", eviction, &text), 201);
        assert_non_null(strstr(text, "\"status\":\"Success\""));
        assert_true(has(f, POD_LIST "/p2", "deletionTimestamp"));
        assert_false(has(f, FIXTURE_VMIS "/vm2", MARK));
        assert_int_equal(evict(f, "", eviction, NULL), 201); /* again: it is ending */
        fixture_free(f);
    }
}

static void a_pod_that_the_guest_left_goes(void **state)
{
    add_vmi(*state, "LiveMigrate", "True");
    assert_int_equal(fixture_admin(*state, "PATCH", POD_LIST "/p2/status", "{\"status\":{\"phase\":\"Succeeded\"}}"), 200);
    assert_int_equal(evict(*state, "", eviction, NULL), 201);
    assert_int_equal(evict(*state, "", eviction, NULL), 404);
}

static void a_migrations_target_stays(void **state)
{
    add_vmi(*state, "LiveMigrate", "True");
    assert_int_equal(fixture_admin(*state, "PATCH", FIXTURE_VMIS "/vm2", "{\"metadata\":{\"labels\":{\"x\":\"y\"}}}"), 200);
    /* The guest is on node-c as far as the VMI says. */
    _cleanup_free_ char *text = NULL;
    assert_int_equal(fixture_call(*state, "a", "system:masters", "PATCH", FIXTURE_VMIS "/vm2",
                                  "{\"status\":{\"nodeName\":\"node-c\"}}", &text), 200);
    expect_denied(*state, "", "Eviction request for target Pod");
    assert_false(has(*state, FIXTURE_VMIS "/vm2", "evacuationNodeName"));
}

static void a_pod_without_its_vmi_is_kept(void **state)
{
    add_vmi(*state, "LiveMigrate", "True");
    assert_int_equal(fixture_admin(*state, "PATCH", FIXTURE_VMIS "/vm2", "{\"metadata\":{\"finalizers\":null}}"), 200);
    assert_int_equal(fixture_admin(*state, "DELETE", FIXTURE_VMIS "/vm2", NULL), 200);
    expect_denied(*state, "", "kubevirt failed getting the vmi: virtualmachineinstance.kubevirt.io \\\"vm2\\\" not found");
}

static void old_clients_find_the_group_policy(void **state)
{
    add_vmi(*state, "LiveMigrate", "True");
    assert_int_equal(fixture_call(*state, "a", "system:masters", "POST", "/apis/policy/v1/namespaces/default/pods/p2/eviction",
                                  "{\"apiVersion\":\"policy/v1beta1\",\"kind\":\"Eviction\"}", NULL), 429);
    assert_true(has(*state, FIXTURE_VMIS "/vm2", MARK));
}

static void bad_requests(void **state)
{
    static const struct {
        const char *body;
        int status;
    } rows[] = {
        {"{\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\",\"metadata\":{\"name\":\"other\"}}", 400},
        {"{\"apiVersion\":\"v1\",\"kind\":\"Binding\"}", 400},
        {"{\"deleteOptions\":{\"dryRun\":[\"Some\"]}}", 400},
        {"{\"deleteOptions\":{\"preconditions\":{\"uid\":\"another\"}}}", 409},
        {"[", 400},
    };

    add_vmi(*state, "None", "True");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        assert_int_equal(evict(*state, "", rows[i].body, NULL), rows[i].status);
    assert_int_equal(fixture_call(*state, "a", "system:masters", "GET", POD_LIST "/p2/eviction", NULL, NULL), 405);
    assert_int_equal(fixture_call(*state, "x", "dev", "POST", POD_LIST "/p2/eviction", eviction, NULL), 403);
    assert_int_equal(evict(*state, "", "{\"deleteOptions\":{\"dryRun\":[\"All\"]}}", NULL), 201);
    assert_false(has(*state, POD_LIST "/p2", "deletionTimestamp"));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(migratable_ones_are_marked),
        TEST(what_cannot_move_is_kept_with_the_reason),
        TEST(what_has_not_begun_to_run_is_kept),
        TEST(external_marks_what_cannot_move_too),
        cmocka_unit_test(others_end),
        TEST(a_pod_that_the_guest_left_goes),
        TEST(a_migrations_target_stays),
        TEST(a_pod_without_its_vmi_is_kept),
        TEST(old_clients_find_the_group_policy),
        TEST(bad_requests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
