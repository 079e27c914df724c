/* Values that only the holder of a key can read, also by the files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/fs.h"
#include "store/sealed_store.h"

#define SECRETS "/registry/core/secrets/"
#define OTHERS "/registry/core/configmaps/"
#define MARKER "{\"metadata\":{\"name\":\"find-me-in-the-files\"}}"

/* 32 bytes each. */
static const char *const keys[] = {
    "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=\n",
    "YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI=\n",
};

struct place {
    char folder[64];
    char *path;
    struct store *s;
};

static int set_up(void **state)
{
    struct place *p = xnew(struct place);

    strcpy(p->folder, "/tmp/godwit-test-sealed-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    p->path = xasprintf("%s/store.db", p->folder);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    struct place *p = *state;

    store_close(p->s);
    (void)fs_remove_tree(p->folder, NULL);
    free(p->path);
    free(p);
    return 0;
}

/* Opens the store anew with these keys (NULL: without). The error's text, or NULL. */
static char *reopen(struct place *p, const char *text)
{
    _cleanup_seal_keys_ struct seal_keys *k = NULL;
    _cleanup_store_ struct store *inner = NULL;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    p->s = store_close(p->s);
    assert_int_equal(text ? seal_keys_parse(text, &k, NULL) : 0, 0);
    assert_int_equal(store_open_sqlite(p->path, &inner, NULL), 0);
    if (store_open_sealed(inner, SECRETS, k, &p->s, &err) < 0)
        return xstrdup(gw_error_message(&err));
    if (!k)
        assert_ptr_equal(p->s, inner); /* no detour */
    inner = NULL;
    k = NULL;
    return NULL;
}

static void must_open(struct place *p, const char *text)
{
    _cleanup_free_ char *failure = reopen(p, text);

    if (failure)
        fail_msg("%s", failure);
}

static void must_not_open(struct place *p, const char *text, const char *why)
{
    _cleanup_free_ char *failure = reopen(p, text);

    assert_non_null(failure);
    assert_non_null(strstr(failure, why));
}

static int64_t put(struct place *p, const char *key, const char *text)
{
    _cleanup_blob_ struct blob *b = blob_text(text);
    int64_t revision = 0;

    assert_int_equal(store_put(p->s, key, b, STORE_ANY, &revision, NULL), 0);
    return revision;
}

static void assert_value(struct place *p, const char *key, int64_t at, const char *want)
{
    _cleanup_store_item_ struct store_item item = {0};

    assert_int_equal(store_get(p->s, key, at, &item, NULL), 0);
    assert_int_equal(item.value->len, strlen(want));
    assert_memory_equal(item.value->data, want, strlen(want));
}

static size_t found_in_files(struct place *p, const char *needle)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        _cleanup_free_ char *path = xasprintf("%s%s", p->path, ends[i]), *data = NULL;
        size_t len = 0;

        if (fs_read(path, 0, &data, &len, NULL) == 0)
            n += memmem(data, len, needle, strlen(needle)) != NULL;
    }
    return n;
}

static void what_is_written_comes_back(void **state)
{
    struct place *p = *state;
    _cleanup_store_watch_ struct store_watch *w = NULL;
    _cleanup_store_list_ struct store_list list = {0};
    int64_t first, second;

    must_open(p, keys[0]);
    assert_int_equal(store_watch_open(p->s, 0, &w, NULL), 0);
    first = put(p, SECRETS "a/s", MARKER);
    second = put(p, SECRETS "a/s", "{\"metadata\":{}}");
    put(p, OTHERS "a/c", "plain");
    assert_int_equal(store_delete(p->s, SECRETS "a/s", second, NULL, NULL), 0);
    put(p, SECRETS "a/t", "");

    assert_value(p, SECRETS "a/s", first, MARKER);
    assert_value(p, SECRETS "a/s", second, "{\"metadata\":{}}");
    assert_value(p, SECRETS "a/t", 0, "");
    assert_int_equal(store_list(p->s, &(struct store_list_options){.revision = first, .prefix = SECRETS}, &list, NULL),
                     0);
    assert_int_equal(list.len, 1);
    assert_string_equal(list.items[0].value->data, MARKER);

    static const char *const values[] = {MARKER, "{\"metadata\":{}}", "plain", NULL, ""};
    static const char *const previous[] = {NULL, MARKER, NULL, "{\"metadata\":{}}", NULL};

    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        _cleanup_store_event_ struct store_event e = {0};

        assert_int_equal(store_watch_next(w, &e, NULL), 1);
        assert_int_equal(e.value != NULL, values[i] != NULL);
        assert_int_equal(e.previous != NULL, previous[i] != NULL);
        if (e.value)
            assert_string_equal(e.value->data, values[i]);
        if (e.previous)
            assert_string_equal(e.previous->data, previous[i]);
    }
}

static void the_files_do_not_tell(void **state)
{
    struct place *p = *state;

    must_open(p, keys[0]);
    put(p, SECRETS "a/s", MARKER);
    assert_int_equal(found_in_files(p, "find-me"), 0);
    put(p, OTHERS "a/c", MARKER);
    assert_int_equal(found_in_files(p, "find-me") > 0, 1); /* it can be found */
}

static void plain_ones_are_wiped_when_a_key_comes(void **state)
{
    struct place *p = *state;

    must_open(p, NULL);
    for (int i = 0; i < 300; i++) {
        _cleanup_free_ char *key = xasprintf(SECRETS "a/s%d", i);
        put(p, key, MARKER);
    }
    put(p, SECRETS "a/s0", "{\"metadata\":{}}");
    assert_int_equal(store_delete(p->s, SECRETS "a/s1", STORE_ANY, NULL, NULL), 0);
    put(p, OTHERS "a/c", "plain");
    assert_int_equal(found_in_files(p, "find-me") > 0, 1);

    must_open(p, keys[0]);
    assert_int_equal(found_in_files(p, "find-me"), 0);
    assert_value(p, SECRETS "a/s0", 0, "{\"metadata\":{}}");
    assert_value(p, SECRETS "a/s299", 0, MARKER);
    assert_value(p, OTHERS "a/c", 0, "plain");

    int64_t revision = store_revision(p->s, NULL);

    must_open(p, keys[0]);
    assert_int_equal(store_revision(p->s, NULL), revision); /* once */
}

static void keys_take_turns(void **state)
{
    struct place *p = *state;
    _cleanup_free_ char *both = xasprintf("\n%s\n%s", keys[1], keys[0]);

    must_open(p, keys[0]);
    put(p, SECRETS "a/s", MARKER);
    must_not_open(p, NULL, "no key was given");
    must_not_open(p, keys[1], "a key that was not given");
    must_open(p, both);
    assert_value(p, SECRETS "a/s", 0, MARKER);
    must_open(p, keys[1]); /* the old one is needed no more */
    assert_value(p, SECRETS "a/s", 0, MARKER);
    must_not_open(p, keys[0], "a key that was not given");
}

/* Somebody writes to the files: another's value, a changed one, a plain one. */
static void what_was_tampered_with_is_not_believed(void **state)
{
    struct place *p = *state;
    _cleanup_store_item_ struct store_item item = {0};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    must_open(p, keys[0]);
    put(p, SECRETS "a/s", MARKER);
    p->s = store_close(p->s);
    assert_int_equal(store_open_sqlite(p->path, &p->s, NULL), 0);
    assert_int_equal(store_get(p->s, SECRETS "a/s", 0, &item, NULL), 0);
    assert_true(seal_is_sealed(item.value));

    _cleanup_blob_ struct blob *changed = blob_new(item.value->data, item.value->len);

    changed->data[40] ^= 1;
    assert_int_equal(store_put(p->s, SECRETS "a/moved", item.value, STORE_ANY, NULL, NULL), 0);
    assert_int_equal(store_put(p->s, SECRETS "a/changed", changed, STORE_ANY, NULL, NULL), 0);
    put(p, SECRETS "a/plain", MARKER);
    must_open(p, keys[0]);
    assert_value(p, SECRETS "a/s", 0, MARKER);

    static const char *const bad[] = {SECRETS "a/moved", SECRETS "a/changed", SECRETS "a/plain"};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct store_item none = {0};
        int r = store_get(p->s, bad[i], 0, &none, &err);

        assert_true(r < 0 && r != -ENOENT);
        assert_int_equal(err.reason, GW_INTERNAL_ERROR);
        gw_error_done(&err);
    }
}

static void key_files_are_read_strictly(void **state)
{
    static const char *const bad[] = {"", "\n \n", "YWFh\n", "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=\n!\n"};

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
        struct seal_keys *k = NULL;

        assert_true(seal_keys_parse(bad[i], &k, &err) < 0);
        assert_non_null(strstr(gw_error_message(&err), "32 bytes in base64"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_written_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_files_do_not_tell, set_up, tear_down),
        cmocka_unit_test_setup_teardown(plain_ones_are_wiped_when_a_key_comes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_take_turns, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_tampered_with_is_not_believed, set_up, tear_down),
        cmocka_unit_test(key_files_are_read_strictly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
