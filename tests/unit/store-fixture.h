/* Stores for tests: in memory and in files. */
#pragma once

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fs.h"
#include "store/store.h"

/* Each test runs on a store in memory and on one in files. */
struct place {
    char folder[64];
    char *path;
    struct store *s;
};

static void open_at(struct place *p)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (store_open_sqlite(p->path, &p->s, &err) < 0)
        fail_msg("%s", gw_error_message(&err));
}

static _unused_ int set_up_memory(void **state)
{
    struct place *p = xnew(struct place);

    p->path = xstrdup(":memory:");
    open_at(p);
    *state = p;
    return 0;
}

static _unused_ int set_up_files(void **state)
{
    struct place *p = xnew(struct place);

    strcpy(p->folder, "/tmp/godwit-test-store-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    p->path = xasprintf("%s/store.db", p->folder);
    open_at(p);
    *state = p;
    return 0;
}

static _unused_ int tear_down(void **state)
{
    struct place *p = *state;

    store_close(p->s);
    if (*p->folder)
        (void)fs_remove_tree(p->folder, NULL);
    free(p->path);
    free(p);
    return 0;
}

static _unused_ int64_t put(struct store *s, const char *key, const char *text, int64_t expected)
{
    _cleanup_blob_ struct blob *b = blob_text(text);
    int64_t revision = 0;
    int r = store_put(s, key, b, expected, &revision, NULL);

    return r < 0 ? r : revision;
}

static _unused_ void assert_value(struct store *s, const char *key, int64_t at, const char *expected)
{
    _cleanup_store_item_ struct store_item item = {0};
    int r = store_get(s, key, at, &item, NULL);

    if (!expected) {
        assert_int_equal(r, -ENOENT);
        return;
    }
    assert_int_equal(r, 0);
    assert_string_equal(item.key, key);
    assert_string_equal(item.value->data, expected);
}

#define EVERYWHERE(t) \
    {"memory: " #t, t, set_up_memory, tear_down, NULL}, \
    { \
        "files: " #t, t, set_up_files, tear_down, NULL \
    }
