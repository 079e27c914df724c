/* The parts of the SQLite backend, see sqlite_store.c. Internal to src/store. */
#pragma once

#include <pthread.h>
#include <semaphore.h>

#include "store/event_log.h"
#include "store/sqlite_conn.h"
#include "store/store_backend.h"

/* A change that waits for the writer; lives on the stack of the caller, who sleeps on `done`. */
struct write_request {
    const char *key;    /* NULL: a step of compaction up to `expected` */
    struct blob *value; /* NULL: remove */
    int64_t expected;
    const struct store_facts *facts; /* or NULL */
    int result;
    int64_t revision;
    struct gw_error error;
    sem_t done;
    struct write_request *next;
};

struct sqlite_store {
    struct store store;
    char *path;
    bool memory;
    int lock_fd; /* holds the file lock that keeps other processes out */

    struct sqlite_conn *writer;
    int64_t revision;     /* last one given out; the writer's alone */
    int64_t acknowledged; /* last one that is on disk; atomic */

    pthread_mutex_t queue_lock;
    pthread_cond_t queue_filled;
    struct write_request *queue, **queue_end;
    bool closing; /* written under queue_lock */
    pthread_t thread;

    pthread_t checkpoint_thread;
    sem_t checkpoint_wanted;
    int checkpointed_pages; /* of the log, when the thread was last woken; the writer's */

    pthread_mutex_t pool_lock;
    pthread_cond_t pool_freed;
    struct sqlite_conn *idle;
    unsigned open_readers, max_readers;

    struct event_log log;
};

static inline struct sqlite_store *sqlite_store_of(struct store *s)
{
    return CONTAINER_OF(s, struct sqlite_store, store);
}

/* A connection for one read, inside a transaction; release ends both. In memory it is the only one, locked. */
int sqlite_reader_acquire(struct sqlite_store *s, struct sqlite_conn **ret, struct gw_error *err);
void sqlite_reader_release(struct sqlite_store *s, struct sqlite_conn *c);

/* sqlite_read.c */
int sqlite_get(struct store *s, const char *key, int64_t revision, struct store_item *ret, struct gw_error *err);
int sqlite_list(struct store *s, const struct store_list_options *o, struct store_list *ret, struct gw_error *err);

/* sqlite_write.c: the thread; and the calls that feed it. */
void *sqlite_writer_run(void *store);
int sqlite_write(struct store *s, const char *key, struct blob *value, int64_t expected,
                 const struct store_facts *facts, int64_t *ret_revision, struct gw_error *err);
int sqlite_compact(struct store *s, int64_t revision, struct gw_error *err);

/* sqlite_wipe.c */
int sqlite_wipe(struct store *s, struct gw_error *err);

/* sqlite_checkpoint.c. Before the stop the writer's thread must be over and `closing` set. */
int sqlite_checkpoint_start(struct sqlite_store *s, struct gw_error *err);
void sqlite_checkpoint_stop(struct sqlite_store *s);

/* sqlite_watch.c */
int sqlite_watch_open(struct store *s, int64_t from, struct store_watch **ret, struct gw_error *err);
int sqlite_watch_next(struct store_watch *w, struct store_event *ret, struct gw_error *err);
void sqlite_watch_close(struct store_watch *w);
