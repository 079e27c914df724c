/* An informer's list and watch against a scripted server. The cache inside: test-cache.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "change-log.h"
#include "client/informer.h"
#include "script.h"
#include "virtual.h"

struct fixture {
    struct str log; /* first */
    struct virtual *v;
    struct api_client *c;
    struct env *env;
    struct informer *inf;
};

static int set_up(void **state)
{
    struct fixture *f = xnew(struct fixture);

    f->v = virtual_new(7);
    f->c = script_client();
    f->env = virtual_env(f->v, f->c);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    informer_free(f->inf);
    api_client_free(f->c);
    virtual_env_free(f->env);
    virtual_free(f->v);
    str_done(&f->log);
    free(f);
    return 0;
}

static void start(struct fixture *f)
{
    struct informer_config cfg = {.resource = &API_PODS, .label_selector = "app=x"};

    f->inf = informer_new(f->env, &cfg);
    informer_add_handler(f->inf, log_change, f);
}

#define ITEM(name, version) \
    "{\"metadata\":{\"namespace\":\"d\",\"name\":\"" name "\",\"uid\":\"u-" name "\",\"resourceVersion\":\"" version "\"}}"
#define LIST(version, more, items) \
    "{\"metadata\":{\"resourceVersion\":\"" version "\",\"continue\":\"" more "\"},\"items\":[" items "]}"
#define EVENT(type, name, version) "{\"type\":\"" type "\",\"object\":" ITEM(name, version) "}\n"

static const char *path(struct fixture *f)
{
    assert_int_equal(script_running(f->c), 1);
    return script_call(f->c, 0)->path;
}

static void test_list_in_pages_then_watch(void **state)
{
    struct fixture *f = *state;

    start(f);
    assert_string_equal(path(f), "/api/v1/pods?labelSelector=app%3Dx&limit=500");
    script_answer(script_call(f->c, 0), 200, LIST("9", "token", ITEM("a", "5")));
    assert_string_equal(path(f), "/api/v1/pods?labelSelector=app%3Dx&limit=500&continue=token");
    assert_false(informer_has_synced(f->inf));
    script_answer(script_call(f->c, 0), 200, LIST("9", "", ITEM("b", "6")));
    assert_true(informer_has_synced(f->inf));
    expect_log(&f->log, "+d/a:5 +d/b:6 ");
    assert_non_null(strstr(path(f), "/api/v1/pods?labelSelector=app%3Dx&allowWatchBookmarks=true&resourceVersion=9&"));
    assert_non_null(strstr(path(f), "watch=true"));
    script_data(script_call(f->c, 0), EVENT("MODIFIED", "a", "10") EVENT("ADDED", "c", "11"));
    expect_log(&f->log, "~d/a:10 +d/c:11 ");
    assert_int_equal(informer_len(f->inf), 3);
    assert_non_null(informer_get_ns(f->inf, "d", "c"));
    assert_string_equal(json_str(informer_get(f->inf, "d/c"), "/kind"), "Pod");
}

static void synced(struct fixture *f)
{
    start(f);
    script_answer(script_call(f->c, 0), 200, LIST("9", "", ITEM("a", "5")));
    str_done(&f->log);
}

static void test_watch_resumes(void **state)
{
    struct fixture *f = *state;

    synced(f);
    script_data(script_call(f->c, 0), EVENT("MODIFIED", "a", "12"));
    script_answer(script_call(f->c, 0), 200, NULL); /* closed in good order */
    assert_int_equal(script_running(f->c), 0);
    assert_int_equal(informer_lost_since(f->inf), 0);
    virtual_run(f->v, 200);
    assert_non_null(strstr(path(f), "resourceVersion=12&"));
    script_fail(script_call(f->c, 0), GW_SERVICE_UNAVAILABLE, "connection reset");
    assert_true(informer_lost_since(f->inf) > 0);
    assert_string_equal(informer_error(f->inf), "connection reset");
    virtual_run(f->v, 700);
    assert_non_null(strstr(path(f), "resourceVersion=12&"));
    script_data(script_call(f->c, 0), EVENT("MODIFIED", "a", "13"));
    assert_int_equal(informer_lost_since(f->inf), 0);
    expect_log(&f->log, "~d/a:12 ~d/a:13 ");
}

static void check_relist(struct fixture *f)
{
    assert_int_equal(script_running(f->c), 0);
    virtual_run(f->v, 700);
    assert_string_equal(path(f), "/api/v1/pods?labelSelector=app%3Dx&limit=500");
    assert_true(informer_has_synced(f->inf)); /* stale, but not empty */
    script_answer(script_call(f->c, 0), 200, LIST("99", "", ITEM("b", "50")));
    expect_log(&f->log, "+d/b:50 -d/a ");
    assert_non_null(strstr(path(f), "resourceVersion=99&"));
}

static void test_expired_in_the_stream(void **state)
{
    struct fixture *f = *state;

    synced(f);
    script_data(script_call(f->c, 0),
                "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"reason\":\"Expired\",\"code\":410}}\n");
    check_relist(f);
}

static void test_expired_by_http(void **state)
{
    struct fixture *f = *state;

    synced(f);
    script_answer(script_call(f->c, 0), 410, "{\"kind\":\"Status\",\"reason\":\"Expired\",\"code\":410}");
    check_relist(f);
}

static void test_expired_page(void **state)
{
    struct fixture *f = *state;

    start(f);
    script_answer(script_call(f->c, 0), 200, LIST("9", "token", ITEM("a", "5")));
    script_answer(script_call(f->c, 0), 410, NULL);
    virtual_run(f->v, 700);
    assert_string_equal(path(f), "/api/v1/pods?labelSelector=app%3Dx&limit=500");
}

static void test_back_off_grows_and_obeys_retry_after(void **state)
{
    struct fixture *f = *state;
    size_t before;

    start(f);
    for (int i = 0; i < 8; i++) {
        script_fail(script_call(f->c, 0), GW_SERVICE_UNAVAILABLE, "down");
        virtual_run(f->v, 40000);
    }
    before = script_started(f->c);
    script_fail(script_call(f->c, 0), GW_SERVICE_UNAVAILABLE, "down");
    virtual_run(f->v, 20000);
    assert_int_equal(script_started(f->c), before);
    virtual_run(f->v, 20000);
    assert_int_equal(script_started(f->c), before + 1);
    script_answer(script_call(f->c, 0), 429,
                  "{\"kind\":\"Status\",\"reason\":\"TooManyRequests\",\"code\":429,\"details\":{\"retryAfterSeconds\":100}}");
    virtual_run(f->v, 99000);
    assert_int_equal(script_running(f->c), 0);
    virtual_run(f->v, 2000);
    assert_int_equal(script_running(f->c), 1);
}

static void test_server_that_closes_at_once_makes_no_spin(void **state)
{
    struct fixture *f = *state;
    size_t before;

    synced(f);
    before = script_started(f->c);
    for (int i = 0; i < 1000; i++) {
        if (script_running(f->c))
            script_answer(script_call(f->c, 0), 200, NULL);
        virtual_run(f->v, 1);
    }
    assert_in_range(script_started(f->c) - before, 1, 13);
}

static void test_observe_through_informer(void **state)
{
    struct fixture *f = *state;
    _cleanup_doc_ yyjson_doc *doc = yyjson_read(ITEM("n", "10"), strlen(ITEM("n", "10")), 0);

    synced(f);
    informer_observe(f->inf, yyjson_doc_get_root(doc));
    script_data(script_call(f->c, 0), EVENT("ADDED", "n", "10"));
    informer_observe_deleted(f->inf, "d/n", "u-n");
    expect_log(&f->log, "+d/n:10 -d/n ");
}

static void test_freed_while_busy(void **state)
{
    struct fixture *f = *state;

    synced(f);
    f->inf = informer_free(f->inf);
    assert_int_equal(script_running(f->c), 0);
    start(f);
    script_fail(script_call(f->c, 0), GW_SERVICE_UNAVAILABLE, "down");
    f->inf = informer_free(f->inf);
    virtual_run(f->v, 60000);
    assert_int_equal(script_running(f->c), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_list_in_pages_then_watch),
        T(test_watch_resumes),
        T(test_expired_in_the_stream),
        T(test_expired_by_http),
        T(test_expired_page),
        T(test_back_off_grows_and_obeys_retry_after),
        T(test_server_that_closes_at_once_makes_no_spin),
        T(test_observe_through_informer),
        T(test_freed_while_busy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
