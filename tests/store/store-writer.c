/* Writes to a store as fast as it can until it is killed, and says on stdout what was acknowledged: "KEY REVISION" per
 * line. store-writer PATH THREADS [unsafe]: unsafe turns the syncs off. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "store/sqlite_store.h"

static struct store *store;

static void acknowledge(const char *key, int64_t revision)
{
    char line[128];
    int n = snprintf(line, sizeof(line), "%s %lld\n", key, (long long)revision);

    if (write(STDOUT_FILENO, line, (size_t)n) != n) /* one write per line: lines of threads never mix */
        _exit(1);
}

static void *write_keys(void *arg)
{
    char key[64];
    int64_t revision;

    for (unsigned i = 0;; i++) {
        snprintf(key, sizeof(key), "/t%ld/%d/%u", (long)(intptr_t)arg, (int)getpid(), i);

        struct blob *value = blob_new(NULL, 200 + i % 5000);

        memset(value->data, 'a' + (char)(i % 26), value->len);
        if (store_put(store, key, value, STORE_ABSENT, &revision, NULL) < 0)
            _exit(1);
        blob_unref(value);
        acknowledge(key, revision);
        if (i % 8 == 7 && store_compact(store, revision - 1, NULL) < 0)
            _exit(1);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    long threads = argc > 2 ? atol(argv[2]) : 1;

    if (argc < 3 || store_open_sqlite(argv[1], &store, &err) < 0) {
        fprintf(stderr, "store-writer: %s\n", gw_error_message(&err));
        return 1;
    }
    if (argc > 3 &&
        sqlite3_exec(sqlite_store_of(store)->writer->db, "PRAGMA synchronous = OFF", NULL, NULL, NULL) != SQLITE_OK)
        return 1;
    for (long i = 1; i < threads; i++) {
        pthread_t t;

        if (pthread_create(&t, NULL, write_keys, (void *)(intptr_t)i) != 0)
            return 1;
    }
    write_keys(NULL);
    return 0;
}
