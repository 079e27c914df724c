/* The writer: batches, preconditions, compaction. The theory is in sqlite_store.c. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "store/sqlite_store.h"

/* Changes in one transaction: enough that the sync is paid by many, few enough that the first does not wait for long.
 */
#define BATCH_MAX 512

/* Revisions per step of a compaction, for the same reason. */
#define COMPACT_STEP 500

/* The events of a transaction, which become visible only if it commits. */
struct batch_events {
    struct event_node *first, *last;
};

static void add_event(struct batch_events *b, struct store_event *e)
{
    struct event_node *n = event_node_new(e);

    if (b->last)
        b->last->next = n;
    else
        b->first = n;
    b->last = n;
}

/* What is there now: revision 0 when the key is absent. */
static int find_present(struct sqlite_conn *c, const char *key, struct store_item *ret, struct gw_error *err)
{
    _cleanup_statement_ sqlite3_stmt *st = sqlite_conn_statement(c, SQL_GET);
    int step;

    if (!st)
        return sqlite_conn_error(c, "reading a key", err);
    sqlite3_bind_text(st, 1, key, -1, SQLITE_STATIC);
    step = sqlite3_step(st);
    if (step == SQLITE_ROW) {
        ret->revision = sqlite3_column_int64(st, 0);
        ret->created = sqlite3_column_int64(st, 1);
        ret->value = sqlite_column_value(st, 2);
    }
    return step == SQLITE_ROW || step == SQLITE_DONE ? 0 : sqlite_conn_error(c, "reading a key", err);
}

static int check_expected(const struct write_request *w, int64_t present, struct gw_error *err)
{
    if (present == 0 && (w->expected > 0 || !w->value))
        return store_error_absent(w->key, err);
    if (w->expected == STORE_ABSENT && present != 0)
        return store_error_exists(w->key, err);
    if (w->expected > 0 && w->expected != present)
        return store_error_stale(w->key, w->expected, present, err);
    return 0;
}

/* As apply_change: what does not hold goes to the request alone. */
static int check_facts(struct sqlite_conn *c, struct write_request *w, struct gw_error *err)
{
    int r = 0;

    for (size_t i = 0; w->facts && w->result == 0 && r == 0 && i < w->facts->len; i++) {
        const struct store_fact *fact = &w->facts->items[i];
        _cleanup_store_item_ struct store_item present = {0};

        r = find_present(c, fact->key, &present, err);
        if (r == 0 && present.revision != fact->revision)
            w->result = store_error_stale(fact->key, fact->revision, present.revision, &w->error);
    }
    return r;
}

static int add_version(struct sqlite_conn *c, const struct write_request *w, int64_t prev, int64_t created,
                       struct gw_error *err)
{
    _cleanup_statement_ sqlite3_stmt *st = sqlite_conn_statement(c, SQL_ADD_VERSION);

    if (!st)
        return sqlite_conn_error(c, "writing a version", err);
    sqlite3_bind_int64(st, 1, w->revision);
    sqlite3_bind_int64(st, 2, prev);
    sqlite3_bind_int64(st, 3, created);
    sqlite3_bind_text(st, 4, w->key, -1, SQLITE_STATIC);
    if (w->value)
        sqlite3_bind_blob64(st, 5, w->value->data, w->value->len, SQLITE_STATIC);
    return sqlite3_step(st) == SQLITE_DONE ? 0 : sqlite_conn_error(c, "writing a version", err);
}

static int set_current(struct sqlite_conn *c, const struct write_request *w, int64_t created, struct gw_error *err)
{
    _cleanup_statement_ sqlite3_stmt *st = sqlite_conn_statement(c, w->value ? SQL_SET_CURRENT : SQL_DROP_CURRENT);

    if (!st)
        return sqlite_conn_error(c, "writing the index", err);
    sqlite3_bind_text(st, 1, w->key, -1, SQLITE_STATIC);
    if (w->value) {
        sqlite3_bind_int64(st, 2, w->revision);
        sqlite3_bind_int64(st, 3, created);
    }
    return sqlite3_step(st) == SQLITE_DONE ? 0 : sqlite_conn_error(c, "writing the index", err);
}

/* A failure of the precondition goes to the request alone; a negative return means that the transaction is lost. */
static int apply_change(struct sqlite_store *s, struct write_request *w, struct batch_events *events,
                        struct gw_error *err)
{
    _cleanup_store_item_ struct store_item present = {0};
    int r = find_present(s->writer, w->key, &present, err);

    if (r < 0)
        return r;
    w->result = check_expected(w, present.revision, &w->error);
    r = check_facts(s->writer, w, err);
    if (r < 0)
        return r;
    if (w->result < 0) {
        w->revision = present.revision;
        return 0;
    }
    w->revision = ++s->revision;

    int64_t created = present.revision ? present.created : w->revision;

    r = add_version(s->writer, w, present.revision, created, err);
    if (r == 0)
        r = set_current(s->writer, w, created, err);
    if (r < 0)
        return r;

    struct store_event e = {
        .revision = w->revision,
        .created = created,
        .is_create = present.revision == 0,
        .is_delete = !w->value,
        .key = xstrdup(w->key),
        .value = w->value ? blob_ref(w->value) : NULL,
        .previous = TAKE_PTR(present.value),
    };
    add_event(events, &e);
    return 0;
}

static int run_range(struct sqlite_conn *c, enum sql_id id, int64_t above, int64_t upto, struct gw_error *err)
{
    _cleanup_statement_ sqlite3_stmt *st = sqlite_conn_statement(c, id);

    if (!st)
        return sqlite_conn_error(c, "compacting", err);
    sqlite3_bind_int64(st, 1, above);
    sqlite3_bind_int64(st, 2, upto);
    return sqlite3_step(st) == SQLITE_DONE ? 0 : sqlite_conn_error(c, "compacting", err);
}

/* One step towards w->expected; w->revision tells how far the store is compacted then. */
static int apply_compaction(struct sqlite_store *s, struct write_request *w, struct gw_error *err)
{
    int64_t done, newest, upto;
    int r = sqlite_conn_state(s->writer, &done, &newest, err);

    if (r < 0)
        return r;
    w->revision = done;
    if (w->expected > newest) {
        w->result = store_error_future(w->expected, newest, &w->error);
        return 0;
    }
    if (w->expected <= done)
        return 0;
    upto = MIN(w->expected, done + COMPACT_STEP);
    r = run_range(s->writer, SQL_DROP_REPLACED, done, upto, err);
    if (r == 0)
        r = run_range(s->writer, SQL_DROP_TOMBSTONES, done, upto, err);
    if (r < 0)
        return r;

    _cleanup_statement_ sqlite3_stmt *st = sqlite_conn_statement(s->writer, SQL_SET_COMPACTED);

    if (st)
        sqlite3_bind_int64(st, 1, upto);
    w->revision = upto;
    return st && sqlite3_step(st) == SQLITE_DONE ? 0 : sqlite_conn_error(s->writer, "compacting", err);
}

static int run_transaction(struct sqlite_store *s, struct write_request *batch, struct batch_events *events,
                           struct gw_error *err)
{
    int r = sqlite_conn_run(s->writer, SQL_BEGIN_WRITE, err);

    for (struct write_request *w = batch; w && r == 0; w = w->next)
        r = w->key ? apply_change(s, w, events, err) : apply_compaction(s, w, err);
    if (r == 0)
        r = sqlite_conn_run(s->writer, SQL_COMMIT, err);
    if (r < 0 && !sqlite3_get_autocommit(s->writer->db))
        (void)sqlite_conn_run(s->writer, SQL_ROLLBACK, NULL);
    return r;
}

static void fail_batch(struct write_request *batch, int result, const struct gw_error *err)
{
    for (struct write_request *w = batch; w; w = w->next) {
        gw_error_done(&w->error);
        gw_error_set(&w->error, err->reason, "%s", gw_error_message(err));
        w->result = result;
        w->revision = 0;
    }
}

static void commit_batch(struct sqlite_store *s, struct write_request *batch)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct batch_events events = {0};
    int64_t before = s->revision;
    int r = run_transaction(s, batch, &events, &err);

    if (r < 0) {
        s->revision = before;
        event_node_unref(events.first);
        fail_batch(batch, r, &err);
        return;
    }
    event_log_append(&s->log, events.first);
    __atomic_store_n(&s->acknowledged, s->revision, __ATOMIC_RELEASE);
}

static struct write_request *take_batch(struct sqlite_store *s)
{
    pthread_mutex_lock(&s->queue_lock);
    while (!s->queue && !s->closing)
        pthread_cond_wait(&s->queue_filled, &s->queue_lock);

    struct write_request *batch = s->queue, **end = &s->queue;

    for (size_t n = 0; *end && n < BATCH_MAX; n++)
        end = &(*end)->next;
    s->queue = *end;
    *end = NULL;
    if (!s->queue)
        s->queue_end = &s->queue;
    pthread_mutex_unlock(&s->queue_lock);
    return batch;
}

void *sqlite_writer_run(void *store)
{
    struct sqlite_store *s = store;
    struct write_request *batch;

    while ((batch = take_batch(s))) {
        commit_batch(s, batch);
        while (batch) {
            struct write_request *w = batch;

            batch = w->next; /* w is gone as soon as its caller wakes up */
            sem_post(&w->done);
        }
    }
    return NULL;
}

static void submit(struct sqlite_store *s, struct write_request *w)
{
    if (s->memory) {
        pthread_mutex_lock(&s->pool_lock);
        commit_batch(s, w);
        pthread_mutex_unlock(&s->pool_lock);
        return;
    }
    sem_init(&w->done, 0, 0);
    pthread_mutex_lock(&s->queue_lock);
    *s->queue_end = w;
    s->queue_end = &w->next;
    pthread_mutex_unlock(&s->queue_lock);
    pthread_cond_signal(&s->queue_filled);
    while (sem_wait(&w->done) < 0)
        ;
    sem_destroy(&w->done);
}

int sqlite_write(struct store *store, const char *key, struct blob *value, int64_t expected,
                 const struct store_facts *facts, int64_t *ret_revision, struct gw_error *err)
{
    struct write_request w = {.key = key, .value = value, .expected = expected, .facts = facts};

    submit(sqlite_store_of(store), &w);
    if (ret_revision)
        *ret_revision = w.revision;
    if (w.result < 0)
        gw_error_move(err, &w.error);
    return w.result;
}

int sqlite_compact(struct store *store, int64_t revision, struct gw_error *err)
{
    int64_t done = 0;

    do {
        struct write_request w = {.expected = revision};

        submit(sqlite_store_of(store), &w);
        if (w.result < 0) {
            gw_error_move(err, &w.error);
            return w.result;
        }
        done = w.revision;
    } while (done < revision);
    return 0;
}
