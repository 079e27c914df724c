/* The cache inside an informer, with made-up histories. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/str.h"
#include "client/cache.h"
#include "change-log.h"

struct fixture {
    struct str log; /* first */
    struct cache *cache;
    bool crowded;
};

static void note_waking(void *userdata, bool crowded)
{
    struct fixture *f = userdata;

    f->crowded = f->crowded || crowded;
}

static void by_node(yyjson_val *obj, struct index_values *out)
{
    index_value(out, json_str(obj, "/spec/nodeName"));
    index_value(out, json_str(obj, "/spec/nodeName")); /* twice is no harm */
}

static int set_up(void **state)
{
    struct fixture *f = xnew(struct fixture);

    f->cache = cache_new(&API_PODS, NULL, log_change, note_waking, f);
    cache_add_index(f->cache, "node", by_node);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    cache_free(f->cache);
    str_done(&f->log);
    free(f);
    return 0;
}

static yyjson_doc *pod_doc(const char *name, int version, const char *uid, const char *node)
{
    _cleanup_free_ char *text = xasprintf("{\"metadata\":{\"namespace\":\"d\",\"name\":\"%s\",\"uid\":\"%s\","
                                          "\"resourceVersion\":\"%d\",\"ownerReferences\":[{\"uid\":\"own-%s\"}]},"
                                          "\"spec\":{\"nodeName\":\"%s\"}}",
                                          name, uid, version, uid, node);
    yyjson_doc *doc = NULL;

    assert_int_equal(json_parse(text, strlen(text), &doc, NULL), 0);
    return doc;
}

static void event(struct fixture *f, enum api_event_type type, const char *name, int version, const char *uid)
{
    _cleanup_doc_ yyjson_doc *doc = pod_doc(name, version, uid, "n1");

    cache_event(f->cache, type, yyjson_doc_get_root(doc));
}

static void observe(struct fixture *f, const char *name, int version, const char *uid)
{
    _cleanup_doc_ yyjson_doc *doc = pod_doc(name, version, uid, "n1");

    cache_observe(f->cache, yyjson_doc_get_root(doc));
}

static void item(struct fixture *f, const char *name, int version, const char *uid)
{
    _cleanup_doc_ yyjson_doc *doc = pod_doc(name, version, uid, "n1");

    cache_list_item(f->cache, yyjson_doc_get_root(doc));
}

static size_t selected(struct fixture *f, const char *index, const char *value)
{
    _cleanup_val_vec_ struct val_vec v = {0};

    cache_select(f->cache, index, value, &v);
    return v.len;
}

static void test_events(void **state)
{
    struct fixture *f = *state;

    event(f, API_ADDED, "a", 5, "ua");
    event(f, API_MODIFIED, "a", 6, "ua");
    event(f, API_BOOKMARK, "", 9, "");
    event(f, API_DELETED, "a", 10, "ua");
    expect_log(&f->log, "+d/a:5 ~d/a:6 -d/a ");
    assert_int_equal(cache_seen(f->cache), 10);
    assert_int_equal(cache_len(f->cache), 0);
}

static void test_repeated_and_late_events(void **state)
{
    struct fixture *f = *state;

    event(f, API_ADDED, "a", 5, "ua");
    event(f, API_ADDED, "a", 5, "ua");
    event(f, API_MODIFIED, "a", 7, "ua");
    event(f, API_MODIFIED, "a", 6, "ua");
    event(f, API_DELETED, "a", 8, "ua");
    event(f, API_MODIFIED, "a", 7, "ua"); /* must not bring it back */
    event(f, API_ADDED, "a", 9, "ub");
    event(f, API_DELETED, "a", 8, "ua"); /* must not end its successor */
    expect_log(&f->log, "+d/a:5 ~d/a:7 -d/a +d/a:9 ");
}

static void test_delete_with_the_last_version(void **state)
{
    struct fixture *f = *state;

    event(f, API_ADDED, "a", 5, "ua");
    event(f, API_DELETED, "a", 5, "ua");
    expect_log(&f->log, "+d/a:5 -d/a ");
}

static void test_indexes(void **state)
{
    struct fixture *f = *state;
    _cleanup_doc_ yyjson_doc *moved = pod_doc("a", 8, "ua", "n2");

    event(f, API_ADDED, "a", 5, "ua");
    event(f, API_ADDED, "b", 6, "ub");
    assert_int_equal(selected(f, "node", "n1"), 2);
    assert_int_equal(selected(f, INDEX_OWNER, "own-ua"), 1);
    cache_event(f->cache, API_MODIFIED, yyjson_doc_get_root(moved));
    assert_int_equal(selected(f, "node", "n1"), 1);
    assert_int_equal(selected(f, "node", "n2"), 1);
    event(f, API_DELETED, "b", 9, "ub");
    assert_int_equal(selected(f, "node", "n1"), 0);
    assert_int_equal(selected(f, "nosuch", "n2"), 0);
    assert_int_equal(selected(f, "node", NULL), 0);
    cache_add_index(f->cache, "late", by_node);
    assert_int_equal(selected(f, "late", "n2"), 1);
}

static void test_observed_write_comes_before_its_event(void **state)
{
    struct fixture *f = *state;

    event(f, API_ADDED, "a", 5, "ua");
    observe(f, "a", 9, "ua");
    expect_log(&f->log, "+d/a:5 ~d/a:9 ");
    event(f, API_MODIFIED, "a", 7, "ua"); /* history */
    event(f, API_MODIFIED, "a", 9, "ua");
    expect_log(&f->log, "");
    event(f, API_MODIFIED, "a", 10, "ua");
    expect_log(&f->log, "~d/a:10 ");
}

static void test_observed_after_the_watch_passed(void **state)
{
    struct fixture *f = *state;

    event(f, API_ADDED, "a", 5, "ua");
    event(f, API_DELETED, "a", 6, "ua");
    observe(f, "a", 5, "ua"); /* the answer to the create came late */
    expect_log(&f->log, "+d/a:5 -d/a ");
}

static void test_observed_delete(void **state)
{
    struct fixture *f = *state;

    event(f, API_ADDED, "a", 5, "ua");
    cache_observe_deleted(f->cache, "d/a", "other");
    cache_observe_deleted(f->cache, "d/none", "ua");
    expect_log(&f->log, "+d/a:5 ");
    cache_observe_deleted(f->cache, "d/a", "ua");
    event(f, API_MODIFIED, "a", 6, "ua"); /* from before the delete */
    event(f, API_DELETED, "a", 7, "ua");
    event(f, API_ADDED, "a", 8, "ub");
    expect_log(&f->log, "-d/a +d/a:8 ");
}

static void test_list_replaces(void **state)
{
    struct fixture *f = *state;

    event(f, API_ADDED, "a", 5, "ua");
    event(f, API_ADDED, "b", 6, "ub");
    event(f, API_ADDED, "c", 7, "uc");
    observe(f, "new", 21, "un"); /* written after the list was read */
    expect_log(&f->log, "+d/a:5 +d/b:6 +d/c:7 +d/new:21 ");
    cache_list_begin(f->cache, 20);
    item(f, "a", 5, "ua");
    item(f, "b", 9, "ub");
    item(f, "d", 15, "ud");
    cache_list_end(f->cache);
    expect_log(&f->log, "~d/b:9 +d/d:15 -d/c ");
    assert_int_equal(cache_seen(f->cache), 20);
    event(f, API_ADDED, "x", 19, "ux"); /* from before the list */
    expect_log(&f->log, "");
}

static void test_list_after_observed_delete(void **state)
{
    struct fixture *f = *state;

    event(f, API_ADDED, "a", 5, "ua");
    event(f, API_ADDED, "b", 6, "ub");
    cache_observe_deleted(f->cache, "d/a", "ua");
    str_done(&f->log);
    cache_list_begin(f->cache, 7); /* read before the delete */
    item(f, "a", 5, "ua");
    item(f, "b", 6, "ub");
    cache_list_end(f->cache);
    expect_log(&f->log, "");
    cache_list_begin(f->cache, 12); /* and after it */
    item(f, "b", 6, "ub");
    cache_list_end(f->cache);
    event(f, API_ADDED, "a", 13, "ua2");
    expect_log(&f->log, "+d/a:13 ");
}

static void test_server_restored_from_older_state(void **state)
{
    struct fixture *f = *state;

    event(f, API_ADDED, "a", 50, "ua");
    event(f, API_ADDED, "b", 60, "ub");
    str_done(&f->log);
    cache_list_begin(f->cache, 40);
    item(f, "a", 30, "ua");
    cache_list_end(f->cache);
    expect_log(&f->log, "~d/a:30 -d/b ");
    event(f, API_MODIFIED, "a", 41, "ua");
    expect_log(&f->log, "~d/a:41 ");
}

static void test_list_begun_anew(void **state)
{
    struct fixture *f = *state;

    cache_list_begin(f->cache, 5);
    item(f, "a", 3, "ua");
    cache_list_begin(f->cache, 9);
    item(f, "b", 8, "ub");
    cache_list_end(f->cache);
    expect_log(&f->log, "+d/a:3 +d/b:8 -d/a ");
}

static void test_rest(void **state)
{
    struct fixture *f = *state;

    event(f, API_ADDED, "a", 5, "ua");
    event(f, API_ADDED, "b", 6, "ub");
    assert_int_equal(cache_rest(f->cache), 2); /* both were just shown to the handler */
    assert_string_equal(json_str(cache_get(f->cache, "d/a"), "/metadata/uid"), "ua");
    assert_int_equal(cache_rest(f->cache), 1);
    assert_int_equal(cache_rest(f->cache), 0);
    assert_int_equal(selected(f, "node", "n1"), 2); /* read anew */
    event(f, API_DELETED, "a", 9, "ua");
    assert_int_equal(cache_rest(f->cache), 1);
    assert_string_equal(json_str(cache_get(f->cache, "d/b"), "/metadata/uid"), "ub");
    expect_log(&f->log, "+d/a:5 +d/b:6 -d/a ");
}

static void count_object(void *userdata, const char *key, yyjson_val *obj)
{
    char name[16];
    size_t *n = userdata;

    snprintf(name, sizeof(name), "d/%s", json_str_or(obj, "/metadata/name", ""));
    assert_string_equal(key, name);
    (*n)++;
}

/* Many objects are packed while they rest; nobody sees a difference. */
static void test_many(void **state)
{
    struct fixture *f = *state;
    char name[16], uid[16];
    size_t n = 0;

    for (int i = 0; i < CACHE_CROWDED + 500; i++) {
        snprintf(name, sizeof(name), "p%d", i);
        snprintf(uid, sizeof(uid), "u%d", i);
        assert_true(f->crowded == (i >= CACHE_CROWDED));
        event(f, API_ADDED, name, i + 1, uid);
    }
    assert_int_equal(cache_rest(f->cache), 0); /* although all were just shown */
    assert_int_equal(cache_rest(f->cache), 0);
    cache_each(f->cache, count_object, &n);
    assert_int_equal(n, CACHE_CROWDED + 500);
    assert_int_equal(cache_rest(f->cache), 0); /* that decoded none for good */
    for (int i = 0; i < CACHE_CROWDED + 500; i += 7) {
        snprintf(name, sizeof(name), "d/p%d", i);
        snprintf(uid, sizeof(uid), "u%d", i);
        assert_string_equal(json_str(cache_get(f->cache, name), "/metadata/uid"), uid);
        assert_string_equal(json_str(cache_get(f->cache, name), "/spec/nodeName"), "n1");
    }
    str_done(&f->log);
    event(f, API_MODIFIED, "p7", 5000, "u7");
    event(f, API_DELETED, "p8", 5001, "u8");
    expect_log(&f->log, "~d/p7:5000 -d/p8 ");
    assert_int_equal(selected(f, "node", "n1"), CACHE_CROWDED + 499);
    assert_int_equal(selected(f, INDEX_OWNER, "own-u9"), 1);
}

static void test_trim(void **state)
{
    static const char text[] =
        "{\"metadata\":{\"name\":\"a\",\"managedFields\":[1],\"annotations\":{\"k\":\"v\","
        "\"kubectl.kubernetes.io/last-applied-configuration\":\"x\"}},\"spec\":{\"a\":{\"b\":1,\"c\":2}},\"status\":{}}";
    static const char *const keep[] = {"/spec/a/b", "/spec/none", NULL};
    _cleanup_doc_ yyjson_doc *doc = NULL, *some = NULL, *all = NULL;

    assert_int_equal(json_parse(text, strlen(text), &doc, NULL), 0);
    some = object_trim(yyjson_doc_get_root(doc), "v1", "Pod", keep);
    _cleanup_blob_ struct blob *b = json_encode_val(yyjson_doc_get_root(some));
    assert_string_equal(b->data, "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"annotations\":"
                                 "{\"k\":\"v\"}},\"spec\":{\"a\":{\"b\":1}}}");
    all = object_trim(yyjson_doc_get_root(doc), "v1", "Pod", NULL);
    assert_int_equal(json_int(yyjson_doc_get_root(all), "/spec/a/c", 0), 2);
    assert_null(json_at(yyjson_doc_get_root(all), "/metadata/managedFields"));
}

static void test_keys(void **state)
{
    char ns[OBJECT_KEY_MAX], name[OBJECT_KEY_MAX];

    object_key_split("a/b", ns, name);
    assert_string_equal(ns, "a");
    assert_string_equal(name, "b");
    object_key_split("node1", ns, name);
    assert_string_equal(ns, "");
    assert_string_equal(name, "node1");
    assert_string_equal(object_key_of("", "n", ns), "n");
    assert_string_equal(object_key_of("x", "n", ns), "x/n");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_events),
        T(test_repeated_and_late_events),
        T(test_delete_with_the_last_version),
        T(test_indexes),
        T(test_observed_write_comes_before_its_event),
        T(test_observed_after_the_watch_passed),
        T(test_observed_delete),
        T(test_list_replaces),
        T(test_list_after_observed_delete),
        T(test_server_restored_from_older_state),
        T(test_list_begun_anew),
        T(test_rest),
        T(test_many),
        T(test_trim),
        T(test_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
