#include "rest-fixture.h"

#include <string.h>

#include "apiserver/route.h"
#include "base/alloc.h"
#include "base/str.h"

#define TABLE "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
#define FAILURE "\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\""

/* "verb group/version namespace resource/name/subresource" */
static char *route(const char *method, const char *target)
{
    _cleanup_uri_ struct http_uri uri = {0};
    struct rest_target t;

    assert_int_equal(http_uri_parse(target, &uri, NULL), 0);
    if (route_target(method, &uri, &t, NULL) < 0)
        return xstrdup("none");
    return xasprintf("%s %s/%s %s %s/%s/%s", t.verb, t.group, t.version, t.namespace ? t.namespace : "-", t.resource,
                     t.name ? t.name : "-", t.subresource ? t.subresource : "-");
}

static void test_routes(void **state)
{
    static const struct {
        const char *method, *target, *expected;
    } rows[] = {
        {"GET", "/api/v1/nodes", "list /v1 - nodes/-/-"},
        {"GET", "/api/v1/nodes/n/", "get /v1 - nodes/n/-"},
        {"GET", "/api/v1/nodes?watch=True", "watch /v1 - nodes/-/-"},
        {"GET", "/api/v1/nodes?watch=0", "list /v1 - nodes/-/-"},
        {"GET", "/api/v1/namespaces", "list /v1 - namespaces/-/-"},
        {"PUT", "/api/v1/namespaces/a", "update /v1 - namespaces/a/-"},
        {"PUT", "/api/v1/namespaces/a/finalize", "update /v1 - namespaces/a/finalize"},
        {"GET", "/api/v1/namespaces/a/pods", "list /v1 a pods/-/-"},
        {"PATCH", "/api/v1/namespaces/a/pods/p/status", "patch /v1 a pods/p/status"},
        {"POST", "/api/v1/namespaces/a/pods/p/binding", "create /v1 a pods/p/binding"},
        {"GET", "/apis/kubevirt.io/v1/virtualmachines", "list kubevirt.io/v1 - virtualmachines/-/-"},
        {"DELETE", "/apis/kubevirt.io/v1/namespaces/a/virtualmachines",
         "deletecollection kubevirt.io/v1 a virtualmachines/-/-"},
        {"DELETE", "/apis/kubevirt.io/v1/namespaces/a/virtualmachines/b",
         "delete kubevirt.io/v1 a virtualmachines/b/-"},
        {"POST", "/apis/kubevirt.io/v1/namespaces/a/virtualmachines/b", "none"},
        {"PUT", "/apis/kubevirt.io/v1/namespaces/a/virtualmachines", "update kubevirt.io/v1 a virtualmachines/-/-"},
        {"BREW", "/api/v1/nodes", "none"},
        {"GET", "/api/v1", "none"},
        {"GET", "/apis/kubevirt.io", "none"},
        {"GET", "/version", "none"},
        {"GET", "/api/v1/namespaces/a/pods/p/log/more", "get /v1 a pods/p/log/more"},
        {"PUT", "/apis/s/v1/namespaces/a%2Fb/vms/b/evacuate/cancel/", "update s/v1 a/b vms/b/evacuate/cancel"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_free_ char *got = route(rows[i].method, rows[i].target);

        assert_string_equal(got, rows[i].expected);
    }
}

static void test_get(void **state)
{
    struct fixture *f = *state;

    make_vm(f, "vm-a");
    _cleanup_reply_ struct reply r = ask(f, "GET", VMS "/vm-a"), absent = ask(f, "GET", VMS "/nope");

    assert_int_equal(r.status, 200);
    assert_true(str_starts(
        r.text,
        "{\"kind\":\"TestMachine\",\"apiVersion\":\"kubevirt.io/v1\",\"metadata\":{\"resourceVersion\":\"3\","));
    assert_recorded(
        &absent,
        "{" FAILURE ",\"message\":\"virtualmachines.kubevirt.io \\\"nope\\\" not found\",\"reason\":\"NotFound\","
        "\"details\":{\"name\":\"nope\",\"group\":\"kubevirt.io\",\"kind\":\"virtualmachines\"},\"code\":404}");
    expect(f, 200, "GET", VMS "/vm-a?resourceVersion=2");
    expect(f, 504, "GET", VMS "/vm-a?resourceVersion=99");
    expect(f, 400, "GET", VMS "/vm-a?resourceVersion=x");
    expect(f, 400, "GET", VMS "/vm-a?timeout=5");
    expect(f, 200, "GET", VMS "/vm-a?timeout=5s");
}

static void test_other_versions_of_a_kind(void **state)
{
    struct fixture *f = *state;

    make_vm(f, "a");
    _cleanup_reply_ struct reply r = ask(f, "GET", "/apis/kubevirt.io/v1alpha3/namespaces/demo/virtualmachines/a");

    assert_string_equal(reply_str(&r, "/apiVersion"), "kubevirt.io/v1alpha3");
    assert_string_equal(reply_header(&r, "Warning", 0), "299 - \"use v1\"");
}

static void test_what_is_not_served(void **state)
{
    struct fixture *f = *state;
    _cleanup_reply_ struct reply r = ask(f, "GET", "/apis/nope.io/v1/things");

    assert_int_equal(r.status, 404);
    assert_string_equal(r.text, "404 page not found\n");
    assert_string_equal(r.response.content_type, "text/plain; charset=utf-8");
    expect(f, 404, "GET", "/apis/kubevirt.io/v2/virtualmachines");
    expect(f, 404, "GET", "/api/v1/namespaces/demo/namespaces");
    expect(f, 404, "GET", "/apis/kubevirt.io/v1/virtualmachines/a");
    expect(f, 404, "GET", VMS "/a/scale");
    expect(f, 405, "DELETE", VMS "/a/status");
}

static void test_authorization_comes_first(void **state)
{
    struct fixture *f = *state;

    f->refused_verb = "list";
    _cleanup_reply_ struct reply r = ask(f, "GET", VMS);

    assert_recorded(&r,
                    "{" FAILURE
                    ",\"message\":\"virtualmachines.kubevirt.io is forbidden: User \\\"viewer\\\" cannot list resource "
                    "\\\"virtualmachines\\\" in API group \\\"kubevirt.io\\\" in the namespace "
                    "\\\"demo\\\"\",\"reason\":\"Forbidden\","
                    "\"details\":{\"group\":\"kubevirt.io\",\"kind\":\"virtualmachines\"},\"code\":403}");
}

/* Names of a list's items in order, with '+' for a continue token. */
static char *names(const struct reply *r)
{
    yyjson_val *items = json_at(yyjson_doc_get_root(r->doc), "/items"), *item;
    struct str text = {0};

    json_each(items, item)
        str_printf(&text, "%s ", json_str_or(item, "/metadata/name", "?"));
    if (*reply_str(r, "/metadata/continue"))
        str_putc(&text, '+');
    return str_take(&text);
}

#define assert_names(f, target, expected) \
    do { \
        _cleanup_reply_ struct reply _r = ask(f, "GET", target); \
        _cleanup_free_ char *_names = names(&_r); \
        assert_int_equal(_r.status, 200); \
        assert_string_equal(_names, expected); \
    } while (0)

static void make_several(struct fixture *f)
{
    static const char *const labels[] = {"{\"app\":\"x\"}", "{\"app\":\"y\"}", "{\"app\":\"x\"}", "{}"};
    static const char *const vms[] = {"a", "b", "c", "d"};

    for (size_t i = 0; i < ARRAY_SIZE(vms); i++) {
        _cleanup_free_ char *body = vm_json(vms[i], labels[i], i % 2 ? "Manual" : "Halted");

        expect(f, 201, "POST", VMS, body);
    }
    expect(f, 201, "POST", "/api/v1/namespaces", "{\"metadata\":{\"name\":\"other\"}}");
    expect(f, 201, "POST", "/apis/kubevirt.io/v1/namespaces/other/virtualmachines", "{\"metadata\":{\"name\":\"a\"}}");
}

static void test_lists_and_selectors(void **state)
{
    struct fixture *f = *state;

    make_several(f);
    assert_names(f, VMS, "a b c d ");
    assert_names(f, "/apis/kubevirt.io/v1/virtualmachines", "a b c d a ");
    assert_names(f, VMS "?labelSelector=app%3Dx", "a c ");
    assert_names(f, VMS "?labelSelector=app", "a b c ");
    assert_names(f, VMS "?fieldSelector=metadata.name%3Db", "b ");
    assert_names(f, VMS "?fieldSelector=metadata.name%3Dnone", "");
    assert_names(f, VMS "?fieldSelector=spec.runStrategy%3DManual", "b d ");
    assert_names(f, VMS "?fieldSelector=spec.runStrategy%3DManual&labelSelector=app%3Dy", "b ");
    assert_names(f, "/apis/kubevirt.io/v1/virtualmachines?fieldSelector=metadata.name%3Da", "a a ");
    assert_names(f, "/apis/kubevirt.io/v1/virtualmachines?fieldSelector=metadata.namespace%3Dother", "a ");
    expect(f, 400, "GET", VMS "?labelSelector=%3D%3D");
    expect(f, 400, "GET", VMS "?fieldSelector=spec.cores%3D1");

    _cleanup_reply_ struct reply r = ask(f, "GET", VMS);

    assert_string_equal(reply_str(&r, "/kind"), "TestMachineList");
    assert_string_equal(reply_str(&r, "/metadata/resourceVersion"), "8");
    assert_string_equal(reply_str(&r, "/items/2/metadata/resourceVersion"), "5");
}

static void test_pages_are_of_one_revision(void **state)
{
    struct fixture *f = *state;

    make_several(f);
    _cleanup_reply_ struct reply first = ask(f, "GET", VMS "?limit=2");
    _cleanup_free_ char *next = xasprintf(VMS "?limit=2&continue=%s", reply_str(&first, "/metadata/continue"));

    assert_int_equal(reply_int(&first, "/metadata/remainingItemCount"), 2);
    expect(f, 200, "DELETE", VMS "/c");
    make_vm(f, "cc");
    assert_names(f, next, "c d ");
    assert_int_equal(store_compact(f->server.store, store_revision(f->server.store, NULL), NULL), 0);
    expect(f, 410, "GET", next);
    expect(f, 400, "GET", VMS "?continue=bogus");
    expect(f, 400, "GET", VMS "?continue=1.5.demo/a&resourceVersion=3");
}

static void test_pages_of_a_selection(void **state)
{
    struct fixture *f = *state;

    make_several(f);
    _cleanup_reply_ struct reply first = ask(f, "GET", VMS "?limit=1&labelSelector=app%3Dx");
    _cleanup_free_ char *next =
        xasprintf(VMS "?limit=1&labelSelector=app%%3Dx&continue=%s", reply_str(&first, "/metadata/continue"));
    _cleanup_free_ char *got = names(&first);

    assert_string_equal(got, "a +");
    assert_int_equal(reply_int(&first, "/metadata/remainingItemCount"), -1);
    assert_names(f, next, "c +"); /* whether d is selected is not looked at */
}

static void test_list_at_a_revision(void **state)
{
    struct fixture *f = *state;

    make_several(f);
    assert_names(f, VMS "?resourceVersion=4&resourceVersionMatch=Exact", "a b ");
    assert_names(f, VMS "?resourceVersion=4&resourceVersionMatch=NotOlderThan", "a b c d ");
    assert_names(f, VMS "?resourceVersion=4", "a b c d ");
    assert_names(f, VMS "?resourceVersion=0", "a b c d ");
    expect(f, 400, "GET", VMS "?resourceVersionMatch=Exact");
    expect(f, 400, "GET", VMS "?resourceVersion=0&resourceVersionMatch=Exact");
    assert_int_equal(store_compact(f->server.store, 6, NULL), 0);
    _cleanup_reply_ struct reply old = ask(f, "GET", VMS "?resourceVersion=4&resourceVersionMatch=Exact");

    assert_recorded(
        &old,
        "{" FAILURE
        ",\"message\":\"The resourceVersion for the provided list is too old.\",\"reason\":\"Expired\",\"code\":410}");

    _cleanup_reply_ struct reply future = ask(f, "GET", VMS "?resourceVersion=99999999");

    assert_recorded(
        &future,
        "{" FAILURE ",\"message\":\"Timeout: Too large resource version: 99999999, current: 8\",\"reason\":\"Timeout\","
        "\"details\":{\"causes\":[{\"reason\":\"ResourceVersionTooLarge\",\"message\":\"Too large resource version\"}],"
        "\"retryAfterSeconds\":1},\"code\":504}");
    assert_string_equal(reply_header(&future, "Retry-After", 0), "1");
}

static void test_long_lists_cross_pages_of_the_store(void **state)
{
    struct fixture *f = *state;
    char name[16];

    for (int i = 0; i < 1203; i++) {
        snprintf(name, sizeof(name), "vm-%04d", i);
        make_vm(f, name);
    }
    _cleanup_reply_ struct reply r = ask(f, "GET", VMS);

    assert_int_equal(yyjson_arr_size(json_at(yyjson_doc_get_root(r.doc), "/items")), 1203);
    assert_string_equal(reply_str(&r, "/items/1202/metadata/name"), "vm-1202");
    _cleanup_reply_ struct reply limited = ask(f, "GET", VMS "?limit=700");

    assert_int_equal(reply_int(&limited, "/metadata/remainingItemCount"), 503);
}

static void test_tables(void **state)
{
    struct fixture *f = *state;

    make_vm(f, "vm-a");
    f->now += 246000;
    _cleanup_reply_ struct reply r = ask(f, "GET", VMS "?limit=500", NULL, NULL, TABLE);

    assert_string_equal(r.response.content_type, "application/json");
    assert_string_equal(reply_str(&r, "/kind"), "Table");
    assert_string_equal(reply_str(&r, "/apiVersion"), "meta.k8s.io/v1");
    assert_string_equal(reply_str(&r, "/metadata/resourceVersion"), "3");
    assert_string_equal(reply_str(&r, "/columnDefinitions/0/name"), "Name");
    assert_string_equal(reply_str(&r, "/rows/0/cells/0"), "vm-a");
    assert_string_equal(reply_str(&r, "/rows/0/cells/1"), "4m6s");
    assert_true(yyjson_is_null(json_at(yyjson_doc_get_root(r.doc), "/rows/0/cells/2")));
    assert_string_equal(reply_str(&r, "/rows/0/object/kind"), "PartialObjectMetadata");
    assert_string_equal(reply_str(&r, "/rows/0/object/metadata/resourceVersion"), "3");

    _cleanup_reply_ struct reply one = ask(f, "GET", VMS "/vm-a?includeObject=None", NULL, NULL, TABLE);

    assert_string_equal(reply_str(&one, "/kind"), "Table");
    assert_true(yyjson_is_null(json_at(yyjson_doc_get_root(one.doc), "/rows/0/object")));

    _cleanup_reply_ struct reply whole = ask(f, "GET", VMS "?includeObject=Object", NULL, NULL, TABLE);

    assert_string_equal(reply_str(&whole, "/rows/0/object/spec/runStrategy"), "Halted");
}

static void test_metadata_alone(void **state)
{
    struct fixture *f = *state;

    make_vm(f, "vm-a");
    _cleanup_reply_ struct reply r =
        ask(f, "GET", VMS, NULL, NULL, "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");

    assert_string_equal(reply_str(&r, "/kind"), "PartialObjectMetadataList");
    assert_string_equal(reply_str(&r, "/items/0/kind"), "PartialObjectMetadata");
    assert_string_equal(reply_str(&r, "/items/0/metadata/name"), "vm-a");
    assert_null(strstr(r.text, "\"spec\""));
}

static void test_what_can_be_accepted(void **state)
{
    static const struct {
        const char *accept;
        int status;
    } rows[] = {
        {NULL, 200},
        {"*/*", 200},
        {"application/json, */*", 200},
        {"application/vnd.kubernetes.protobuf,application/json", 200},
        {"application/yaml", 200},
        {"text/html, application/yaml;as=Table;v=v1;g=meta.k8s.io", 200},
        {"application/vnd.kubernetes.protobuf", 406},
        {"text/html", 406},
        {"application/json;as=Chair;v=v1;g=meta.k8s.io", 406},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        expect(f, rows[i].status, "GET", VMS, NULL, NULL, rows[i].accept);
    expect(f, 406, "GET", VMS "?watch=1", NULL, NULL, "application/yaml"); /* has no streams */
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routes),
        TEST(test_get),
        TEST(test_other_versions_of_a_kind),
        TEST(test_what_is_not_served),
        TEST(test_authorization_comes_first),
        TEST(test_lists_and_selectors),
        TEST(test_pages_are_of_one_revision),
        TEST(test_pages_of_a_selection),
        TEST(test_list_at_a_revision),
        TEST(test_long_lists_cross_pages_of_the_store),
        TEST(test_tables),
        TEST(test_metadata_alone),
        TEST(test_what_can_be_accepted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
