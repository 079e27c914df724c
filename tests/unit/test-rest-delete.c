#include "rest-fixture.h"

#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

#define MERGE "application/merge-patch+json"
#define HELD "{\"metadata\":{\"finalizers\":[\"example.com/hold\"]}}"

static void test_at_once_without_finalizers(void **state)
{
    struct fixture *f = *state;

    make_vm(f, "vm-a");
    _cleanup_reply_ struct reply was = ask(f, "GET", VMS "/vm-a"),
                                 r = ask(f, "DELETE", VMS "/vm-a", "{\"propagationPolicy\":\"Background\"}");
    _cleanup_free_ char *expected = xasprintf("{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":"
                                              "\"Success\",\"details\":{\"name\":\"vm-a\",\"group\":\"kubevirt.io\","
                                              "\"kind\":\"virtualmachines\",\"uid\":\"%s\"}}",
                                              reply_str(&was, "/metadata/uid"));

    assert_recorded(&r, expected);
    expect(f, 404, "GET", VMS "/vm-a");
    expect(f, 404, "DELETE", VMS "/vm-a");
}

static void test_finalizers_hold_it(void **state)
{
    struct fixture *f = *state;

    make_vm(f, "a");
    expect(f, 200, "PATCH", VMS "/a", HELD, MERGE);
    _cleanup_reply_ struct reply r = ask(f, "DELETE", VMS "/a");

    assert_int_equal(r.status, 200);
    assert_string_equal(reply_str(&r, "/kind"), "TestMachine");
    assert_string_equal(reply_str(&r, "/metadata/deletionTimestamp"), "2026-11-20T23:59:52Z");
    assert_int_equal(reply_int(&r, "/metadata/deletionGracePeriodSeconds"), 0);
    assert_int_equal(reply_int(&r, "/metadata/generation"), 2);

    int64_t revision = store_revision(f->server.store, NULL);

    f->now += 5000;
    expect(f, 200, "DELETE", VMS "/a"); /* again: nothing is new */
    assert_int_equal(store_revision(f->server.store, NULL), revision);
    expect(f, 422, "PATCH", VMS "/a", "{\"metadata\":{\"finalizers\":[\"example.com/hold\",\"example.com/more\"]}}",
           MERGE);
    expect(f, 200, "PATCH", VMS "/a", "{\"metadata\":{\"deletionTimestamp\":null}}", MERGE);
    expect(f, 200, "GET", VMS "/a");
    expect(f, 200, "PATCH", VMS "/a", "{\"metadata\":{\"finalizers\":null}}", MERGE);
    expect(f, 404, "GET", VMS "/a");
}

static void test_status_updates_do_not_release_it(void **state)
{
    struct fixture *f = *state;

    make_vm(f, "a");
    expect(f, 200, "PATCH", VMS "/a", HELD, MERGE);
    expect(f, 200, "DELETE", VMS "/a");
    expect(f, 200, "PATCH", VMS "/a/status", "{\"metadata\":{\"finalizers\":null},\"status\":{\"ready\":true}}", MERGE);
    expect(f, 200, "GET", VMS "/a");
}

static void test_propagation_is_a_finalizer(void **state)
{
    struct fixture *f = *state;

    make_vm(f, "a");
    make_vm(f, "b");
    _cleanup_reply_ struct reply fore = ask(f, "DELETE", VMS "/a?propagationPolicy=Foreground");
    _cleanup_reply_ struct reply orphan = ask(f, "DELETE", VMS "/b", "{\"orphanDependents\":true}");

    assert_string_equal(reply_str(&fore, "/metadata/finalizers/0"), "foregroundDeletion");
    assert_string_equal(reply_str(&orphan, "/metadata/finalizers/0"), "orphan");
    expect(f, 200, "DELETE", VMS "/a?propagationPolicy=Background"); /* changed one's mind */
    expect(f, 404, "GET", VMS "/a");
    expect(f, 400, "DELETE", VMS "/b?propagationPolicy=Sideways");
}

/* Above all the object itself is no options: whoever sends it to be deleted meant another method. */
static void test_bodies_that_are_no_options(void **state)
{
    static const struct {
        const char *body;
        int status;
    } rows[] = {
        {"[]", 400},
        {"{\"kind\":\"TestMachine\",\"metadata\":{\"name\":\"a\"}}", 400},
        {"{\"gracePeriodSeconds\":\"soon\"}", 422},
        {"{\"propagationPolicy\":\"Orphan\",\"orphanDependents\":true}", 422},
        {"{\"kind\":\"DeleteOptions\",\"apiVersion\":\"kubevirt.io/v1\"}", 200},
    };
    struct fixture *f = *state;

    make_vm(f, "a");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        expect(f, rows[i].status, "DELETE", VMS "/a", rows[i].body);
}

static void test_preconditions(void **state)
{
    struct fixture *f = *state;

    make_vm(f, "a");
    _cleanup_reply_ struct reply was = ask(f, "GET", VMS "/a");
    _cleanup_free_ char *right =
        xasprintf("{\"preconditions\":{\"uid\":\"%s\",\"resourceVersion\":\"%s\"}}", reply_str(&was, "/metadata/uid"),
                  reply_str(&was, "/metadata/resourceVersion"));

    expect(f, 409, "DELETE", VMS "/a", "{\"preconditions\":{\"uid\":\"other\"}}");
    expect(f, 409, "DELETE", VMS "/a", "{\"preconditions\":{\"resourceVersion\":\"1\"}}");
    expect(f, 200, "DELETE", VMS "/a", right);
}

static void test_pods_get_their_grace_period(void **state)
{
    struct fixture *f = *state;

    expect(f, 201, "POST", PODS, POD("bound", "{\"nodeName\":\"n1\",\"terminationGracePeriodSeconds\":45}"));
    expect(f, 201, "POST", PODS, POD("waiting", "{}"));
    expect(f, 200, "DELETE", PODS "/waiting");
    expect(f, 404, "GET", PODS "/waiting");

    _cleanup_reply_ struct reply r = ask(f, "DELETE", PODS "/bound");

    assert_string_equal(reply_str(&r, "/metadata/deletionTimestamp"), "2026-11-21T00:00:37Z");
    assert_int_equal(reply_int(&r, "/metadata/deletionGracePeriodSeconds"), 45);
    expect(f, 200, "PATCH", PODS "/bound", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", MERGE);

    _cleanup_reply_ struct reply longer = ask(f, "DELETE", PODS "/bound?gracePeriodSeconds=90");
    _cleanup_reply_ struct reply shorter = ask(f, "DELETE", PODS "/bound?gracePeriodSeconds=10");

    assert_int_equal(reply_int(&longer, "/metadata/deletionGracePeriodSeconds"), 45);
    assert_int_equal(reply_int(&shorter, "/metadata/deletionGracePeriodSeconds"), 10);
    expect(f, 200, "DELETE", PODS "/bound", "{\"gracePeriodSeconds\":0}");
    expect(f, 404, "GET", PODS "/bound");
}

static void test_namespaces_wait_for_finalize(void **state)
{
    struct fixture *f = *state;
    _cleanup_reply_ struct reply r = ask(f, "DELETE", "/api/v1/namespaces/demo");

    assert_string_equal(reply_str(&r, "/status/phase"), "Terminating");
    expect(f, 200, "PATCH", "/api/v1/namespaces/demo", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", MERGE);
    expect(f, 200, "GET", "/api/v1/namespaces/demo");
    expect(f, 405, "GET", "/api/v1/namespaces/demo/finalize");
    expect(f, 200, "PUT", "/api/v1/namespaces/demo/finalize",
           "{\"metadata\":{\"name\":\"demo\"},\"spec\":{\"finalizers\":[]}}");
    expect(f, 404, "GET", "/api/v1/namespaces/demo");
}

/* Whatever a controller believes. */
static void test_a_namespace_goes_after_what_it_holds(void **state)
{
    static const char empty[] = "{\"metadata\":{\"name\":\"demo\"},\"spec\":{\"finalizers\":[]}}";
    struct fixture *f = *state;

    make_vm(f, "a");
    expect(f, 200, "DELETE", "/api/v1/namespaces/demo");
    _cleanup_reply_ struct reply r = ask(f, "PUT", "/api/v1/namespaces/demo/finalize", empty);
    assert_int_equal(r.status, 409);
    assert_non_null(strstr(reply_str(&r, "/message"), "still holds virtualmachines.kubevirt.io \"a\""));
    expect(f, 200, "DELETE", VMS "/a");
    expect(f, 200, "PUT", "/api/v1/namespaces/demo/finalize", empty);
    expect(f, 404, "GET", "/api/v1/namespaces/demo");
}

static void test_collections(void **state)
{
    struct fixture *f = *state;

    make_vm(f, "a");
    make_vm(f, "b");
    expect(f, 201, "POST", VMS, "{\"metadata\":{\"name\":\"c\",\"labels\":{\"app\":\"other\"}}}");
    _cleanup_reply_ struct reply r = ask(f, "DELETE", VMS "?labelSelector=app%3Ddemo");

    assert_int_equal(r.status, 200);
    assert_string_equal(reply_str(&r, "/kind"), "TestMachineList");
    assert_int_equal(yyjson_arr_size(json_at(yyjson_doc_get_root(r.doc), "/items")), 2);
    expect(f, 404, "GET", VMS "/a");
    expect(f, 404, "GET", VMS "/b");
    expect(f, 200, "GET", VMS "/c");
    expect(f, 200, "DELETE", VMS "?dryRun=All");
    expect(f, 200, "GET", VMS "/c");
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_at_once_without_finalizers),
        TEST(test_finalizers_hold_it),
        TEST(test_status_updates_do_not_release_it),
        TEST(test_propagation_is_a_finalizer),
        TEST(test_bodies_that_are_no_options),
        TEST(test_preconditions),
        TEST(test_pods_get_their_grace_period),
        TEST(test_namespaces_wait_for_finalize),
        TEST(test_a_namespace_goes_after_what_it_holds),
        TEST(test_collections),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
