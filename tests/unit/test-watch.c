#include "rest-fixture.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

#define MERGE "application/merge-patch+json"
#define TABLE "application/json;as=Table;v=v1;g=meta.k8s.io"

static struct watcher *watch_as(struct fixture *f, const char *target, const char *accept)
{
    struct reply r = ask(f, "GET", target, NULL, NULL, accept);
    struct watcher *w = TAKE_PTR(r.response.watch);

    if (!w)
        fail_msg("no watch: %d %s", r.status, r.text);
    assert_int_equal(r.status, 200);
    reply_done(&r);
    return w;
}

static struct watcher *watch(struct fixture *f, const char *query)
{
    _cleanup_free_ char *target = xasprintf("%s?watch=true%s", VMS, query);

    return watch_as(f, target, NULL);
}

DEFINE_CLEANUP(struct watcher *, watcher_close)
#define _cleanup_watcher_ _cleanup_(watcher_closep)

/* All lines that wait, joined; "end" or "cut" behind them when the stream is over. */
static char *lines(struct fixture *f, struct watcher *w)
{
    struct api_parts parts = {0};
    struct str text = {0};
    int r;

    (void)watch_hub_dispatch(f->server.hub, f->now);
    while ((r = watcher_next(w, &parts)) > 0) {
        _cleanup_blob_ struct blob *b = api_parts_join(&parts);

        str_add(&text, b->data, b->len);
        api_parts_clear(&parts);
    }
    if (r < 0)
        str_puts(&text, r == -ENODATA ? "end" : "cut");
    return str_take(&text);
}

static void summarize(struct str *out, const char *line, size_t len)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;
    yyjson_val *v;

    if (json_parse(line, len, &doc, NULL) < 0) {
        str_add(out, line, len);
        return;
    }
    v = yyjson_doc_get_root(doc);
    str_printf(out, "%s %s %s;", json_str_or(v, "/type", "?"),
               json_str_or(v, "/object/metadata/name", json_str_or(v, "/object/rows/0/cells/0", "-")),
               json_str_or(v, "/object/metadata/resourceVersion", json_str_or(v, "/object/message", "-")));
}

/* "TYPE name revision;" for each line. */
static char *summary(struct fixture *f, struct watcher *w)
{
    _cleanup_free_ char *text = lines(f, w);
    struct str out = {0};

    for (const char *line = text; *line;) {
        const char *end = strchrnul(line, '\n');

        summarize(&out, line, (size_t)(end - line));
        line = *end ? end + 1 : end;
    }
    return str_take(&out);
}

#define assert_events(f, w, expected) \
    do { \
        _cleanup_free_ char *_text = summary(f, w); \
        assert_string_equal(_text, expected); \
    } while (0)

static void test_present_state_then_changes(void **state)
{
    struct fixture *f = *state;

    make_vm(f, "a");
    _cleanup_watcher_ struct watcher *w = watch(f, "");

    assert_events(f, w, "ADDED a 3;");
    make_vm(f, "b");
    expect(f, 200, "PATCH", VMS "/a", "{\"spec\":{\"cores\":2}}", MERGE);
    expect(f, 200, "DELETE", VMS "/b");
    expect(f, 201, "POST", PODS, POD("p", "{}"));
    assert_events(f, w, "ADDED b 4;MODIFIED a 5;DELETED b 6;");
    assert_events(f, w, "");
}

static void test_from_a_revision(void **state)
{
    struct fixture *f = *state;

    make_vm(f, "a");
    make_vm(f, "b");
    _cleanup_watcher_ struct watcher *before = watch(f, "&resourceVersion=3");

    make_vm(f, "c");
    (void)watch_hub_dispatch(f->server.hub, f->now);
    _cleanup_watcher_ struct watcher *after = watch(f, "&resourceVersion=3"), *newest = watch(f, "&resourceVersion=5");

    assert_events(f, before, "ADDED b 4;ADDED c 5;");
    assert_events(f, after, "ADDED b 4;ADDED c 5;");
    assert_events(f, newest, "");
    expect(f, 504, "GET", VMS "?watch=true&resourceVersion=99");
}

static void test_start_that_the_ring_has_forgotten(void **state)
{
    struct fixture *f = *state;
    char patch[48];

    make_vm(f, "a");
    for (int i = 0; i < 2500; i++) {
        snprintf(patch, sizeof(patch), "{\"spec\":{\"cores\":%d}}", i + 2);
        expect(f, 200, "PATCH", VMS "/a", patch, MERGE);
    }
    (void)watch_hub_dispatch(f->server.hub, f->now);
    _cleanup_watcher_ struct watcher *w = watch(f, "&resourceVersion=3");
    _cleanup_free_ char *text = lines(f, w);
    int n = 0;

    for (const char *p = text; (p = strchr(p, '\n')); p++)
        n++;
    assert_int_equal(n, 2500);
}

static void test_start_that_is_compacted(void **state)
{
    struct fixture *f = *state;

    make_vm(f, "a");
    make_vm(f, "b");
    expect(f, 200, "DELETE", VMS "/a");
    assert_int_equal(store_compact(f->server.store, 5, NULL), 0);
    for (int i = 0; i < 2100; i++) { /* out of the ring too */
        char patch[48];

        snprintf(patch, sizeof(patch), "{\"spec\":{\"cores\":%d}}", i + 2);
        expect(f, 200, "PATCH", VMS "/b", patch, MERGE);
    }
    (void)watch_hub_dispatch(f->server.hub, f->now);
    _cleanup_watcher_ struct watcher *w = watch(f, "&resourceVersion=1");
    _cleanup_free_ char *text = lines(f, w);

    assert_string_equal(
        text, "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":"
              "\"Failure\","
              "\"message\":\"too old resource version: 1 (2105)\",\"reason\":\"Expired\",\"code\":410}}\nend");
}

static void test_selections(void **state)
{
    struct fixture *f = *state;
    _cleanup_watcher_ struct watcher *labels = watch(f, "&labelSelector=app%3Dx"),
                                     *fields = watch(f, "&fieldSelector=metadata.name%3Da");
    _cleanup_watcher_ struct watcher *everywhere = watch_as(f, "/apis/kubevirt.io/v1/virtualmachines?watch=1", NULL);
    _cleanup_watcher_ struct watcher *elsewhere =
        watch_as(f, "/apis/kubevirt.io/v1/namespaces/other/virtualmachines?watch=1", NULL);

    make_vm(f, "a");
    make_vm(f, "ab");
    expect(f, 200, "PATCH", VMS "/a", "{\"metadata\":{\"labels\":{\"app\":\"x\"}}}", MERGE);
    expect(f, 200, "PATCH", VMS "/a", "{\"spec\":{\"cores\":2}}", MERGE);
    expect(f, 200, "PATCH", VMS "/a", "{\"metadata\":{\"labels\":{\"app\":\"z\"}}}", MERGE);
    expect(f, 200, "DELETE", VMS "/a");
    _cleanup_free_ char *text = lines(f, labels);

    /* Entering is ADDED, leaving is DELETED with the last object that was in, at the revision of its leaving. */
    assert_non_null(strstr(text, "{\"type\":\"ADDED\""));
    assert_non_null(strstr(text, "{\"type\":\"MODIFIED\""));
    const char *gone = strstr(text, "{\"type\":\"DELETED\"");

    assert_non_null(gone);
    assert_non_null(strstr(gone, "\"resourceVersion\":\"7\""));
    assert_non_null(strstr(gone, "\"app\":\"x\""));
    assert_events(f, fields, "ADDED a 3;MODIFIED a 5;MODIFIED a 6;MODIFIED a 7;DELETED a 8;");
    assert_events(f, everywhere, "ADDED a 3;ADDED ab 4;MODIFIED a 5;MODIFIED a 6;MODIFIED a 7;DELETED a 8;");
    assert_events(f, elsewhere, "");
}

static void test_lines_hold_whole_objects(void **state)
{
    struct fixture *f = *state;
    _cleanup_watcher_ struct watcher *v1 = watch(f, "");
    _cleanup_watcher_ struct watcher *old = watch_as(f, "/apis/kubevirt.io/v1alpha3/virtualmachines?watch=1", NULL);

    make_vm(f, "a");
    _cleanup_reply_ struct reply r = ask(f, "GET", VMS "/a");
    _cleanup_free_ char *expected = xasprintf("{\"type\":\"ADDED\",\"object\":%s}\n", r.text), *text = lines(f, v1),
                        *other = lines(f, old);

    assert_string_equal(text, expected);
    assert_non_null(strstr(other, "\"apiVersion\":\"kubevirt.io/v1alpha3\""));
}

static void test_tables_name_their_columns_once(void **state)
{
    struct fixture *f = *state;
    _cleanup_watcher_ struct watcher *w = watch_as(f, VMS "?watch=1", TABLE),
                                     *second = watch_as(f, VMS "?watch=1", TABLE);

    make_vm(f, "a");
    f->now += 5000;
    _cleanup_free_ char *first = lines(f, w);

    expect(f, 200, "PATCH", VMS "/a", "{\"spec\":{\"cores\":2}}", MERGE);
    _cleanup_free_ char *then = lines(f, w);

    assert_non_null(strstr(first, "\"columnDefinitions\":[{\"name\":\"Name\""));
    assert_non_null(strstr(first, "\"cells\":[\"a\",\"5s\",null]"));
    assert_non_null(strstr(then, "\"columnDefinitions\":null"));
    assert_non_null(strstr(then, "\"kind\":\"PartialObjectMetadata\""));
    assert_events(f, second, "ADDED a 3;MODIFIED a 4;");
}

static void test_bookmarks_and_timeouts(void **state)
{
    struct fixture *f = *state;
    _cleanup_watcher_ struct watcher *asked = watch(f, "&allowWatchBookmarks=true&timeoutSeconds=100"),
                                     *not = watch(f, "&timeoutSeconds=100");

    expect(f, 201, "POST", PODS, POD("p", "{}"));
    assert_int_equal(watch_hub_dispatch(f->server.hub, f->now), 60000);
    f->now += 60000;
    assert_int_equal(watch_hub_dispatch(f->server.hub, f->now), 40000);
    _cleanup_free_ char *text = lines(f, asked);

    assert_string_equal(text,
                        "{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"TestMachine\",\"apiVersion\":\"kubevirt.io/v1\","
                        "\"metadata\":{\"resourceVersion\":\"3\"}}}\n");
    assert_events(f, not, "");
    f->now += 40000;
    assert_events(f, asked, "BOOKMARK - 3;end");
    assert_events(f, not, "end");
    assert_int_equal(watch_hub_dispatch(f->server.hub, f->now), -1);
}

static void test_an_earlier_deadline_wakes_the_loop(void **state)
{
    struct fixture *f = *state;
    struct pollfd fd = {.fd = watch_hub_fd(f->server.hub), .events = POLLIN};
    _cleanup_watcher_ _unused_ struct watcher *late = watch(f, "&resourceVersion=2&timeoutSeconds=100");

    assert_int_equal(watch_hub_dispatch(f->server.hub, f->now), 100000);
    assert_int_equal(poll(&fd, 1, 0), 0);
    _cleanup_watcher_ _unused_ struct watcher *soon = watch(f, "&resourceVersion=2&timeoutSeconds=5");

    assert_int_equal(poll(&fd, 1, 0), 1);
    assert_int_equal(watch_hub_dispatch(f->server.hub, f->now), 5000);
    assert_int_equal(poll(&fd, 1, 0), 0);
}

static void test_watch_list(void **state)
{
    struct fixture *f = *state;
    char name[16];

    for (int i = 0; i < 250; i++) { /* several pages */
        snprintf(name, sizeof(name), "vm-%03d", i);
        make_vm(f, name);
    }
    _cleanup_watcher_ struct watcher *w =
        watch(f, "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true");

    expect(f, 200, "DELETE", VMS "/vm-249"); /* not part of the initial state */
    _cleanup_free_ char *text = summary(f, w);

    assert_true(str_starts(text, "ADDED vm-000 3;ADDED vm-001 4;"));
    assert_true(str_ends(text, "ADDED vm-249 252;BOOKMARK - 252;DELETED vm-249 253;"));
    _cleanup_watcher_ struct watcher *empty =
        watch_as(f,
                 "/apis/kubevirt.io/v1/namespaces/none/virtualmachines?watch=1&"
                 "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
                 NULL);
    _cleanup_free_ char *end = lines(f, empty);

    assert_non_null(strstr(end, "\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}"));
    expect(f, 400, "GET", VMS "?watch=1&sendInitialEvents=true");
}

static void test_initial_state_that_is_compacted_meanwhile(void **state)
{
    struct fixture *f = *state;
    struct api_parts parts = {0};
    char name[16];

    for (int i = 0; i < 250; i++) {
        snprintf(name, sizeof(name), "vm-%03d", i);
        make_vm(f, name);
    }
    _cleanup_watcher_ struct watcher *w = watch(f, "");

    expect(f, 200, "DELETE", VMS "/vm-249");
    assert_int_equal(store_compact(f->server.store, store_revision(f->server.store, NULL), NULL), 0);
    assert_int_equal(watcher_next(w, &parts), 1);
    api_parts_clear(&parts);
    _cleanup_free_ char *rest = lines(f, w);

    assert_non_null(strstr(rest, "\"reason\":\"Expired\""));
    assert_true(str_ends(rest, "end"));
}

static void test_slow_readers_are_cut(void **state)
{
    struct fixture *f = *state;
    _cleanup_watcher_ struct watcher *slow = watch(f, ""), *quick = watch(f, "");
    size_t len = 1 << 20;
    char *annotation = xmalloc(len + 1);

    memset(annotation, 'x', len);
    annotation[len] = '\0';
    make_vm(f, "a");
    for (int i = 0; i < 20; i++) {
        _cleanup_free_ char *big = xasprintf("{\"metadata\":{\"name\":\"a\"},\"n\":%d,\"x\":\"%s\"}", i, annotation);
        _cleanup_blob_ struct blob *b = blob_text(big);

        assert_int_equal(
            store_put(f->server.store, "/registry/kubevirt.io/virtualmachines/demo/a", b, STORE_ANY, NULL, NULL), 0);
        (void)watch_hub_dispatch(f->server.hub, f->now);
        _cleanup_free_ char *taken = lines(f, quick);

        assert_true(strlen(taken) > len);
    }
    free(annotation);
    assert_events(f, slow, "cut");
}

static void count_call(void *userdata)
{
    ++*(int *)userdata;
}

static void test_ready_functions(void **state)
{
    struct fixture *f = *state;
    _cleanup_watcher_ struct watcher *w = watch(f, "&resourceVersion=2"),
                                     *other = watch(f, "&resourceVersion=2&fieldSelector=metadata.name%3Dz");
    struct pollfd fd = {.fd = watch_hub_fd(f->server.hub), .events = POLLIN};
    int calls = 0, other_calls = 0;

    (void)watch_hub_dispatch(f->server.hub, f->now);
    assert_int_equal(poll(&fd, 1, 0), 0);
    watcher_on_ready(w, count_call, &calls);
    watcher_on_ready(other, count_call, &other_calls);
    assert_int_equal(calls, 0);
    make_vm(f, "a");
    make_vm(f, "b");
    assert_int_equal(poll(&fd, 1, 0), 1);
    (void)watch_hub_dispatch(f->server.hub, f->now);
    assert_int_equal(calls, 1); /* once per dispatch */
    assert_int_equal(other_calls, 0);
    watcher_on_ready(w, count_call, &calls); /* something waits already */
    assert_int_equal(calls, 2);
}

static void close_itself(void *userdata)
{
    struct watcher **w = userdata;

    *w = watcher_close(*w);
}

static void test_watchers_may_close_in_their_ready_function(void **state)
{
    struct fixture *f = *state;
    struct watcher *w = watch(f, "&resourceVersion=2");

    watcher_on_ready(w, close_itself, &w);
    make_vm(f, "a");
    (void)watch_hub_dispatch(f->server.hub, f->now);
    assert_null(w);
    assert_int_equal(watch_hub_watchers(f->server.hub), 0);
}

static void test_drain_ends_all(void **state)
{
    struct fixture *f = *state;
    _cleanup_watcher_ struct watcher *w = watch(f, "&resourceVersion=2");

    watch_hub_drain(f->server.hub);
    assert_events(f, w, "end");
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_present_state_then_changes),
        TEST(test_from_a_revision),
        TEST(test_start_that_the_ring_has_forgotten),
        TEST(test_start_that_is_compacted),
        TEST(test_selections),
        TEST(test_lines_hold_whole_objects),
        TEST(test_tables_name_their_columns_once),
        TEST(test_bookmarks_and_timeouts),
        TEST(test_an_earlier_deadline_wakes_the_loop),
        TEST(test_watch_list),
        TEST(test_initial_state_that_is_compacted_meanwhile),
        TEST(test_slow_readers_are_cut),
        TEST(test_ready_functions),
        TEST(test_watchers_may_close_in_their_ready_function),
        TEST(test_drain_ends_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
