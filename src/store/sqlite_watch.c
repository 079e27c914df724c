/* A watch first reads the changes between its start and the moment it joined the event log from the history, a page at
 * a time, then follows the log. */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/alloc.h"
#include "store/sqlite_store.h"

#define PAGE 256

struct sqlite_watch {
    struct store_watch watch;
    struct event_reader reader;
    int64_t delivered; /* the last revision given out or skipped */
    int64_t joined;    /* up to here from the history */
    struct store_event page[PAGE];
    size_t page_len, page_at;
};

static void read_event(sqlite3_stmt *st, struct store_event *e)
{
    *e = (struct store_event){
        .revision = sqlite3_column_int64(st, 0),
        .is_create = sqlite3_column_int64(st, 1) == 0,
        .created = sqlite3_column_int64(st, 2),
        .key = sqlite_column_key(st, 3),
        .value = sqlite_column_value(st, 4),
        .previous = sqlite_column_value(st, 5),
    };
    e->is_delete = !e->value;
}

static int read_page(struct sqlite_conn *c, struct sqlite_watch *w, struct gw_error *err)
{
    int64_t compacted, newest;
    int step = SQLITE_DONE, r = sqlite_conn_state(c, &compacted, &newest, err);

    if (r < 0)
        return r;
    if (w->delivered < compacted)
        return store_error_compacted(err);

    _cleanup_statement_ sqlite3_stmt *st = sqlite_conn_statement(c, SQL_CHANGES);

    if (!st)
        return sqlite_conn_error(c, "reading changes", err);
    sqlite3_bind_int64(st, 1, w->delivered);
    sqlite3_bind_int64(st, 2, w->joined);
    sqlite3_bind_int64(st, 3, PAGE);
    w->page_len = w->page_at = 0;
    while ((step = sqlite3_step(st)) == SQLITE_ROW)
        read_event(st, &w->page[w->page_len++]);
    if (step != SQLITE_DONE)
        return sqlite_conn_error(c, "reading changes", err);
    if (w->page_len == 0)
        w->delivered = w->joined;
    return 0;
}

static int next_page(struct sqlite_watch *w, struct gw_error *err)
{
    struct sqlite_store *s = sqlite_store_of(w->watch.store);
    struct sqlite_conn *c;
    int r = sqlite_reader_acquire(s, &c, err);

    if (r < 0)
        return r;
    r = read_page(c, w, err);
    sqlite_reader_release(s, c);
    return r;
}

int sqlite_watch_next(struct store_watch *watch, struct store_event *ret, struct gw_error *err)
{
    struct sqlite_watch *w = CONTAINER_OF(watch, struct sqlite_watch, watch);

    if (w->page_at == w->page_len && w->delivered < w->joined) {
        int r = next_page(w, err);

        if (r < 0)
            return r;
    }
    if (w->page_at < w->page_len) {
        *ret = w->page[w->page_at];
        w->page[w->page_at++] = (struct store_event){0};
        w->delivered = ret->revision;
        return 1;
    }
    while (event_reader_next(&sqlite_store_of(watch->store)->log, &w->reader, ret)) {
        if (ret->revision > w->delivered) {
            w->delivered = ret->revision;
            return 1;
        }
        store_event_done(ret);
    }
    return 0;
}

/* Whether the changes after `from` are all still there; newest: what a reader sees now. */
static int check_start(struct sqlite_store *s, int64_t from, struct gw_error *err)
{
    int64_t compacted, newest;
    struct sqlite_conn *c;
    int r = sqlite_reader_acquire(s, &c, err);

    if (r < 0)
        return r;
    r = sqlite_conn_state(c, &compacted, &newest, err);
    sqlite_reader_release(s, c);
    if (r < 0)
        return r;
    if (from && from < compacted)
        return store_error_compacted(err);
    return from > newest ? store_error_future(from, newest, err) : 0;
}

int sqlite_watch_open(struct store *store, int64_t from, struct store_watch **ret, struct gw_error *err)
{
    struct sqlite_store *s = sqlite_store_of(store);
    int r = check_start(s, from, err);

    if (r < 0)
        return r;

    int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0)
        return gw_error_errno(err, errno, "cannot make an eventfd for a watch");

    struct sqlite_watch *w = xnew(struct sqlite_watch);
    w->watch = (struct store_watch){.store = store, .fd = fd};
    event_reader_join(&s->log, &w->reader, fd, &w->joined);
    w->delivered = from ? from : w->joined;
    *ret = &w->watch;
    return 0;
}

void sqlite_watch_close(struct store_watch *watch)
{
    struct sqlite_watch *w = CONTAINER_OF(watch, struct sqlite_watch, watch);

    event_reader_leave(&sqlite_store_of(watch->store)->log, &w->reader);
    for (size_t i = w->page_at; i < w->page_len; i++)
        store_event_done(&w->page[i]);
    close(w->watch.fd);
    free(w);
}
