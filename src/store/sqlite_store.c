/* The store on SQLite: theory of operation.
 *
 * One thread writes. Callers queue their change and sleep; the thread takes all that is queued into one transaction, so
 * that one sync of the write-ahead log acknowledges all of them (group commit), and while it syncs the next batch
 * gathers. A change whose precondition fails writes nothing, so it neither spoils nor delays its batch. Revisions are
 * given out inside the transaction by the only writer: their order is the order of commits. If the transaction fails as
 * a whole, all of its callers hear of it and their revisions are given out again.
 *
 * After the commit, and before any caller wakes up, the events go to the log in memory that watches read (event_log.h).
 * Nobody can therefore have seen an acknowledged change without its event, nor an event of a change that could be lost.
 *
 * Readers have connections of their own (WAL: they never wait for the writer). A read copies its rows and ends its
 * transaction before it returns, so that no slow client can keep the log from being checkpointed.
 *
 * ":memory:" has one connection under a lock and no thread: writes run in the caller, one transaction each. */
#include "store/sqlite_store.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/alloc.h"

int sqlite_reader_acquire(struct sqlite_store *s, struct sqlite_conn **ret, struct gw_error *err)
{
    struct sqlite_conn *c = s->writer;
    int r = 0;

    pthread_mutex_lock(&s->pool_lock);
    if (!s->memory) {
        while (!s->idle && s->open_readers == s->max_readers)
            pthread_cond_wait(&s->pool_freed, &s->pool_lock);
        c = s->idle;
        if (c) {
            s->idle = c->next;
        } else {
            r = sqlite_conn_open(s->path, false, &c, err);
            s->open_readers += r == 0;
        }
        pthread_mutex_unlock(&s->pool_lock);
    }
    if (r < 0)
        return r;
    r = sqlite_conn_run(c, SQL_BEGIN_READ, err);
    if (r < 0) {
        sqlite_reader_release(s, c);
        return r;
    }
    *ret = c;
    return 0;
}

void sqlite_reader_release(struct sqlite_store *s, struct sqlite_conn *c)
{
    if (!sqlite3_get_autocommit(c->db))
        (void)sqlite_conn_run(c, SQL_COMMIT, NULL);
    if (!s->memory) {
        pthread_mutex_lock(&s->pool_lock);
        c->next = s->idle;
        s->idle = c;
    }
    pthread_mutex_unlock(&s->pool_lock);
    pthread_cond_signal(&s->pool_freed);
}

static int64_t sqlite_revision(struct store *store, struct gw_error *err)
{
    return __atomic_load_n(&sqlite_store_of(store)->acknowledged, __ATOMIC_ACQUIRE);
}

static void stop_writer(struct sqlite_store *s)
{
    pthread_mutex_lock(&s->queue_lock);
    __atomic_store_n(&s->closing, true, __ATOMIC_RELEASE);
    pthread_cond_signal(&s->queue_filled);
    pthread_mutex_unlock(&s->queue_lock);
    pthread_join(s->thread, NULL);
}

static void free_store(struct sqlite_store *s)
{
    while (s->idle) {
        struct sqlite_conn *c = s->idle;

        s->idle = c->next;
        sqlite_conn_close(c);
    }
    sqlite_conn_close(s->writer); /* the last one: it folds the log into the file */
    event_log_done(&s->log);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    pthread_mutex_destroy(&s->queue_lock);
    pthread_cond_destroy(&s->queue_filled);
    pthread_mutex_destroy(&s->pool_lock);
    pthread_cond_destroy(&s->pool_freed);
    sem_destroy(&s->checkpoint_wanted);
    free(s->path);
    free(s);
}

static void sqlite_close(struct store *store)
{
    struct sqlite_store *s = sqlite_store_of(store);

    if (!s->memory) {
        stop_writer(s);
        sqlite_checkpoint_stop(s);
    }
    free_store(s);
}

static const struct store_backend sqlite_backend = {
    .get = sqlite_get,
    .list = sqlite_list,
    .write = sqlite_write,
    .revision = sqlite_revision,
    .compact = sqlite_compact,
    .wipe = sqlite_wipe,
    .watch_open = sqlite_watch_open,
    .watch_next = sqlite_watch_next,
    .watch_close = sqlite_watch_close,
    .close = sqlite_close,
};

/* Two processes would give out the same revisions. Also makes the file, for its owner alone, and its name durable. */
static int claim_files(struct sqlite_store *s, struct gw_error *err)
{
    _cleanup_free_ char *lock_path = xasprintf("%s.lock", s->path);
    _cleanup_free_ char *folder = xstrdup(s->path);
    _cleanup_close_ int fd = open(s->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    _cleanup_close_ int folder_fd = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    s->lock_fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || folder_fd < 0 || s->lock_fd < 0)
        return gw_error_errno(err, errno, "cannot open the store %s", s->path);
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return gw_error_errno(err, errno, "the store %s is in use by another process", s->path);
    if (fsync(folder_fd) < 0)
        return gw_error_errno(err, errno, "cannot sync the folder of %s", s->path);
    return 0;
}

static int open_files(struct sqlite_store *s, struct gw_error *err)
{
    int64_t compacted;
    int r = s->memory ? 0 : claim_files(s, err);

    if (r == 0)
        r = sqlite_conn_open(s->path, true, &s->writer, err);
    if (r == 0)
        r = sqlite_conn_state(s->writer, &compacted, &s->revision, err);
    s->acknowledged = s->revision;
    event_log_init(&s->log, s->revision);
    if (r == 0 && !s->memory)
        r = sqlite_checkpoint_start(s, err);
    if (r == 0 && !s->memory) {
        int e = pthread_create(&s->thread, NULL, sqlite_writer_run, s);

        r = e ? gw_error_errno(err, e, "cannot start the store's thread") : 0;
        if (r < 0) {
            s->closing = true;
            sqlite_checkpoint_stop(s);
        }
    }
    return r;
}

int store_open_sqlite(const char *path, struct store **ret, struct gw_error *err)
{
    struct sqlite_store *s = xnew(struct sqlite_store);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    s->store.backend = &sqlite_backend;
    s->path = xstrdup(path);
    s->memory = streq(path, ":memory:");
    s->lock_fd = -1;
    s->queue_end = &s->queue;
    s->max_readers = (unsigned)MAX(2, MIN(cpus, 8));
    pthread_mutex_init(&s->queue_lock, NULL);
    pthread_cond_init(&s->queue_filled, NULL);
    pthread_mutex_init(&s->pool_lock, NULL);
    pthread_cond_init(&s->pool_freed, NULL);
    sem_init(&s->checkpoint_wanted, 0, 0);

    int r = open_files(s, err);

    if (r < 0) {
        free_store(s);
        return r;
    }
    *ret = &s->store;
    return 0;
}
