#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "client/client.h"
#include "client/lines.h"
#include "client/status.h"
#include "script.h"

/* --- addresses --- */

static void check_path(const struct api_resource *r, const char *ns, const char *name, const char *sub, const char *query,
                       const char *want)
{
    _cleanup_free_ char *got = api_path(r, ns, name, sub, query);

    assert_string_equal(got, want);
}

static void test_paths(void **state)
{
    check_path(&API_PODS, NULL, NULL, NULL, NULL, "/api/v1/pods");
    check_path(&API_PODS, "a", NULL, NULL, "limit=5", "/api/v1/namespaces/a/pods?limit=5");
    check_path(&API_PODS, "a", "p", "binding", NULL, "/api/v1/namespaces/a/pods/p/binding");
    check_path(&API_NODES, "ignored", "n", NULL, "", "/api/v1/nodes/n");
    check_path(&API_VIRTUALMACHINES, "a", "v", "status", NULL,
               "/apis/kubevirt.io/v1/namespaces/a/virtualmachines/v/status");
    check_path(&API_MIGRATIONPOLICIES, NULL, NULL, NULL, NULL, "/apis/migrations.kubevirt.io/v1alpha1/migrationpolicies");
}

static void test_query(void **state)
{
    _cleanup_str_ struct str q = {0};

    api_query(&q, "labelSelector", "a/b in (c,d)");
    api_query(&q, "fieldSelector", NULL);
    api_query(&q, "continue", "x-y_z.~+=&\xc3\xa4");
    assert_string_equal(str_text(&q), "labelSelector=a%2Fb%20in%20%28c%2Cd%29&continue=x-y_z.~%2B%3D%26%C3%A4");
}

static void test_resources(void **state)
{
    _cleanup_free_ char *core = api_resource_version(&API_PODS), *group = api_resource_version(&API_MIGRATIONS);

    assert_string_equal(core, "v1");
    assert_string_equal(group, "kubevirt.io/v1");
    assert_ptr_equal(api_resource_find("", "Pod"), &API_PODS);
    assert_ptr_equal(api_resource_find("kubevirt.io", "VirtualMachine"), &API_VIRTUALMACHINES);
    assert_null(api_resource_find("", "VirtualMachine"));
}

/* --- lines --- */

static struct str collected;
static int stop_after;

static bool collect(_unused_ void *userdata, const char *line, size_t len)
{
    assert_int_equal(strlen(line), len);
    str_printf(&collected, "[%s]", line);
    return --stop_after != 0;
}

static void feed(struct line_splitter *s, const char *data, int want)
{
    assert_int_equal(lines_feed(s, data, strlen(data), collect, NULL), want);
}

static void test_lines(void **state)
{
    struct line_splitter s = {0};

    stop_after = -1;
    feed(&s, "a", 0);
    feed(&s, "b\ncd\r\n\n\r\ne", 0);
    assert_string_equal(str_text(&collected), "[ab][cd]");
    feed(&s, "\n", 0);
    feed(&s, "rest", 0);
    assert_string_equal(str_text(&collected), "[ab][cd][e]");
    stop_after = 1;
    feed(&s, "1\n2\n", -ECANCELED);
    assert_string_equal(str_text(&collected), "[ab][cd][e][rest1]");
    lines_done(&s);
    str_done(&collected);
}

static void test_lines_too_long(void **state)
{
    struct line_splitter s = {0};
    size_t piece = 1 << 20, fed = 0;
    _cleanup_free_ char *data = xmalloc(piece);
    int r = 0;

    memset(data, 'x', piece);
    while (r == 0 && fed < 2ul * LINE_MAX_BYTES) {
        r = lines_feed(&s, data, piece, collect, NULL);
        fed += piece;
    }
    assert_int_equal(r, -EMSGSIZE);
    assert_in_range(fed, LINE_MAX_BYTES, LINE_MAX_BYTES + 2 * piece);
    lines_done(&s);
}

/* --- Status --- */

static const char invalid[] =
    "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"vm is invalid\",\"reason\":\"Invalid\","
    "\"details\":{\"causes\":[{\"reason\":\"FieldValueRequired\",\"message\":\"Required value\",\"field\":\"spec.x\"},"
    "{\"reason\":\"FieldManagerConflict\",\"message\":\"m\",\"field\":\"spec.y\"}]},\"code\":422}";

static void test_status(void **state)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    assert_true(status_decode_body(invalid, strlen(invalid), 422, &err) < 0);
    assert_int_equal(err.reason, GW_INVALID);
    assert_string_equal(err.message, "vm is invalid");
    assert_int_equal(err.n_causes, 2);
    assert_string_equal(err.causes[0].field, "spec.x");
    assert_string_equal(err.causes[0].type, CAUSE_REQUIRED);
    assert_string_equal(err.causes[1].type, CAUSE_INVALID);
}

static void test_status_retry_after(void **state)
{
    static const char body[] = "{\"kind\":\"Status\",\"message\":\"later\",\"reason\":\"TooManyRequests\",\"code\":429,"
                               "\"details\":{\"retryAfterSeconds\":7}}";
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    status_decode_body(body, strlen(body), 429, &err);
    assert_int_equal(err.reason, GW_TOO_MANY_REQUESTS);
    assert_int_equal(err.retry_after_s, 7);
}

static void test_status_foreign_body(void **state)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    assert_true(status_decode_body("<html>", 6, 503, &err) < 0);
    assert_int_equal(err.reason, GW_SERVICE_UNAVAILABLE);
    assert_non_null(strstr(err.message, "503"));
    assert_true(status_decode_body("[1]", 3, 404, &err) < 0);
    assert_int_equal(err.reason, GW_NOT_FOUND);
    assert_true(status_decode_body("", 0, 404, NULL) < 0);
}

/* --- calls --- */

struct seen {
    int done, code;
    enum gw_reason reason;
    char text[256];
    yyjson_doc *kept;
    struct api_call *call;
    struct api_client *client;
};

static void on_done(void *userdata, struct api_answer *answer)
{
    struct seen *s = userdata;

    s->done++;
    s->code = answer->code;
    s->reason = answer->err ? answer->err->reason : GW_OK;
    snprintf(s->text, sizeof(s->text), "%s",
             answer->err ? answer->err->message : json_str_or(yyjson_doc_get_root(answer->doc), "/x", ""));
    assert_true(!answer->err || !answer->doc);
    if (s->kept == (yyjson_doc *)s)
        s->kept = TAKE_PTR(answer->doc);
}

static void test_answer(void **state)
{
    _cleanup_(api_client_freep) struct api_client *c = script_client();
    struct seen s = {0};

    api_get(c, &API_PODS, "a", "p", on_done, &s);
    assert_string_equal(script_call(c, 0)->method, "GET");
    assert_string_equal(script_call(c, 0)->path, "/api/v1/namespaces/a/pods/p");
    assert_null(script_call(c, 0)->body);
    assert_int_equal(s.done, 0);
    script_answer(script_call(c, 0), 200, "{\"x\":\"y\"}");
    assert_int_equal(s.done, 1);
    assert_int_equal(s.code, 200);
    assert_string_equal(s.text, "y");
    assert_int_equal(script_running(c), 0);
}

static void test_answer_kept(void **state)
{
    _cleanup_(api_client_freep) struct api_client *c = script_client();
    struct seen s = {.kept = (yyjson_doc *)&s};

    api_get(c, &API_PODS, "a", "p", on_done, &s);
    script_answer(script_call(c, 0), 200, "{\"x\":\"y\"}");
    assert_string_equal(json_str(yyjson_doc_get_root(s.kept), "/x"), "y");
    yyjson_doc_free(s.kept);
}

static void test_answer_in_pieces(void **state)
{
    _cleanup_(api_client_freep) struct api_client *c = script_client();
    struct seen s = {0};

    api_get(c, &API_PODS, "a", "p", on_done, &s);
    assert_true(script_data(script_call(c, 0), "{\"x\":"));
    script_answer(script_call(c, 0), 200, "\"whole\"}");
    assert_string_equal(s.text, "whole");
}

static void test_errors(void **state)
{
    _cleanup_(api_client_freep) struct api_client *c = script_client();
    struct seen s = {0};

    api_get(c, &API_PODS, "a", "p", on_done, &s);
    script_answer(script_call(c, 0), 422, invalid);
    assert_int_equal(s.reason, GW_INVALID);
    assert_string_equal(s.text, "vm is invalid");
    api_get(c, &API_PODS, "a", "p", on_done, &s);
    script_fail(script_call(c, 0), GW_SERVICE_UNAVAILABLE, "refused");
    assert_int_equal(s.reason, GW_SERVICE_UNAVAILABLE);
    assert_int_equal(s.code, 0);
    api_get(c, &API_PODS, "a", "p", on_done, &s);
    script_answer(script_call(c, 0), 200, "{not json");
    assert_int_equal(s.reason, GW_INTERNAL_ERROR);
    api_get(c, &API_PODS, "a", "p", on_done, &s);
    script_answer(script_call(c, 0), 202, NULL);
    assert_int_equal(s.reason, GW_OK);
    assert_int_equal(s.done, 4);
}

static void check_body(struct api_call *call, const char *method, const char *type, const char *body)
{
    assert_string_equal(call->method, method);
    assert_string_equal(call->content_type, type);
    assert_string_equal(call->body->data, body);
    script_answer(call, 200, NULL);
}

static void test_writes(void **state)
{
    _cleanup_(api_client_freep) struct api_client *c = script_client();
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();

    json_set_str(d, "/metadata/name", "n");
    api_update(c, &API_LEASES, "a", "n", NULL, d, NULL, NULL);
    check_body(script_call(c, 0), "PUT", "application/json", "{\"metadata\":{\"name\":\"n\"}}");
    api_patch(c, &API_LEASES, "a", "n", "status", API_PATCH_MERGE, d, NULL, NULL);
    assert_string_equal(script_call(c, 0)->path, "/apis/coordination.k8s.io/v1/namespaces/a/leases/n/status");
    check_body(script_call(c, 0), "PATCH", "application/merge-patch+json", "{\"metadata\":{\"name\":\"n\"}}");
    api_create(c, &API_LEASES, "a", d, NULL, NULL);
    check_body(script_call(c, 0), "POST", "application/json",
               "{\"metadata\":{\"name\":\"n\"},\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\"}");
    api_delete(c, &API_PODS, "a", "n", "u-1", "Background", NULL, NULL);
    check_body(script_call(c, 0), "DELETE", "application/json",
               "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"preconditions\":{\"uid\":\"u-1\"},"
               "\"propagationPolicy\":\"Background\"}");
    api_delete_now(c, &API_PODS, "a", "n", NULL, NULL, NULL);
    check_body(script_call(c, 0), "DELETE", "application/json",
               "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"gracePeriodSeconds\":0}");
}

static void test_cancel(void **state)
{
    struct api_client *c = script_client();
    struct seen s = {0};
    struct api_call *call = api_get(c, &API_PODS, "a", "p", on_done, &s);

    assert_null(api_cancel(call));
    assert_null(api_cancel(NULL));
    assert_int_equal(script_running(c), 0);
    api_get(c, &API_PODS, "a", "p", on_done, &s);
    api_client_free(c); /* the second call ends with its client */
    assert_int_equal(s.done, 0);
}

/* --- watches --- */

static void on_event(void *userdata, enum api_event_type type, yyjson_val *object, yyjson_doc **event)
{
    struct seen *s = userdata;

    snprintf(s->text + strlen(s->text), sizeof(s->text) - strlen(s->text), "%d:%s ", type, json_str_or(object, "/n", "?"));
    if (s->call && streq(json_str_or(object, "/n", ""), "stop"))
        s->call = api_cancel(s->call);
    if (streq(json_str_or(object, "/n", ""), "keep"))
        s->kept = TAKE_PTR(*event);
}

static void on_end(void *userdata, const struct gw_error *err)
{
    struct seen *s = userdata;

    s->done++;
    s->reason = err ? err->reason : GW_OK;
}

static void test_watch(void **state)
{
    _cleanup_(api_client_freep) struct api_client *c = script_client();
    struct seen s = {0};

    api_watch(c, &API_PODS, NULL, "resourceVersion=5", on_event, on_end, &s);
    assert_string_equal(script_call(c, 0)->path, "/api/v1/pods?resourceVersion=5&watch=true");
    script_data(script_call(c, 0), "{\"type\":\"ADDED\",\"object\":{\"n\":\"a\"}}\n{\"type\":\"MODI");
    script_data(script_call(c, 0), "FIED\",\"object\":{\"n\":\"b\"}}\n");
    script_data(script_call(c, 0), "{\"type\":\"NEWER\",\"object\":{\"n\":\"c\"}}\n{\"type\":\"DELETED\",\"object\":{\"n\":"
                                   "\"keep\"}}\n{\"type\":\"BOOKMARK\",\"object\":{}}\n");
    assert_string_equal(s.text, "0:a 1:b 2:keep 3:? ");
    assert_string_equal(json_str(yyjson_doc_get_root(s.kept), "/object/n"), "keep");
    yyjson_doc_free(s.kept);
    script_answer(script_call(c, 0), 200, NULL);
    assert_int_equal(s.done, 1);
    assert_int_equal(s.reason, GW_OK);
}

/* What ends a watch: data in it, or how it was answered. */
static void check_watch_end(const char *data, int code, const char *body, enum gw_reason want)
{
    _cleanup_(api_client_freep) struct api_client *c = script_client();
    struct seen s = {0};

    api_watch(c, &API_PODS, NULL, NULL, on_event, on_end, &s);
    if (data)
        assert_false(script_data(script_call(c, 0), data));
    else
        script_answer(script_call(c, 0), code, body);
    assert_int_equal(s.done, 1);
    assert_int_equal(s.reason, want);
    assert_int_equal(script_running(c), 0);
}

static void test_watch_ends(void **state)
{
    static const char expired[] = "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"reason\":\"Expired\",\"code\":410}}\n";

    check_watch_end(expired, 0, NULL, GW_EXPIRED);
    check_watch_end("not json\n", 0, NULL, GW_BAD_REQUEST);
    check_watch_end(NULL, 410, "{\"kind\":\"Status\",\"reason\":\"Expired\",\"code\":410}", GW_EXPIRED);
    check_watch_end(NULL, 403, "no", GW_FORBIDDEN);
}

static void test_watch_cancelled_inside(void **state)
{
    _cleanup_(api_client_freep) struct api_client *c = script_client();
    struct seen s = {0};

    s.call = api_watch(c, &API_PODS, NULL, NULL, on_event, on_end, &s);
    assert_false(script_data(script_call(c, 0), "{\"type\":\"ADDED\",\"object\":{\"n\":\"stop\"}}\n"
                                                "{\"type\":\"ADDED\",\"object\":{\"n\":\"never\"}}\n"));
    assert_string_equal(s.text, "0:stop ");
    assert_int_equal(s.done, 0);
    assert_int_equal(script_running(c), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_query),
        cmocka_unit_test(test_resources),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_lines_too_long),
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_status_retry_after),
        cmocka_unit_test(test_status_foreign_body),
        cmocka_unit_test(test_answer),
        cmocka_unit_test(test_answer_kept),
        cmocka_unit_test(test_answer_in_pieces),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_writes),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_watch),
        cmocka_unit_test(test_watch_ends),
        cmocka_unit_test(test_watch_cancelled_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
