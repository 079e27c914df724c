#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "store/sqlite_store.h"

/* Checks that the state at *revision can be read, after setting it to the newest one if it is 0. */
static int settle_revision(struct sqlite_conn *c, int64_t *revision, struct gw_error *err)
{
    int64_t compacted, newest;
    int r = sqlite_conn_state(c, &compacted, &newest, err);

    if (r < 0)
        return r;
    if (*revision == 0)
        *revision = newest;
    if (*revision < compacted)
        return store_error_compacted(err);
    return *revision > newest ? store_error_future(*revision, newest, err) : 0;
}

static int get_in(struct sqlite_conn *c, const char *key, int64_t revision, struct store_item *ret,
                  struct gw_error *err)
{
    int r = revision ? settle_revision(c, &revision, err) : 0;

    if (r < 0)
        return r;

    _cleanup_statement_ sqlite3_stmt *st = sqlite_conn_statement(c, revision ? SQL_GET_AT : SQL_GET);

    if (!st)
        return sqlite_conn_error(c, "reading a key", err);
    sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
    if (revision)
        sqlite3_bind_int64(st, 2, revision);
    r = sqlite3_step(st);
    if (r == SQLITE_DONE)
        return store_error_absent(key, err);
    if (r != SQLITE_ROW)
        return sqlite_conn_error(c, "reading a key", err);
    *ret = (struct store_item){
        .key = xstrdup(key),
        .revision = sqlite3_column_int64(st, 0),
        .created = sqlite3_column_int64(st, 1),
        .value = sqlite_column_value(st, 2),
    };
    return 0;
}

int sqlite_get(struct store *store, const char *key, int64_t revision, struct store_item *ret, struct gw_error *err)
{
    struct sqlite_store *s = sqlite_store_of(store);
    struct sqlite_conn *c;
    int r = sqlite_reader_acquire(s, &c, err);

    if (r < 0)
        return r;
    r = get_in(c, key, revision, ret, err);
    sqlite_reader_release(s, c);
    return r;
}

/* The range of a list as first <= key < end. Keys are text without control characters: the first key behind K is K\1.
 */
struct range {
    char *first, *end;
    int64_t revision;
};

static void range_done(struct range *r)
{
    free(r->first);
    free(r->end);
}

static char *prefix_end(const char *prefix)
{
    char *end = *prefix ? xstrdup(prefix) : xstrdup("\xff");

    if (*prefix)
        end[strlen(end) - 1]++;
    return end;
}

static void bind_range(sqlite3_stmt *st, const struct range *r)
{
    sqlite3_bind_text(st, 1, r->first, -1, SQLITE_STATIC);
    sqlite3_bind_text(st, 2, r->end, -1, SQLITE_STATIC);
    sqlite3_bind_int64(st, 3, r->revision);
}

static int fetch(struct sqlite_conn *c, struct store_item *item, struct gw_error *err)
{
    _cleanup_statement_ sqlite3_stmt *st = sqlite_conn_statement(c, SQL_FETCH);

    if (!st)
        return sqlite_conn_error(c, "reading a version", err);
    sqlite3_bind_int64(st, 1, item->revision);
    if (sqlite3_step(st) != SQLITE_ROW)
        return sqlite_conn_error(c, "reading a version", err);
    item->created = sqlite3_column_int64(st, 0);
    item->value = sqlite_column_value(st, 1);
    return 0;
}

static int read_items(struct sqlite_conn *c, const struct range *range, size_t limit, struct store_list *l,
                      struct gw_error *err)
{
    _cleanup_statement_ sqlite3_stmt *st = sqlite_conn_statement(c, SQL_VERSIONS);
    size_t capacity = 0;
    int step = SQLITE_DONE, r;

    if (!st)
        return sqlite_conn_error(c, "listing", err);
    bind_range(st, range);
    sqlite3_bind_int64(st, 4, limit ? (int64_t)limit : -1);
    while ((step = sqlite3_step(st)) == SQLITE_ROW) {
        if (l->len == capacity) {
            capacity = capacity ? capacity * 2 : 32;
            l->items = xrealloc(l->items, capacity * sizeof(*l->items));
        }
        struct store_item *item = &l->items[l->len++];

        *item = (struct store_item){.key = sqlite_column_key(st, 0), .revision = sqlite3_column_int64(st, 1)};
        r = fetch(c, item, err);
        if (r < 0)
            return r;
    }
    return step == SQLITE_DONE ? 0 : sqlite_conn_error(c, "listing", err);
}

static int count_behind(struct sqlite_conn *c, const struct range *range, int64_t *ret, struct gw_error *err)
{
    _cleanup_statement_ sqlite3_stmt *st = sqlite_conn_statement(c, SQL_COUNT);

    if (st)
        bind_range(st, range);
    if (!st || sqlite3_step(st) != SQLITE_ROW)
        return sqlite_conn_error(c, "counting", err);
    *ret = sqlite3_column_int64(st, 0);
    return 0;
}

static int list_in(struct sqlite_conn *c, const struct store_list_options *o, struct store_list *l,
                   struct gw_error *err)
{
    const char *prefix = o->prefix ? o->prefix : "";
    bool after = o->after_key && strcmp(o->after_key, prefix) >= 0;
    __attribute__((cleanup(range_done))) struct range range = {
        .first = after ? xasprintf("%s\1", o->after_key) : xstrdup(prefix),
        .end = prefix_end(prefix),
        .revision = o->revision,
    };
    int r = settle_revision(c, &range.revision, err);

    if (r == 0)
        r = read_items(c, &range, o->limit, l, err);
    if (r == 0 && o->limit && l->len == o->limit) {
        free(range.first);
        range.first = xasprintf("%s\1", l->items[l->len - 1].key);
        r = count_behind(c, &range, &l->remaining, err);
    }
    l->revision = range.revision;
    return r;
}

int sqlite_list(struct store *store, const struct store_list_options *o, struct store_list *ret, struct gw_error *err)
{
    struct sqlite_store *s = sqlite_store_of(store);
    _cleanup_store_list_ struct store_list l = {0};
    struct sqlite_conn *c;
    int r = sqlite_reader_acquire(s, &c, err);

    if (r < 0)
        return r;
    r = list_in(c, o, &l, err);
    sqlite_reader_release(s, c);
    if (r < 0)
        return r;
    *ret = l;
    l = (struct store_list){0};
    return 0;
}
