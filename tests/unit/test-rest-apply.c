/* Server-side apply and managedFields through the REST core. */
#include "rest-fixture.h"

#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

#define SSA "application/apply-patch+yaml"
#define MERGE "application/merge-patch+json"
#define JSON_PATCH "application/json-patch+json"
#define FAILURE "\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\""
#define HEAD "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"TestMachine\",\"metadata\":{\"name\":\"a\""
#define LAST "kubectl.kubernetes.io/last-applied-configuration"

static int set_up(void **state)
{
    int r = fixture_set_up(state);

    ((struct fixture *)*state)->outsider = true;
    return r;
}

/* An apply of TestMachine a with this rest behind its metadata: ",...}" */
static struct reply apply(struct fixture *f, const char *query, const char *rest)
{
    _cleanup_free_ char *body = xasprintf(HEAD "}%s", rest), *target = xasprintf(VMS "/a?%s", query);

    return ask(f, "PATCH", target, body, SSA);
}

static void assert_status(const struct reply *r, int status)
{
    if (r->status != status)
        fail_msg("%d instead of %d: %s", r->status, status, r->text);
}

static void assert_fields(const struct reply *r, int entry, const char *wanted)
{
    _cleanup_free_ char *path = xasprintf("/metadata/managedFields/%d/fieldsV1", entry);
    yyjson_val *set = json_at(yyjson_doc_get_root(r->doc), path);
    _cleanup_blob_ struct blob *text = set ? json_encode_val(set) : blob_text("nothing");

    assert_string_equal(text->data, wanted);
}

static size_t entries(const struct reply *r)
{
    return yyjson_arr_size(json_at(yyjson_doc_get_root(r->doc), "/metadata/managedFields"));
}

static void test_apply_makes_and_names(void **state)
{
    struct fixture *f = *state;
    _cleanup_reply_ struct reply r = apply(f, "fieldManager=me", ",\"spec\":{\"runStrategy\":\"Halted\"}}");

    assert_status(&r, 201);
    assert_int_equal(entries(&r), 1);
    assert_string_equal(reply_str(&r, "/metadata/managedFields/0/manager"), "me");
    assert_string_equal(reply_str(&r, "/metadata/managedFields/0/operation"), "Apply");
    assert_string_equal(reply_str(&r, "/metadata/managedFields/0/apiVersion"), "kubevirt.io/v1");
    assert_string_equal(reply_str(&r, "/metadata/managedFields/0/time"), "2026-11-20T23:59:52Z");
    assert_string_equal(reply_str(&r, "/metadata/managedFields/0/fieldsType"), "FieldsV1");
    assert_fields(&r, 0, "{\"f:spec\":{\"f:runStrategy\":{}}}"); /* and not the default of cores */
    assert_int_equal(reply_int(&r, "/spec/cores"), 1);
}

static void test_apply_again_writes_nothing(void **state)
{
    struct fixture *f = *state;
    _cleanup_reply_ struct reply one = apply(f, "fieldManager=me", ",\"spec\":{\"cores\":2}}");

    f->now += 60000;
    _cleanup_reply_ struct reply two = apply(f, "fieldManager=me", ",\"spec\":{\"cores\":2}}");

    assert_status(&two, 200);
    assert_string_equal(reply_str(&one, "/metadata/resourceVersion"), reply_str(&two, "/metadata/resourceVersion"));
    _cleanup_reply_ struct reply yaml =
        ask(f, "PATCH", VMS "/a?fieldManager=me", "apiVersion: kubevirt.io/v1\nkind: TestMachine\nspec: {cores: 3}\n", SSA);

    assert_int_equal(reply_int(&yaml, "/spec/cores"), 3);
    assert_string_equal(reply_str(&yaml, "/metadata/managedFields/0/time"), "2026-11-21T00:00:52Z");
}

static void test_apply_needs_a_manager(void **state)
{
    struct fixture *f = *state;
    _cleanup_reply_ struct reply r = apply(f, "force=true", "}");

    assert_recorded(&r, "{" FAILURE ",\"message\":\"PatchOptions.meta.k8s.io \\\"\\\" is invalid: fieldManager: Required "
                        "value: is required for apply patch\",\"reason\":\"Invalid\",\"details\":{\"group\":\"meta.k8s.io\","
                        "\"kind\":\"PatchOptions\",\"causes\":[{\"reason\":\"FieldValueRequired\",\"message\":\"Required "
                        "value: is required for apply patch\",\"field\":\"fieldManager\"}]},\"code\":422}");
    expect(f, 422, "PATCH", VMS "/a?force=true", "{}", MERGE);
    expect(f, 400, "PATCH", VMS "/a?fieldManager=x", "[1]", SSA);
    expect(f, 400, "PATCH", VMS "/a?fieldManager=x", HEAD ",\"managedFields\":[{}]}}", SSA);
    expect(f, 404, "PATCH", VMS "/a/status?fieldManager=x", HEAD "}}", SSA);
}

static void test_conflicts_and_force(void **state)
{
    struct fixture *f = *state;

    expect(f, 201, "POST", VMS "?fieldManager=virt-api", HEAD "},\"spec\":{\"runStrategy\":\"Halted\"}}");
    _cleanup_reply_ struct reply r = apply(f, "fieldManager=me", ",\"spec\":{\"runStrategy\":\"Always\"}}");

    assert_recorded(&r, "{" FAILURE ",\"message\":\"Apply failed with 1 conflict: conflict with \\\"virt-api\\\" using "
                        "kubevirt.io/v1: .spec.runStrategy\",\"reason\":\"Conflict\",\"details\":{\"causes\":[{\"reason\":"
                        "\"FieldManagerConflict\",\"message\":\"conflict with \\\"virt-api\\\" using kubevirt.io/v1\","
                        "\"field\":\".spec.runStrategy\"}]},\"code\":409}");
    _cleanup_reply_ struct reply forced =
        apply(f, "fieldManager=me&force=true", ",\"spec\":{\"runStrategy\":\"Always\"}}");

    assert_status(&forced, 200);
    assert_fields(&forced, 0, "{\"f:spec\":{\"f:runStrategy\":{}}}");
    assert_fields(&forced, 1, "{\"f:spec\":{\".\":{},\"f:cores\":{}}}");
}

static void test_what_is_not_named_any_more_goes(void **state)
{
    struct fixture *f = *state;
    _cleanup_reply_ struct reply one = apply(f, "fieldManager=me", ",\"spec\":{\"runStrategy\":\"Manual\",\"cores\":7}}");
    _cleanup_reply_ struct reply two = apply(f, "fieldManager=you", ",\"spec\":{\"cores\":7}}");
    _cleanup_reply_ struct reply three = apply(f, "fieldManager=me", ",\"spec\":{}}");

    assert_status(&one, 201);
    assert_status(&two, 200);
    assert_status(&three, 200);
    assert_string_equal(reply_str(&three, "/spec/runStrategy"), "Halted"); /* its default */
    assert_int_equal(reply_int(&three, "/spec/cores"), 7);                 /* somebody else wants it */
    _cleanup_reply_ struct reply four = apply(f, "fieldManager=you", ",\"spec\":{}}");

    assert_int_equal(reply_int(&four, "/spec/cores"), 1);
}

static void test_updates_are_noted_by_manager_and_subresource(void **state)
{
    struct fixture *f = *state;

    expect(f, 201, "POST", VMS, HEAD "},\"spec\":{}}");
    expect(f, 200, "PATCH", VMS "/a?fieldManager=kubectl-label", "{\"metadata\":{\"labels\":{\"x\":\"y\"}}}", MERGE);
    _cleanup_reply_ struct reply r =
        ask(f, "PATCH", VMS "/a/status?fieldManager=kubectl-label", "{\"status\":{\"ready\":true}}", MERGE);

    assert_int_equal(entries(&r), 3);
    assert_string_equal(reply_str(&r, "/metadata/managedFields/0/manager"), "unknown"); /* no User-Agent */
    assert_fields(&r, 1, "{\"f:metadata\":{\"f:labels\":{\".\":{},\"f:x\":{}}}}");
    assert_fields(&r, 2, "{\"f:status\":{\".\":{},\"f:ready\":{}}}");
    assert_string_equal(reply_str(&r, "/metadata/managedFields/2/subresource"), "status");
}

static void test_our_own_parts_are_noted_from_the_first_apply_on(void **state)
{
    struct fixture *f = *state;

    f->outsider = false;
    expect(f, 201, "POST", VMS, HEAD "},\"spec\":{}}");
    _cleanup_reply_ struct reply plain = ask(f, "PATCH", VMS "/a/status", "{\"status\":{\"ready\":true}}", MERGE);

    assert_int_equal(entries(&plain), 0);
    f->outsider = true;
    expect(f, 200, "PATCH", VMS "/a", "{\"spec\":{\"cores\":2}}", MERGE);
    _cleanup_reply_ struct reply conflict = apply(f, "fieldManager=me", ",\"spec\":{\"cores\":3}}");

    assert_status(&conflict, 409);
    assert_non_null(strstr(reply_str(&conflict, "/message"), "conflict with \"before-first-apply\" using kubevirt.io/v1"));
    _cleanup_reply_ struct reply r = apply(f, "fieldManager=me", ",\"spec\":{\"cores\":2}}");

    assert_status(&r, 200);
    assert_int_equal(entries(&r), 2);
    f->outsider = false;
    _cleanup_reply_ struct reply noted = ask(f, "PATCH", VMS "/a/status", "{\"status\":{\"ready\":false}}", MERGE);

    assert_int_equal(entries(&noted), 3);
}

static void test_managed_fields_can_be_forgotten_and_not_lost(void **state)
{
    struct fixture *f = *state;

    expect(f, 201, "POST", VMS, HEAD "},\"spec\":{}}");
    _cleanup_reply_ struct reply kept = ask(f, "PATCH", VMS "/a", "{\"metadata\":{\"managedFields\":[]}}", MERGE);
    _cleanup_reply_ struct reply put = ask(f, "PUT", VMS "/a", HEAD ",\"resourceVersion\":\"3\"},\"spec\":{\"cores\":4}}");
    _cleanup_reply_ struct reply reset = ask(f, "PATCH", VMS "/a", "{\"metadata\":{\"managedFields\":[{}]}}", MERGE);
    _cleanup_reply_ struct reply later = ask(f, "PATCH", VMS "/a", "{\"spec\":{\"cores\":5}}", MERGE);

    assert_int_equal(entries(&kept), 1);
    assert_status(&put, 200);
    assert_int_equal(entries(&put), 1);
    assert_int_equal(entries(&reset), 0);
    assert_int_equal(entries(&later), 0);
    assert_int_equal(reply_int(&later, "/metadata/generation"), 3); /* of the two changes of spec */
}

/* What kubectl apply --server-side does with an object that kubectl apply made. */
static void test_the_way_over_from_client_side_apply(void **state)
{
    struct fixture *f = *state;
    const char *annotated = "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"TestMachine\",\"metadata\":{\"name\":\"a\",\"annotations\":{\"" LAST
                            "\":\"{\\\"apiVersion\\\":\\\"kubevirt.io/v1\\\",\\\"kind\\\":\\\"TestMachine\\\",\\\"metadata\\\":{\\\"name\\\":"
                            "\\\"a\\\"},\\\"spec\\\":{\\\"cores\\\":2}}\\n\"}},\"spec\":{\"cores\":2}}";

    expect(f, 201, "POST", VMS "?fieldManager=kubectl-client-side-apply", annotated);
    _cleanup_reply_ struct reply other = apply(f, "fieldManager=other", ",\"spec\":{\"cores\":3}}");
    _cleanup_reply_ struct reply over = apply(f, "fieldManager=kubectl", ",\"spec\":{\"cores\":3}}");

    assert_status(&other, 409);
    assert_status(&over, 200);
    assert_non_null(strstr(over.text, "\\\"cores\\\":3")); /* the annotation follows */
    _cleanup_free_ char *move =
        xasprintf("[{\"op\":\"replace\",\"path\":\"/metadata/managedFields\",\"value\":[{\"manager\":\"kubectl\",\"operation\":"
                  "\"Apply\",\"apiVersion\":\"kubevirt.io/v1\",\"time\":\"2026-11-20T23:59:52Z\",\"fieldsType\":\"FieldsV1\","
                  "\"fieldsV1\":{\"f:spec\":{\"f:cores\":{},\"f:runStrategy\":{}}}}]},"
                  "{\"op\":\"replace\",\"path\":\"/metadata/resourceVersion\",\"value\":\"%s\"}]",
                  reply_str(&over, "/metadata/resourceVersion"));
    _cleanup_reply_ struct reply moved = ask(f, "PATCH", VMS "/a", move, JSON_PATCH);
    _cleanup_reply_ struct reply stale = ask(f, "PATCH", VMS "/a", move, JSON_PATCH);

    assert_status(&moved, 200);
    assert_int_equal(entries(&moved), 1);
    assert_string_equal(reply_str(&moved, "/metadata/managedFields/0/operation"), "Apply");
    assert_status(&stale, 409);
}

static void test_apply_checks_like_every_write(void **state)
{
    struct fixture *f = *state;
    _cleanup_reply_ struct reply strict = apply(f, "fieldManager=me&fieldValidation=Strict", ",\"spec\":{\"sails\":1}}");
    _cleanup_reply_ struct reply dry = apply(f, "fieldManager=me&dryRun=All", ",\"spec\":{\"cores\":2}}");
    _cleanup_reply_ struct reply bad = apply(f, "fieldManager=me", ",\"spec\":{\"cores\":0}}");

    assert_status(&strict, 400);
    assert_non_null(strstr(reply_str(&strict, "/message"), "unknown field \"spec.sails\""));
    assert_status(&dry, 201);
    assert_status(&bad, 422);
    expect(f, 404, "GET", VMS "/a");
    f->refused_verb = "create";
    _cleanup_reply_ struct reply refused = apply(f, "fieldManager=me", "}");

    assert_status(&refused, 403);
}

static void test_what_was_meant_and_has_gone_does_not_come_back(void **state)
{
    struct fixture *f = *state;
    _cleanup_reply_ struct reply r =
        ask(f, "PATCH", VMS "/a?fieldManager=me",
            "{\"apiVersion\":\"kubevirt.io/v1\",\"kind\":\"TestMachine\",\"metadata\":{\"uid\":\"u1\"}}",
            "application/apply-patch+yaml");

    assert_status(&r, 409);
    assert_non_null(strstr(reply_str(&r, "/message"), "no existing object was found"));
    expect(f, 404, "GET", VMS "/a");
}

static void test_status_is_applied_by_itself(void **state)
{
    struct fixture *f = *state;

    expect(f, 201, "POST", VMS, HEAD "},\"spec\":{}}");
    _cleanup_reply_ struct reply r = ask(f, "PATCH", VMS "/a/status?fieldManager=me",
                                         HEAD "},\"spec\":{\"cores\":9},\"status\":{\"ready\":true}}", SSA);

    assert_status(&r, 200);
    assert_int_equal(reply_int(&r, "/spec/cores"), 1);
    assert_fields(&r, 0, "{\"f:status\":{\"f:ready\":{}}}");
}

#define with_fixture(test) cmocka_unit_test_setup_teardown(test, set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_fixture(test_apply_makes_and_names),
        with_fixture(test_apply_again_writes_nothing),
        with_fixture(test_apply_needs_a_manager),
        with_fixture(test_conflicts_and_force),
        with_fixture(test_what_is_not_named_any_more_goes),
        with_fixture(test_updates_are_noted_by_manager_and_subresource),
        with_fixture(test_our_own_parts_are_noted_from_the_first_apply_on),
        with_fixture(test_managed_fields_can_be_forgotten_and_not_lost),
        with_fixture(test_the_way_over_from_client_side_apply),
        with_fixture(test_apply_checks_like_every_write),
        with_fixture(test_what_was_meant_and_has_gone_does_not_come_back),
        with_fixture(test_status_is_applied_by_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
