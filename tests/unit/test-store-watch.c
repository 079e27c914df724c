/* What a store tells of its changes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "store-fixture.h"

static bool readable(struct store_watch *w)
{
    struct pollfd fd = {.fd = store_watch_fd(w), .events = POLLIN};

    return poll(&fd, 1, 0) == 1;
}

/* "+key=value" created, "~key=value<previous" changed, "-key<previous" removed. */
static char *next_event(struct store_watch *w, int64_t *ret_revision)
{
    _cleanup_store_event_ struct store_event e = {0};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    int r = store_watch_next(w, &e, &err);

    if (r <= 0)
        return xstrdup(r == 0 ? "none" : gw_reason_string(err.reason));
    assert_true(e.revision > *ret_revision);
    *ret_revision = e.revision;
    if (e.is_delete)
        return xasprintf("-%s<%s", e.key, e.previous->data);
    if (e.is_create) {
        assert_null(e.previous);
        assert_int_equal(e.created, e.revision);
        return xasprintf("+%s=%s", e.key, e.value->data);
    }
    return xasprintf("~%s=%s<%s", e.key, e.value->data, e.previous->data);
}

#define assert_event(w, revision, expected) \
    do { \
        _cleanup_free_ char *_text = next_event(w, revision); \
        assert_string_equal(_text, expected); \
    } while (0)

static void test_watch_gets_changes_at_once(void **state)
{
    struct place *p = *state;
    _cleanup_store_watch_ struct store_watch *w = NULL;
    int64_t seen = 0;

    put(p->s, "/before", "1", STORE_ANY);
    assert_int_equal(store_watch_open(p->s, 0, &w, NULL), 0);
    assert_event(w, &seen, "none");
    assert_false(readable(w));
    put(p->s, "/a", "1", STORE_ANY);
    assert_true(readable(w));
    put(p->s, "/a", "2", STORE_ANY);
    assert_int_equal(put(p->s, "/a", "x", STORE_ABSENT), -EEXIST);
    store_delete(p->s, "/a", STORE_ANY, NULL, NULL);
    assert_event(w, &seen, "+/a=1");
    assert_event(w, &seen, "~/a=2<1");
    assert_event(w, &seen, "-/a<2");
    assert_int_equal(seen, store_revision(p->s, NULL));
    assert_event(w, &seen, "none");
    assert_false(readable(w));
}

static void test_watch_begins_in_the_past(void **state)
{
    struct place *p = *state;
    struct store_watch *w = NULL;
    int64_t start = put(p->s, "/a", "0", STORE_ANY), seen = start;
    char value[16], expected[48];

    for (int i = 1; i <= 600; i++) {
        snprintf(value, sizeof(value), "%d", i);
        put(p->s, "/a", value, STORE_ANY);
        if (i == 300 && *p->folder) { /* history of an earlier life of the process */
            store_close(p->s);
            open_at(p);
        }
    }
    assert_int_equal(store_watch_open(p->s, start, &w, NULL), 0);
    put(p->s, "/b", "live", STORE_ANY);
    assert_true(readable(w));
    for (int i = 1; i <= 600; i++) {
        snprintf(expected, sizeof(expected), "~/a=%d<%d", i, i - 1);
        assert_event(w, &seen, expected);
    }
    assert_event(w, &seen, "+/b=live");
    assert_event(w, &seen, "none");
    store_watch_close(w);
}

static void test_watch_of_compacted_and_future_revisions(void **state)
{
    struct place *p = *state;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct store_watch *w = NULL;
    int64_t r1 = put(p->s, "/a", "1", STORE_ANY), r2 = put(p->s, "/a", "2", STORE_ANY), seen = 0;

    put(p->s, "/a", "3", STORE_ANY);
    assert_int_equal(store_compact(p->s, r2, NULL), 0);
    assert_true(store_watch_open(p->s, r1, &w, &err) < 0);
    assert_int_equal(err.reason, GW_EXPIRED);
    assert_true(store_watch_open(p->s, r2 + 10, &w, &err) < 0);
    assert_int_equal(err.reason, GW_TIMEOUT);
    assert_int_equal(store_watch_open(p->s, r2, &w, NULL), 0);
    assert_event(w, &seen, "~/a=3<2");
    store_watch_close(w);
}

static void test_watch_that_falls_behind_compaction(void **state)
{
    struct place *p = *state;
    _cleanup_store_watch_ struct store_watch *w = NULL;
    int64_t start = put(p->s, "/a", "1", STORE_ANY), seen = 0;

    put(p->s, "/a", "2", STORE_ANY);
    assert_int_equal(store_watch_open(p->s, start, &w, NULL), 0);
    assert_int_equal(store_compact(p->s, store_revision(p->s, NULL), NULL), 0);
    assert_event(w, &seen, "Expired");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EVERYWHERE(test_watch_gets_changes_at_once),
        EVERYWHERE(test_watch_begins_in_the_past),
        EVERYWHERE(test_watch_of_compacted_and_future_revisions),
        EVERYWHERE(test_watch_that_falls_behind_compaction),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
