/* Folding the write-ahead log into the file. SQLite's own way is that the commit that fills the log does it, and
 * everybody behind waits for it. Here a thread does it meanwhile, whenever CHECKPOINT_PAGES were added. The log starts
 * over only when all of it is folded in at the moment of a commit, which never happens while writers keep coming; so at
 * RESTART_PAGES the writer folds in the little that the thread has left. */
#include "store/sqlite_store.h"

#define CHECKPOINT_PAGES 1000 /* 4 MiB */
#define RESTART_PAGES 16000   /* 64 MiB */

/* Runs in the writer after each commit; pages: in the log. */
static int after_commit(void *data, sqlite3 *db, const char *schema, int pages)
{
    struct sqlite_store *s = data;

    if (pages < s->checkpointed_pages) /* the log started over */
        s->checkpointed_pages = 0;
    if (pages >= RESTART_PAGES) {
        (void)sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    } else if (pages - s->checkpointed_pages >= CHECKPOINT_PAGES) {
        s->checkpointed_pages = pages;
        sem_post(&s->checkpoint_wanted);
    }
    return SQLITE_OK;
}

static void *run(void *data)
{
    struct sqlite_store *s = data;
    struct sqlite_conn *c = NULL;

    for (;;) {
        while (sem_wait(&s->checkpoint_wanted) < 0)
            ;
        if (__atomic_load_n(&s->closing, __ATOMIC_ACQUIRE))
            break;
        /* A failure here costs nothing but a longer log: the writer's own checkpoint meets it again and reports it. */
        if (c || sqlite_conn_open(s->path, false, &c, NULL) == 0)
            (void)sqlite3_wal_checkpoint_v2(c->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    }
    sqlite_conn_close(c);
    return NULL;
}

int sqlite_checkpoint_start(struct sqlite_store *s, struct gw_error *err)
{
    int e = pthread_create(&s->checkpoint_thread, NULL, run, s);

    if (e)
        return gw_error_errno(err, e, "cannot start the store's checkpoint thread");
    sqlite3_wal_hook(s->writer->db, after_commit, s);
    return 0;
}

void sqlite_checkpoint_stop(struct sqlite_store *s)
{
    sem_post(&s->checkpoint_wanted);
    pthread_join(s->checkpoint_thread, NULL);
}
