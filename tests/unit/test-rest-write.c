/* Create, update and patch. What is compared with whole Status texts was recorded from kube-apiserver. */
#include "rest-fixture.h"

#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

#define FAILURE "\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\""
#define DETAILS(name) "\"details\":{\"name\":\"" name "\",\"group\":\"kubevirt.io\",\"kind\":\"virtualmachines\"}"

static void test_create_fills_in_what_is_the_servers(void **state)
{
    struct fixture *f = *state;
    _cleanup_reply_ struct reply r =
        ask(f, "POST", VMS,
            "{\"apiVersion\":\"kubevirt.io/"
            "v1\",\"kind\":\"TestMachine\",\"metadata\":{\"name\":\"a\",\"uid\":\"x\",\"generation\":7,"
            "\"deletionTimestamp\":\"2020-01-01T00:00:00Z\",\"managedFields\":[]},\"spec\":{},\"status\":{\"ready\":"
            "true}}");

    assert_int_equal(r.status, 201);
    assert_string_equal(r.response.content_type, "application/json");
    assert_string_equal(reply_str(&r, "/metadata/creationTimestamp"), "2026-11-20T23:59:52Z");
    assert_int_equal(strlen(reply_str(&r, "/metadata/uid")), 36);
    assert_int_equal(reply_int(&r, "/metadata/generation"), 1);
    assert_string_equal(reply_str(&r, "/metadata/namespace"), "demo");
    assert_string_equal(reply_str(&r, "/metadata/resourceVersion"), "3");
    assert_string_equal(reply_str(&r, "/spec/runStrategy"), "Halted");
    assert_int_equal(reply_int(&r, "/spec/cores"), 1);
    assert_null(strstr(r.text, "deletionTimestamp"));
    assert_null(strstr(r.text, "managedFields"));
    assert_null(strstr(r.text, "\"status\""));
}

static void test_create_conflicts(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *body = vm_json("vm-a", "{}", "Halted");

    make_vm(f, "vm-a");
    _cleanup_reply_ struct reply r = ask(f, "POST", VMS, body);

    assert_recorded(&r, "{" FAILURE ",\"message\":\"virtualmachines.kubevirt.io \\\"vm-a\\\" already "
                                    "exists\",\"reason\":\"AlreadyExists\"," DETAILS("vm-a") ",\"code\":409}");
}

static void test_create_while_the_old_one_terminates(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *body = vm_json("vm-a", "{}", "Halted");

    make_vm(f, "vm-a");
    expect(f, 200, "PATCH", VMS "/vm-a", "{\"metadata\":{\"finalizers\":[\"x/y\"]}}", "application/merge-patch+json");
    expect(f, 200, "DELETE", VMS "/vm-a");
    _cleanup_reply_ struct reply r = ask(f, "POST", VMS, body);

    assert_string_equal(reply_str(&r, "/message"),
                        "object is being deleted: virtualmachines.kubevirt.io \"vm-a\" already exists");
    assert_int_equal(r.status, 409);
}

static void test_create_in_a_namespace_that_is_not_there(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *body = vm_json("a", "{}", "Halted");
    _cleanup_reply_ struct reply r = ask(f, "POST", "/apis/kubevirt.io/v1/namespaces/nons/virtualmachines", body);

    assert_recorded(&r, "{" FAILURE ",\"message\":\"namespaces \\\"nons\\\" not found\",\"reason\":\"NotFound\","
                        "\"details\":{\"name\":\"nons\",\"kind\":\"namespaces\"},\"code\":404}");
}

static void test_create_in_a_terminating_namespace(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *body = vm_json("a", "{}", "Halted");

    expect(f, 200, "DELETE", "/api/v1/namespaces/demo");
    _cleanup_reply_ struct reply r = ask(f, "POST", VMS, body);

    assert_int_equal(r.status, 403);
    assert_string_equal(reply_str(&r, "/message"),
                        "virtualmachines.kubevirt.io \"a\" is forbidden: unable to create new content in "
                        "namespace demo because it is being terminated");
    assert_string_equal(reply_str(&r, "/details/causes/0/reason"), "NamespaceTerminating");
}

static void end_namespace(struct fixture *f)
{
    expect(f, 200, "DELETE", "/api/v1/namespaces/demo");
}

static void label_namespace(struct fixture *f)
{
    expect(f, 200, "PATCH", "/api/v1/namespaces/demo", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}", "application/merge-patch+json");
}

/* Between the first look at the namespace and the write. */
static void test_a_namespace_that_ends_meanwhile(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *body = vm_json("a", "{}", "Halted");

    f->meanwhile = label_namespace;
    expect(f, 201, "POST", VMS, body);
    expect(f, 200, "DELETE", VMS "/a");
    f->meanwhile = end_namespace;
    expect(f, 403, "POST", VMS, body);
    expect(f, 404, "GET", VMS "/a");
}

static void test_bodies_that_do_not_fit(void **state)
{
    struct fixture *f = *state;
    _cleanup_reply_ struct reply r =
        ask(f, "POST", VMS,
            "{\"apiVersion\":\"kubevirt.io/"
            "v1\",\"kind\":\"TestMachine\",\"metadata\":{\"name\":\"a\",\"namespace\":\"other\"}}");

    assert_recorded(&r, "{" FAILURE
                        ",\"message\":\"the namespace of the provided object does not match the namespace sent on the "
                        "request\",\"reason\":\"BadRequest\",\"code\":400}");
    expect(f, 400, "POST", VMS, "{bad");
    expect(f, 400, "POST", VMS, "");
    expect(f, 400, "POST", VMS, "[]");
    expect(f, 400, "POST", VMS, "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\"}}");
    expect(f, 400, "POST", VMS, "{\"apiVersion\":\"v2\",\"metadata\":{\"name\":\"a\"}}");
    expect(f, 400, "POST", VMS, "{\"metadata\":7}");
    expect(f, 400, "POST", VMS, "{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"5\"}}");
    expect(f, 422, "POST", VMS, "{\"metadata\":{}}");
    expect(f, 415, "POST", VMS, "{}", "text/plain");
    expect(f, 201, "POST", VMS, "metadata:\n  name: from-yaml\n", "application/yaml");
    expect(f, 405, "POST", "/apis/kubevirt.io/v1/virtualmachines", "{\"metadata\":{\"name\":\"a\"}}");
}

static void test_invalid_objects_name_their_fields(void **state)
{
    struct fixture *f = *state;
    _cleanup_reply_ struct reply r =
        ask(f, "POST", VMS, "{\"metadata\":{\"name\":\"Bad_Name\"},\"spec\":{\"runStrategy\":\"Never\",\"cores\":0}}");

    assert_int_equal(r.status, 422);
    assert_string_equal(reply_str(&r, "/reason"), "Invalid");
    assert_string_equal(reply_str(&r, "/details/kind"), "TestMachine");
    assert_string_equal(reply_str(&r, "/details/name"), "Bad_Name");
    assert_non_null(strstr(r.text, "\"field\":\"metadata.name\""));
    assert_non_null(strstr(r.text, "\"field\":\"spec.runStrategy\""));
    assert_non_null(strstr(r.text, "\"field\":\"spec.cores\""));
    expect(f, 404, "GET", VMS "/Bad_Name");
}

static void test_generated_names(void **state)
{
    struct fixture *f = *state;
    _cleanup_reply_ struct reply a = ask(f, "POST", VMS, "{\"metadata\":{\"generateName\":\"vm-\"}}");
    _cleanup_reply_ struct reply b = ask(f, "POST", VMS, "{\"metadata\":{\"generateName\":\"vm-\"}}");

    assert_int_equal(a.status, 201);
    assert_int_equal(b.status, 201);
    assert_int_equal(strlen(reply_str(&a, "/metadata/name")), 8);
    assert_string_not_equal(reply_str(&a, "/metadata/name"), reply_str(&b, "/metadata/name"));
}

static void test_unknown_fields(void **state)
{
    struct fixture *f = *state;
    const char *body = "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"bogus\":1}}";
    _cleanup_reply_ struct reply strict = ask(f, "POST", VMS "?fieldValidation=Strict", body);
    _cleanup_reply_ struct reply warned = ask(f, "POST", VMS, body);

    assert_int_equal(strict.status, 400);
    assert_non_null(strstr(reply_str(&strict, "/message"), "strict decoding error: unknown field \"spec.bogus\""));
    assert_int_equal(warned.status, 201);
    assert_string_equal(reply_header(&warned, "Warning", 0), "299 - \"unknown field \\\"spec.bogus\\\"\"");
    assert_null(strstr(warned.text, "bogus"));

    _cleanup_reply_ struct reply silent =
        ask(f, "PATCH", VMS "/a?fieldValidation=Ignore", "{\"spec\":{\"bogus\":1}}", "application/merge-patch+json");

    assert_int_equal(silent.status, 200);
    assert_null(reply_header(&silent, "Warning", 0));
    expect(f, 400, "POST", VMS "?fieldValidation=Perhaps", body);
}

static void test_dry_run_writes_nothing(void **state)
{
    struct fixture *f = *state;
    _cleanup_reply_ struct reply r = ask(f, "POST", VMS "?dryRun=All", "{\"metadata\":{\"name\":\"a\"},\"spec\":{}}");

    assert_int_equal(r.status, 201);
    assert_int_equal(reply_int(&r, "/spec/cores"), 1);
    assert_null(strstr(r.text, "resourceVersion"));
    expect(f, 404, "GET", VMS "/a");
    make_vm(f, "b");
    int64_t before = store_revision(f->server.store, NULL);

    expect(f, 409, "POST", VMS "?dryRun=All", "{\"metadata\":{\"name\":\"b\"}}");
    expect(f, 200, "PATCH", VMS "/b?dryRun=All", "{\"spec\":{\"cores\":4}}", "application/merge-patch+json");
    expect(f, 422, "PATCH", VMS "/b?dryRun=All", "{\"spec\":{\"cores\":0}}", "application/merge-patch+json");
    expect(f, 200, "DELETE", VMS "/b?dryRun=All");
    expect(f, 200, "DELETE", VMS "/b", "{\"dryRun\":[\"All\"]}");
    expect(f, 400, "DELETE", VMS "/b?dryRun=Some");
    assert_int_equal(store_revision(f->server.store, NULL), before);
}

static void test_put_wants_the_version_of_custom_kinds(void **state)
{
    struct fixture *f = *state;
    _cleanup_free_ char *body = vm_json("vm-a", "{}", "Manual");

    make_vm(f, "vm-a");
    _cleanup_reply_ struct reply r = ask(f, "PUT", VMS "/vm-a", body);

    assert_recorded(
        &r, "{" FAILURE ",\"message\":\"virtualmachines.kubevirt.io \\\"vm-a\\\" is invalid: metadata.resourceVersion: "
            "Invalid value: 0: must be specified for an update\",\"reason\":\"Invalid\",\"details\":{\"name\":\"vm-a\","
            "\"group\":\"kubevirt.io\",\"kind\":\"virtualmachines\",\"causes\":[{\"reason\":\"FieldValueInvalid\","
            "\"message\":"
            "\"Invalid value: 0: must be specified for an "
            "update\",\"field\":\"metadata.resourceVersion\"}]},\"code\":422}");
    expect(f, 201, "POST", PODS, POD("p", "{}"));
    expect(f, 200, "PUT", PODS "/p", POD("p", "{}"));
}

static void test_put_of_a_stale_version(void **state)
{
    struct fixture *f = *state;

    make_vm(f, "vm-a");
    _cleanup_reply_ struct reply r =
        ask(f, "PUT", VMS "/vm-a", "{\"metadata\":{\"name\":\"vm-a\",\"resourceVersion\":\"2\"},\"spec\":{}}");

    assert_recorded(
        &r, "{" FAILURE
            ",\"message\":\"Operation cannot be fulfilled on virtualmachines.kubevirt.io \\\"vm-a\\\": the object "
            "has been modified; please apply your changes to the latest version and try "
            "again\",\"reason\":\"Conflict\"," DETAILS("vm-a") ",\"code\":409}");
    expect(f, 400, "PUT", VMS "/vm-a", "{\"metadata\":{\"name\":\"vm-b\",\"resourceVersion\":\"3\"}}");
    expect(f, 409, "PUT", VMS "/vm-a", "{\"metadata\":{\"uid\":\"other\",\"resourceVersion\":\"3\"}}");
    expect(f, 404, "PUT", VMS "/vm-c", "{\"metadata\":{\"resourceVersion\":\"3\"}}");
}

static void test_updates_keep_what_is_the_servers(void **state)
{
    struct fixture *f = *state;
    _cleanup_reply_ struct reply made = ask(f, "POST", VMS, "{\"metadata\":{\"name\":\"a\"}}");

    f->now += 60000;
    _cleanup_reply_ struct reply r = ask(f, "PATCH", VMS "/a",
                                         "{\"metadata\":{\"creationTimestamp\":null,\"generation\":9},\"spec\":{"
                                         "\"cores\":2},\"status\":{\"ready\":true}}",
                                         "application/merge-patch+json");

    assert_int_equal(r.status, 200);
    assert_string_equal(reply_str(&r, "/metadata/uid"), reply_str(&made, "/metadata/uid"));
    assert_string_equal(reply_str(&r, "/metadata/creationTimestamp"), "2026-11-20T23:59:52Z");
    assert_int_equal(reply_int(&r, "/metadata/generation"), 2);
    assert_null(strstr(r.text, "\"status\""));
}

static void test_generation_counts_changes_of_spec_only(void **state)
{
    struct fixture *f = *state;
    const char *merge = "application/merge-patch+json";

    make_vm(f, "a");
    _cleanup_reply_ struct reply labels = ask(f, "PATCH", VMS "/a", "{\"metadata\":{\"labels\":{\"x\":\"y\"}}}", merge);
    _cleanup_reply_ struct reply status =
        ask(f, "PATCH", VMS "/a/status", "{\"status\":{\"ready\":true},\"spec\":{\"cores\":5}}", merge);
    _cleanup_reply_ struct reply spec =
        ask(f, "PATCH", VMS "/a", "{\"spec\":{\"cores\":2},\"status\":{\"ready\":false}}", merge);

    assert_int_equal(reply_int(&labels, "/metadata/generation"), 1);
    assert_int_equal(reply_int(&status, "/metadata/generation"), 1);
    assert_int_equal(reply_int(&status, "/spec/cores"), 1);
    assert_int_equal(reply_int(&spec, "/metadata/generation"), 2);
    assert_non_null(strstr(spec.text, "\"ready\":true"));
}

static void test_updates_that_change_nothing_do_not_write(void **state)
{
    struct fixture *f = *state;

    make_vm(f, "a");
    int64_t before = store_revision(f->server.store, NULL);
    _cleanup_reply_ struct reply r =
        ask(f, "PATCH", VMS "/a", "{\"spec\":{\"cores\":1},\"metadata\":{\"labels\":{\"app\":\"demo\"}}}",
            "application/merge-patch+json");

    assert_int_equal(r.status, 200);
    assert_int_equal(store_revision(f->server.store, NULL), before);
    assert_int_equal(atoll(reply_str(&r, "/metadata/resourceVersion")), before);
}

static void test_patch_types(void **state)
{
    struct fixture *f = *state;

    make_vm(f, "vm-a");
    expect(f, 200, "PATCH", VMS "/vm-a", "[{\"op\":\"replace\",\"path\":\"/spec/cores\",\"value\":3}]",
           "application/json-patch+json");
    expect(f, 422, "PATCH", VMS "/vm-a", "[{\"op\":\"test\",\"path\":\"/spec/cores\",\"value\":4}]",
           "application/json-patch+json");
    expect(f, 415, "PATCH", VMS "/vm-a", "{}", "application/apply-patch+cbor");
    expect(f, 415, "PATCH", VMS "/vm-a", "{}");
    expect(f, 400, "PATCH", VMS "/vm-a", "{", "application/merge-patch+json");
    expect(f, 400, "PATCH", VMS "/vm-a", "{\"metadata\":{\"name\":\"other\"}}", "application/merge-patch+json");
    expect(f, 404, "PATCH", VMS "/vm-b", "{}", "application/merge-patch+json");
    _cleanup_reply_ struct reply r = ask(f, "PATCH", VMS "/vm-a", "{}", "application/strategic-merge-patch+json");

    assert_int_equal(r.status, 415);
    assert_string_equal(reply_str(&r, "/message"),
                        "the body of the request was in an unknown format - accepted media types include: "
                        "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml");
    assert_string_equal(reply_str(&r, "/reason"), "UnsupportedMediaType");
}

static void test_strategic_patch_merges_lists_of_builtin_kinds(void **state)
{
    struct fixture *f = *state;

    expect(f, 201, "POST", "/api/v1/namespaces",
           "{\"metadata\":{\"name\":\"a\"},\"spec\":{\"parts\":[{\"name\":\"x\",\"size\":1}]}}");
    _cleanup_reply_ struct reply r =
        ask(f, "PATCH", "/api/v1/namespaces/a",
            "{\"spec\":{\"parts\":[{\"name\":\"y\",\"size\":2},{\"name\":\"x\",\"size\":3}]}}",
            "application/strategic-merge-patch+json");

    assert_int_equal(r.status, 200);
    assert_int_equal(yyjson_arr_size(json_at(yyjson_doc_get_root(r.doc), "/spec/parts")), 2);
    assert_non_null(strstr(r.text, "{\"name\":\"x\",\"size\":3}"));
}

static void test_patch_with_a_version_is_conditional(void **state)
{
    struct fixture *f = *state;
    const char *merge = "application/merge-patch+json";

    make_vm(f, "a"); /* at 3 */
    expect(f, 409, "PATCH", VMS "/a", "{\"metadata\":{\"resourceVersion\":\"2\"},\"spec\":{\"cores\":2}}", merge);
    expect(f, 200, "PATCH", VMS "/a", "{\"metadata\":{\"resourceVersion\":\"3\"},\"spec\":{\"cores\":2}}", merge);
    expect(f, 409, "PATCH", VMS "/a", "{\"metadata\":{\"resourceVersion\":\"3\"},\"spec\":{\"cores\":3}}", merge);
    expect(f, 409, "PATCH", VMS "/a", "[{\"op\":\"replace\",\"path\":\"/metadata/resourceVersion\",\"value\":\"3\"}]",
           "application/json-patch+json");
}

static void test_binding(void **state)
{
    struct fixture *f = *state;
    const char *body = "{\"metadata\":{\"name\":\"p\"},\"target\":{\"kind\":\"Node\",\"name\":\"n1\"}}";

    expect(f, 201, "POST", PODS, POD("p", "{}"));
    expect(f, 404, "POST", PODS "/absent/binding", "{\"target\":{\"name\":\"n1\"}}");
    expect(f, 422, "POST", PODS "/p/binding", "{\"target\":{}}");
    expect(f, 400, "POST", PODS "/p/binding", "{\"metadata\":{\"name\":\"q\"},\"target\":{\"name\":\"n1\"}}");
    expect(f, 409, "POST", PODS "/p/binding", "{\"metadata\":{\"uid\":\"other\"},\"target\":{\"name\":\"n1\"}}");
    expect(f, 405, "PUT", PODS "/p/binding", body);
    expect(f, 404, "POST", "/api/v2/namespaces/demo/pods/p/binding", body);
    expect(f, 404, "POST", "/api/v1/pods/p/binding", body);
    expect(f, 201, "POST", PODS "/p/binding?dryRun=All", body);
    expect(f, 201, "POST", PODS "/p/binding", body);
    _cleanup_reply_ struct reply pod = ask(f, "GET", PODS "/p"), again = ask(f, "POST", PODS "/p/binding", body);

    assert_string_equal(reply_str(&pod, "/spec/nodeName"), "n1");
    assert_string_equal(reply_str(&pod, "/status/conditions/0/type"), "PodScheduled");
    assert_int_equal(again.status, 409);
    assert_non_null(strstr(again.text, "already assigned to node"));
}

static void test_authorization_sees_the_outcome(void **state)
{
    struct fixture *f = *state;

    make_vm(f, "vm-a");
    f->refused_verb = "patch";
    f->refuse_late = true;
    _cleanup_reply_ struct reply r =
        ask(f, "PATCH", VMS "/vm-a", "{\"spec\":{\"cores\":2}}", "application/merge-patch+json");

    assert_recorded(
        &r,
        "{" FAILURE
        ",\"message\":\"virtualmachines.kubevirt.io \\\"vm-a\\\" is forbidden: User \\\"viewer\\\" cannot patch "
        "resource \\\"virtualmachines\\\" in API group \\\"kubevirt.io\\\" in the namespace \\\"demo\\\"\",\"reason\":"
        "\"Forbidden\"," DETAILS("vm-a") ",\"code\":403}");
    f->refused_verb = "delete";
    expect(f, 403, "DELETE", VMS "/vm-a");
    f->refused_verb = "create";
    expect(f, 403, "POST", VMS, "{\"metadata\":{\"name\":\"b\"}}");
    f->refused_verb = NULL;
    assert_int_equal(store_revision(f->server.store, NULL), 3);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_create_fills_in_what_is_the_servers),
        TEST(test_create_conflicts),
        TEST(test_create_while_the_old_one_terminates),
        TEST(test_create_in_a_namespace_that_is_not_there),
        TEST(test_create_in_a_terminating_namespace),
        TEST(test_a_namespace_that_ends_meanwhile),
        TEST(test_bodies_that_do_not_fit),
        TEST(test_invalid_objects_name_their_fields),
        TEST(test_generated_names),
        TEST(test_unknown_fields),
        TEST(test_dry_run_writes_nothing),
        TEST(test_put_wants_the_version_of_custom_kinds),
        TEST(test_put_of_a_stale_version),
        TEST(test_updates_keep_what_is_the_servers),
        TEST(test_generation_counts_changes_of_spec_only),
        TEST(test_updates_that_change_nothing_do_not_write),
        TEST(test_patch_types),
        TEST(test_strategic_patch_merges_lists_of_builtin_kinds),
        TEST(test_patch_with_a_version_is_conditional),
        TEST(test_binding),
        TEST(test_authorization_sees_the_outcome),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
