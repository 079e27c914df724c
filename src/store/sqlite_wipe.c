/* Forgetting for good. Removed rows stay in free pages, and in the log, until something is written over them; so the
 * whole file is written anew, and the log is emptied. */
#include "base/alloc.h"
#include "store/sqlite_store.h"

static int rewrite(struct sqlite_conn *c, struct gw_error *err)
{
    if (sqlite3_exec(c->db, "PRAGMA query_only = OFF; VACUUM;", NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_wal_checkpoint_v2(c->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) != SQLITE_OK)
        return sqlite_conn_error(c, "writing the file anew", err);
    return 0;
}

int sqlite_wipe(struct store *store, struct gw_error *err)
{
    struct sqlite_store *s = sqlite_store_of(store);
    struct sqlite_conn *c = NULL;
    int r = store_compact(store, store_revision(store, err), err);

    if (r < 0 || s->memory)
        return r;
    r = sqlite_conn_open(s->path, false, &c, err);
    r = r < 0 ? r : rewrite(c, err);
    sqlite_conn_close(c);
    return r;
}
