/* Schema.
 *
 * `history` has one row per change. `prev` is the revision of the version that it replaced (0 = the key was absent),
 * `value` is NULL where the change removed the key. It is a plain rowid table, because its rows are large and only ever
 * appended: the payload stays out of the inner pages. `current` maps each living key to its version; it holds no
 * values, so that counting and ordering keys touches few pages.
 *
 * The state at a past revision R needs no index over (key, revision): it is what `current` holds with revision <= R,
 * plus the predecessors of the versions that came after R. Pages of a list are read at recent revisions, so the second
 * part is short; compaction bounds it.
 *
 * Compaction to C drops the predecessors of all changes up to C and the removals up to C. What is left of the rows up
 * to C is exactly the state at C, and each later change still finds its predecessor. */
#include "store/sqlite_conn.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS history ("
    " revision INTEGER PRIMARY KEY, prev INTEGER NOT NULL, created INTEGER NOT NULL, key TEXT NOT NULL, value BLOB) "
    "STRICT;"
    "CREATE TABLE IF NOT EXISTS current ("
    " key TEXT PRIMARY KEY, revision INTEGER NOT NULL, created INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "INSERT OR IGNORE INTO state VALUES ('compacted', 0);"
    "PRAGMA user_version = 1;";

/* synchronous=FULL syncs the log at each commit. sqlite_checkpoint.c folds the log into the file. */
static const char writer_setup[] =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -1024;";
static const char reader_setup[] = "PRAGMA query_only = ON; PRAGMA cache_size = -512;";

/* ?1 <= key < ?2, as of revision ?3. */
#define VERSIONS \
    "SELECT key, revision FROM current WHERE key >= ?1 AND key < ?2 AND revision <= ?3 " \
    "UNION ALL SELECT key, prev FROM history WHERE revision > ?3 AND prev BETWEEN 1 AND ?3 AND key >= ?1 AND key < ?2"

static const char *const texts[] = {
    [SQL_BEGIN_READ] = "BEGIN",
    [SQL_BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_STATE] = "SELECT value, max(value, 1, (SELECT ifnull(max(revision), 0) FROM history)) FROM state WHERE name = "
                  "'compacted'",
    [SQL_GET] = "SELECT c.revision, c.created, h.value FROM current c CROSS JOIN history h ON h.revision = c.revision "
                "WHERE c.key = ?1",
    [SQL_GET_AT] = "SELECT revision, created, value FROM history WHERE revision = ("
                   "SELECT revision FROM current WHERE key = ?1 AND revision <= ?2 UNION ALL "
                   "SELECT prev FROM history WHERE revision > ?2 AND prev BETWEEN 1 AND ?2 AND key = ?1 LIMIT 1)",
    [SQL_VERSIONS] = VERSIONS " ORDER BY key LIMIT ?4",
    [SQL_COUNT] = "SELECT count(*) FROM (" VERSIONS ")",
    [SQL_FETCH] = "SELECT created, value FROM history WHERE revision = ?1",
    [SQL_CHANGES] = "SELECT h.revision, h.prev, h.created, h.key, h.value, p.value FROM history h "
                    "LEFT JOIN history p ON p.revision = h.prev WHERE h.revision > ?1 AND h.revision <= ?2 ORDER BY "
                    "h.revision LIMIT ?3",
    [SQL_ADD_VERSION] = "INSERT INTO history (revision, prev, created, key, value) VALUES (?1, ?2, ?3, ?4, ?5)",
    [SQL_SET_CURRENT] = "INSERT INTO current (key, revision, created) VALUES (?1, ?2, ?3) "
                        "ON CONFLICT (key) DO UPDATE SET revision = excluded.revision, created = excluded.created",
    [SQL_DROP_CURRENT] = "DELETE FROM current WHERE key = ?1",
    [SQL_DROP_REPLACED] =
        "DELETE FROM history WHERE revision IN (SELECT prev FROM history WHERE revision > ?1 AND revision <= ?2)",
    [SQL_DROP_TOMBSTONES] = "DELETE FROM history WHERE revision > ?1 AND revision <= ?2 AND value IS NULL",
    [SQL_SET_COMPACTED] = "UPDATE state SET value = ?1 WHERE name = 'compacted'",
};
static_assert(ARRAY_SIZE(texts) == SQL_MAX, "each statement needs its text");

int sqlite_conn_error(struct sqlite_conn *c, const char *what, struct gw_error *err)
{
    if (sqlite3_errcode(c->db) == SQLITE_FULL)
        return gw_error_set(err, GW_STORAGE_FULL, "store: %s: the disk of the server's data folder is full", what);
    return gw_error_set(err, GW_INTERNAL_ERROR, "store: %s: %s", what, sqlite3_errmsg(c->db));
}

int sqlite_conn_open(const char *path, bool writer, struct sqlite_conn **ret, struct gw_error *err)
{
    struct sqlite_conn *c = xnew(struct sqlite_conn);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    int r = sqlite3_open_v2(path, &c->db, flags, NULL);

    if (r == SQLITE_OK) {
        (void)sqlite3_busy_timeout(c->db, 10000);
        r = sqlite3_exec(c->db, writer ? writer_setup : reader_setup, NULL, NULL, NULL);
    }
    if (r == SQLITE_OK && writer)
        r = sqlite3_exec(c->db, schema, NULL, NULL, NULL);
    if (r != SQLITE_OK) {
        r = sqlite_conn_error(c, path, err);
        sqlite_conn_close(c);
        return r;
    }
    *ret = c;
    return 0;
}

struct sqlite_conn *sqlite_conn_close(struct sqlite_conn *c)
{
    if (!c)
        return NULL;
    for (size_t i = 0; i < SQL_MAX; i++)
        (void)sqlite3_finalize(c->statements[i]);
    (void)sqlite3_close(c->db);
    free(c);
    return NULL;
}

sqlite3_stmt *sqlite_conn_statement(struct sqlite_conn *c, enum sql_id id)
{
    if (!c->statements[id])
        (void)sqlite3_prepare_v3(c->db, texts[id], -1, SQLITE_PREPARE_PERSISTENT, &c->statements[id], NULL);
    return c->statements[id];
}

void sqlite_statement_done(sqlite3_stmt **st)
{
    if (!*st)
        return;
    (void)sqlite3_reset(*st);
    (void)sqlite3_clear_bindings(*st);
}

int sqlite_conn_run(struct sqlite_conn *c, enum sql_id id, struct gw_error *err)
{
    _cleanup_statement_ sqlite3_stmt *st = sqlite_conn_statement(c, id);

    if (!st || sqlite3_step(st) != SQLITE_DONE)
        return sqlite_conn_error(c, texts[id], err);
    return 0;
}

int sqlite_conn_state(struct sqlite_conn *c, int64_t *ret_compacted, int64_t *ret_revision, struct gw_error *err)
{
    _cleanup_statement_ sqlite3_stmt *st = sqlite_conn_statement(c, SQL_STATE);

    if (!st || sqlite3_step(st) != SQLITE_ROW)
        return sqlite_conn_error(c, "reading its state", err);
    *ret_compacted = sqlite3_column_int64(st, 0);
    *ret_revision = sqlite3_column_int64(st, 1);
    return 0;
}

struct blob *sqlite_column_value(sqlite3_stmt *st, int column)
{
    if (sqlite3_column_type(st, column) == SQLITE_NULL)
        return NULL;

    const void *data = sqlite3_column_blob(st, column);

    return blob_new(data, (size_t)sqlite3_column_bytes(st, column));
}

char *sqlite_column_key(sqlite3_stmt *st, int column)
{
    const unsigned char *text = sqlite3_column_text(st, column);

    return xstrndup((const char *)text, (size_t)sqlite3_column_bytes(st, column));
}
