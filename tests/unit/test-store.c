/* Values, lists, preconditions, compaction, files of a store. Its events: test-store-watch.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/str.h"
#include "store-fixture.h"
#include "store/sqlite_store.h"

/* "key=value key=value +remaining" of a list. */
static char *list_text(struct store *s, struct store_list_options o)
{
    _cleanup_store_list_ struct store_list l = {0};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct str text = {0};

    if (store_list(s, &o, &l, &err) < 0)
        return xstrdup(gw_reason_string(err.reason));
    for (size_t i = 0; i < l.len; i++)
        str_printf(&text, "%s=%s ", l.items[i].key, l.items[i].value->data);
    str_printf(&text, "+%lld", (long long)l.remaining);
    return str_take(&text);
}

#define assert_list(s, expected, ...) \
    do { \
        _cleanup_free_ char *_text = list_text(s, (struct store_list_options){__VA_ARGS__}); \
        assert_string_equal(_text, expected); \
    } while (0)

static void test_an_empty_store_is_at_revision_1(void **state)
{
    struct place *p = *state;

    assert_int_equal(store_revision(p->s, NULL), 1);
    assert_list(p->s, "+0");
    assert_value(p->s, "/a", 0, NULL);
}

static void test_preconditions(void **state)
{
    struct place *p = *state;
    _cleanup_blob_ struct blob *b = blob_text("x");
    int64_t present = 0, a = put(p->s, "/a", "1", STORE_ABSENT);

    assert_int_equal(a, 2);
    assert_int_equal(store_put(p->s, "/a", b, STORE_ABSENT, &present, NULL), -EEXIST);
    assert_int_equal(present, a);
    assert_int_equal(store_put(p->s, "/b", b, 7, &present, NULL), -ENOENT);
    assert_int_equal(store_put(p->s, "/a", b, a + 1, &present, NULL), -ESTALE);
    assert_int_equal(present, a);
    assert_int_equal(put(p->s, "/a", "2", a), a + 1);
    assert_int_equal(put(p->s, "/a", "3", STORE_ANY), a + 2);
    assert_int_equal(store_delete(p->s, "/a", a, &present, NULL), -ESTALE);
    assert_int_equal(present, a + 2);
    assert_int_equal(store_delete(p->s, "/a", a + 2, &present, NULL), 0);
    assert_int_equal(present, a + 3);
    assert_int_equal(store_delete(p->s, "/a", STORE_ANY, NULL, NULL), -ENOENT);
    assert_int_equal(store_revision(p->s, NULL), a + 3);
}

static void test_errors_carry_reasons(void **state)
{
    struct place *p = *state;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_blob_ struct blob *b = blob_text("x");
    struct store_item item = {0};
    int64_t a = put(p->s, "/a", "1", STORE_ABSENT);

    assert_true(store_put(p->s, "/a", b, STORE_ABSENT, NULL, &err) < 0);
    assert_int_equal(err.reason, GW_ALREADY_EXISTS);
    assert_true(store_put(p->s, "/a", b, a + 5, NULL, &err) < 0);
    assert_int_equal(err.reason, GW_CONFLICT);
    assert_true(store_get(p->s, "/b", 0, &item, &err) < 0);
    assert_int_equal(err.reason, GW_NOT_FOUND);
    assert_true(store_get(p->s, "/a", 99, &item, &err) < 0);
    assert_int_equal(err.reason, GW_TIMEOUT);
    assert_string_equal(err.message, "Timeout: Too large resource version: 99, current: 2");
    assert_int_equal(err.retry_after_s, 1);
    assert_string_equal(err.causes[0].type, "ResourceVersionTooLarge");
}

static void test_reads_at_a_revision(void **state)
{
    struct place *p = *state;
    int64_t r1 = put(p->s, "/a", "1", STORE_ANY), r2 = put(p->s, "/a", "2", STORE_ANY), r3;

    assert_int_equal(store_delete(p->s, "/a", STORE_ANY, &r3, NULL), 0);
    int64_t r4 = put(p->s, "/a", "4", STORE_ANY);

    assert_value(p->s, "/a", r1 - 1, NULL);
    assert_value(p->s, "/a", r1, "1");
    assert_value(p->s, "/a", r2, "2");
    assert_value(p->s, "/a", r3, NULL);
    assert_value(p->s, "/a", r4, "4");
    assert_value(p->s, "/a", 0, "4");
}

static void test_create_revision_starts_anew_after_delete(void **state)
{
    struct place *p = *state;
    int64_t r1 = put(p->s, "/a", "1", STORE_ANY);

    for (int round = 0; round < 2; round++) {
        _cleanup_store_item_ struct store_item item = {0};

        put(p->s, "/a", "2", STORE_ANY);
        assert_int_equal(store_get(p->s, "/a", 0, &item, NULL), 0);
        assert_int_equal(item.created, r1);
        assert_int_equal(item.revision, r1 + 1);
        assert_int_equal(store_delete(p->s, "/a", STORE_ANY, NULL, NULL), 0);
        r1 = put(p->s, "/a", "3", STORE_ANY);
    }
}

static void test_lists_are_ordered_and_bounded_by_the_prefix(void **state)
{
    struct place *p = *state;

    put(p->s, "/p/b", "2", STORE_ANY);
    put(p->s, "/p/a", "1", STORE_ANY);
    put(p->s, "/p/a-b", "3", STORE_ANY);
    put(p->s, "/p0", "x", STORE_ANY);
    put(p->s, "/o", "y", STORE_ANY);
    assert_list(p->s, "/p/a=1 /p/a-b=3 /p/b=2 +0", .prefix = "/p/");
    assert_list(p->s, "/o=y /p/a=1 /p/a-b=3 /p/b=2 /p0=x +0");
    assert_list(p->s, "/p/a=1 /p/a-b=3 +1", .prefix = "/p/", .limit = 2);
    assert_list(p->s, "/p/b=2 +0", .prefix = "/p/", .after_key = "/p/a-b", .limit = 2);
    assert_list(p->s, "/p/a=1 /p/a-b=3 /p/b=2 +0", .prefix = "/p/", .after_key = "/a");
    assert_list(p->s, "+0", .prefix = "/p/", .after_key = "/z");
}

static void test_pages_come_from_one_snapshot(void **state)
{
    struct place *p = *state;
    char key[16];

    for (int i = 0; i < 6; i++) {
        snprintf(key, sizeof(key), "/%d", i);
        put(p->s, key, "old", STORE_ANY);
    }
    int64_t at = store_revision(p->s, NULL);

    assert_list(p->s, "/0=old /1=old +4", .limit = 2);
    put(p->s, "/2", "new", STORE_ANY);
    put(p->s, "/2", "newer", STORE_ANY);
    put(p->s, "/25", "added", STORE_ANY);
    store_delete(p->s, "/3", STORE_ANY, NULL, NULL);
    store_delete(p->s, "/4", STORE_ANY, NULL, NULL);
    put(p->s, "/4", "again", STORE_ANY);
    assert_list(p->s, "/2=old /3=old +2", .after_key = "/1", .limit = 2, .revision = at);
    assert_list(p->s, "/4=old /5=old +0", .after_key = "/3", .limit = 2, .revision = at);
    assert_list(p->s, "/2=newer /25=added /4=again /5=old +0", .after_key = "/1");
}

static void test_compaction_keeps_the_newest_versions(void **state)
{
    struct place *p = *state;
    int64_t a1 = put(p->s, "/a", "1", STORE_ANY), b1 = put(p->s, "/b", "1", STORE_ANY);
    int64_t a2 = put(p->s, "/a", "2", STORE_ANY), gone;

    store_delete(p->s, "/b", STORE_ANY, &gone, NULL);
    int64_t a3 = put(p->s, "/a", "3", STORE_ANY);

    assert_int_equal(store_compact(p->s, a2, NULL), 0);
    assert_int_equal(store_compact(p->s, a1, NULL), 0);
    assert_list(p->s, "Expired", .revision = b1);
    assert_list(p->s, "/a=2 /b=1 +0", .revision = a2);
    assert_list(p->s, "/a=2 +0", .revision = gone);
    assert_int_equal(store_compact(p->s, a3, NULL), 0);
    assert_list(p->s, "/a=3 +0", .revision = a3);
    assert_list(p->s, "Expired", .revision = gone);
    assert_true(store_compact(p->s, a3 + 1, NULL) < 0);
    assert_list(p->s, "/a=3 +0");
}

static void test_revisions_never_go_back_when_all_is_compacted(void **state)
{
    struct place *p = *state;
    int64_t last;

    for (int i = 0; i < 1200; i++)
        put(p->s, "/a", "1", STORE_ANY);
    store_delete(p->s, "/a", STORE_ANY, &last, NULL);
    assert_int_equal(store_compact(p->s, last, NULL), 0);
    if (*p->folder) {
        store_close(p->s);
        open_at(p);
    }
    assert_int_equal(store_revision(p->s, NULL), last);
    assert_int_equal(put(p->s, "/a", "2", STORE_ABSENT), last + 1);
}

static void test_values_are_shared(void **state)
{
    struct place *p = *state;
    struct store_watch *w[2];
    struct blob *b = blob_text("v");

    for (int i = 0; i < 2; i++)
        assert_int_equal(store_watch_open(p->s, 0, &w[i], NULL), 0);
    assert_int_equal(store_put(p->s, "/a", b, STORE_ANY, NULL, NULL), 0);
    for (int i = 0; i < 2; i++) {
        _cleanup_store_event_ struct store_event e = {0};

        assert_int_equal(store_watch_next(w[i], &e, NULL), 1);
        assert_ptr_equal(e.value, b);
    }
    for (int i = 0; i < 2; i++)
        store_watch_close(w[i]);
    blob_unref(b);
}

/* --- Many threads --- */

#define WRITERS 16
#define ROUNDS 100

/* Each writer counts up a shared key by optimistic concurrency, and adds keys of its own. */
static void *count_up(void *arg)
{
    struct store *s = arg;
    char key[48], text[16];

    for (int i = 0; i < ROUNDS; i++) {
        int64_t r;

        do {
            _cleanup_store_item_ struct store_item item = {0};

            if (store_get(s, "/n", 0, &item, NULL) < 0)
                return "get";
            snprintf(text, sizeof(text), "%d", atoi(item.value->data) + 1);
            r = put(s, "/n", text, item.revision);
        } while (r == -ESTALE);
        if (r < 0)
            return "put";
        snprintf(key, sizeof(key), "/t/%lx/%d", (unsigned long)pthread_self(), i);
        if (put(s, key, "x", STORE_ABSENT) < 0)
            return "create";
    }
    return NULL;
}

static void test_concurrent_writers_lose_nothing(void **state)
{
    struct place *p = *state;
    _cleanup_store_watch_ struct store_watch *w = NULL;
    _cleanup_store_list_ struct store_list l = {0};
    pthread_t threads[WRITERS];
    int64_t start = put(p->s, "/n", "0", STORE_ANY), last = start;
    int events = 0;

    assert_int_equal(store_watch_open(p->s, 0, &w, NULL), 0);
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, p->s), 0);
    for (int i = 0; i < WRITERS; i++) {
        void *failed;

        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_value(p->s, "/n", 0, "1600");
    assert_int_equal(store_revision(p->s, NULL), start + 2 * WRITERS * ROUNDS);
    for (;; events++) {
        _cleanup_store_event_ struct store_event e = {0};

        if (store_watch_next(w, &e, NULL) != 1)
            break;
        assert_int_equal(e.revision, ++last);
    }
    assert_int_equal(events, 2 * WRITERS * ROUNDS);
    assert_int_equal(store_list(p->s, &(struct store_list_options){.prefix = "/t/"}, &l, NULL), 0);
    assert_int_equal(l.len, WRITERS * ROUNDS);
}

/* --- Files --- */

static int put_resting_on(struct store *s, const char *key, int64_t expected, const char *other, int64_t revision)
{
    struct store_fact fact[] = {{(char *)other, revision}};
    const struct store_facts facts = {.items = fact, .len = 1};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_blob_ struct blob *b = blob_text("new");
    int r = store_change(s, key, b, expected, &facts, NULL, &err);

    assert_int_equal(err.reason, r < 0 ? GW_CONFLICT : GW_OK);
    return r;
}

static void test_a_change_rests_on_other_keys(void **state)
{
    struct store *s = ((struct place *)*state)->s;
    int64_t a = put(s, "/a", "1", STORE_ABSENT), b = put(s, "/b", "1", STORE_ABSENT);

    assert_int_equal(put_resting_on(s, "/b", b, "/a", a + 1), -ESTALE);
    assert_int_equal(put_resting_on(s, "/b", b, "/a", STORE_ABSENT), -ESTALE);
    assert_int_equal(put_resting_on(s, "/b", b, "/c", b), -ESTALE);
    assert_value(s, "/b", 0, "1");
    assert_int_equal(store_revision(s, NULL), b); /* a refusal is no change */
    assert_int_equal(put_resting_on(s, "/b", b, "/a", a), 0);
    assert_value(s, "/b", 0, "new");
    assert_int_equal(put_resting_on(s, "/b", STORE_ANY, "/c", STORE_ABSENT), 0);
    assert_int_equal(put_resting_on(s, "/b", b, "/a", a), -ESTALE); /* the key itself counts as ever */
    assert_int_equal(store_delete(s, "/a", a, NULL, NULL), 0);
    assert_int_equal(put_resting_on(s, "/b", STORE_ANY, "/a", a), -ESTALE);
    assert_int_equal(put_resting_on(s, "/b", STORE_ANY, "/a", STORE_ABSENT), 0);
}

static void test_reopening_finds_all(void **state)
{
    struct place *p = *state;
    int64_t r = put(p->s, "/a", "1", STORE_ANY);

    store_close(p->s);
    open_at(p);
    assert_int_equal(store_revision(p->s, NULL), r);
    assert_value(p->s, "/a", 0, "1");
    assert_int_equal(put(p->s, "/a", "2", r), r + 1);
}

static void test_files_are_private_and_locked(void **state)
{
    struct place *p = *state;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct store *second = NULL;
    struct stat st;

    assert_int_equal(stat(p->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_true(store_open_sqlite(p->path, &second, &err) < 0);
    assert_non_null(strstr(err.message, "in use by another process"));
    assert_true(store_open_sqlite("/nonexistent/x.db", &second, NULL) < 0);
}

static void *put_one(void *store)
{
    put(store, "/a", "1", STORE_ABSENT);
    return NULL;
}

/* The writer is held between the commit and the acknowledgement: a list has the change already, and whoever watches from
 * the list's revision on is not told that it lies in the future. */
static void test_what_can_be_read_has_been_reached(void **state)
{
    struct place *p = *state;
    struct event_log *log = &CONTAINER_OF(p->s, struct sqlite_store, store)->log;
    int64_t seen = 1;
    pthread_t thread;

    pthread_mutex_lock(&log->lock);
    assert_int_equal(pthread_create(&thread, NULL, put_one, p->s), 0);
    while (seen == 1) {
        _cleanup_store_list_ struct store_list l = {0};

        assert_int_equal(store_list(p->s, &(struct store_list_options){0}, &l, NULL), 0);
        seen = l.revision;
    }
    assert_int_equal(store_revision(p->s, NULL), 1);
    assert_int_equal(store_check_reached(p->s, seen, NULL), 0);
    assert_int_equal(store_check_reached(p->s, seen + 1, NULL), -ETIMEDOUT);
    pthread_mutex_unlock(&log->lock);
    pthread_join(thread, NULL);
}

static void test_retention(void **state)
{
    struct store_retention r = {.keep_ms = 300000, .keep_changes = 100};

    assert_int_equal(store_retention_note(&r, 0, 1000), 0);
    assert_int_equal(store_retention_note(&r, 299000, 5000), 0);
    assert_int_equal(store_retention_note(&r, 300000, 6000), 1000);
    assert_int_equal(store_retention_note(&r, 599000, 6050), 5000);
    assert_int_equal(store_retention_note(&r, 10000000, 6060), 5960);
    for (int64_t t = 0; t < 1000; t++) /* many samples: still a bound near keep_ms */
        store_retention_note(&r, 20000000 + t * 1000, 10000 + t * 10);
    assert_in_range(store_retention_note(&r, 21000000, 20000), 16800, 17000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        EVERYWHERE(test_an_empty_store_is_at_revision_1),
        EVERYWHERE(test_preconditions),
        EVERYWHERE(test_a_change_rests_on_other_keys),
        EVERYWHERE(test_errors_carry_reasons),
        EVERYWHERE(test_reads_at_a_revision),
        EVERYWHERE(test_create_revision_starts_anew_after_delete),
        EVERYWHERE(test_lists_are_ordered_and_bounded_by_the_prefix),
        EVERYWHERE(test_pages_come_from_one_snapshot),
        EVERYWHERE(test_compaction_keeps_the_newest_versions),
        EVERYWHERE(test_revisions_never_go_back_when_all_is_compacted),
        EVERYWHERE(test_values_are_shared),
        EVERYWHERE(test_concurrent_writers_lose_nothing),
        cmocka_unit_test_setup_teardown(test_reopening_finds_all, set_up_files, tear_down),
        cmocka_unit_test_setup_teardown(test_files_are_private_and_locked, set_up_files, tear_down),
        cmocka_unit_test_setup_teardown(test_what_can_be_read_has_been_reached, set_up_files, tear_down),
        cmocka_unit_test(test_retention),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
