/* One SQLite connection with the statements of the store, prepared when first used. A connection is used by one thread
 * at a time. Internal to src/store. */
#pragma once

#include <sqlite3.h>

#include "store/store.h"

/* The statements; sqlite_conn.c holds their text and the schema. */
enum sql_id {
    SQL_BEGIN_READ,
    SQL_BEGIN_WRITE,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_STATE,
    SQL_GET,
    SQL_GET_AT,
    SQL_VERSIONS,
    SQL_COUNT,
    SQL_FETCH,
    SQL_CHANGES,
    SQL_ADD_VERSION,
    SQL_SET_CURRENT,
    SQL_DROP_CURRENT,
    SQL_DROP_REPLACED,
    SQL_DROP_TOMBSTONES,
    SQL_SET_COMPACTED,
    SQL_MAX,
};

struct sqlite_conn {
    sqlite3 *db;
    sqlite3_stmt *statements[SQL_MAX];
    struct sqlite_conn *next; /* in the pool of readers */
};

/* The writer's connection makes the schema, so it has to be the first on a new file. */
int sqlite_conn_open(const char *path, bool writer, struct sqlite_conn **ret, struct gw_error *err);
struct sqlite_conn *sqlite_conn_close(struct sqlite_conn *c);
DEFINE_CLEANUP(struct sqlite_conn *, sqlite_conn_close)

/* The statement, ready to bind; NULL when SQLite cannot prepare it (sqlite_conn_error tells why). To be declared with
 * _cleanup_statement_, so that it ends its implicit transaction where its variable goes out of scope. */
sqlite3_stmt *sqlite_conn_statement(struct sqlite_conn *c, enum sql_id id);
void sqlite_statement_done(sqlite3_stmt **st);
#define _cleanup_statement_ __attribute__((cleanup(sqlite_statement_done)))

/* Runs a statement that takes and gives nothing. */
int sqlite_conn_run(struct sqlite_conn *c, enum sql_id id, struct gw_error *err);

/* Fills err from the connection's last failure. Returns a negative errno. */
int sqlite_conn_error(struct sqlite_conn *c, const char *what, struct gw_error *err);

/* How far the store is compacted, and its last revision, as the running transaction sees them. */
int sqlite_conn_state(struct sqlite_conn *c, int64_t *ret_compacted, int64_t *ret_revision, struct gw_error *err);

/* A column as a new blob, NULL for SQL's NULL; and as a heap string. */
struct blob *sqlite_column_value(sqlite3_stmt *st, int column);
char *sqlite_column_key(sqlite3_stmt *st, int column);
