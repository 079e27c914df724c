/* The revisioned key-value store under the API server: one counter for all changes, optimistic concurrency per key,
 * reads at past revisions, and watches. Backends (SQLite, etcd) stand behind one table of functions (store_backend.h).
 *
 * All functions block and may be called from any thread. A change is acknowledged after it is on stable storage, and
 * its event waits in every watch by then. Revisions grow by at least one per change; an empty store is at revision 1.
 *
 * Errors common to the reads: GW_EXPIRED for a revision that was compacted away, GW_TIMEOUT ("Too large resource
 * version") for one that is not there yet. Anything that the system refuses (full disk, lost peer) is GW_INTERNAL_ERROR
 * or GW_SERVICE_UNAVAILABLE and leaves the change undone or, with a lost peer, unknown. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/error.h"
#include "base/vec.h"

struct store;

/* One version of a key. */
struct store_item {
    char *key;
    int64_t revision; /* of its last change */
    int64_t created;  /* revision at which the key came into being */
    struct blob *value;
};

void store_item_done(struct store_item *item);
#define _cleanup_store_item_ _cleanup_(store_item_done)

/* Opens (makes if absent) the SQLite store at path; ":memory:" gives one that lives and dies with the process, runs
 * without a thread and is as good for many threads, only slower. The path's files belong to this process alone until
 * store_close. */
int store_open_sqlite(const char *path, struct store **ret, struct gw_error *err);

/* Waits for calls in progress, ends threads. All watches must be closed before. NULL is allowed; returns NULL. */
struct store *store_close(struct store *s);
DEFINE_CLEANUP(struct store *, store_close)
#define _cleanup_store_ _cleanup_(store_closep)

/* The version of key that was valid at revision (0 = now) into ret, which the caller empties by store_item_done.
 * -ENOENT (GW_NOT_FOUND) when there was none. */
int store_get(struct store *s, const char *key, int64_t revision, struct store_item *ret, struct gw_error *err);

struct store_list_options {
    const char *prefix;    /* keys that begin with it; "" or NULL = all */
    const char *after_key; /* only keys behind it, NULL = from the first */
    size_t limit;          /* at most so many items, 0 = all */
    int64_t revision;      /* as of this revision, 0 = now */
};

struct store_list {
    struct store_item *items; /* in byte order of their keys */
    size_t len;
    int64_t revision;  /* the list is exactly the state at this revision */
    int64_t remaining; /* how many items the limit left out */
};

int store_list(struct store *s, const struct store_list_options *o, struct store_list *ret, struct gw_error *err);
void store_list_done(struct store_list *l);
#define _cleanup_store_list_ _cleanup_(store_list_done)

/* What a change demands of the key's present revision: STORE_ANY nothing, STORE_ABSENT that there is none, any other
 * value that it is exactly this one. */
#define STORE_ANY ((int64_t)-1)
#define STORE_ABSENT ((int64_t)0)

/* Writes value (referenced, not copied; never changed). ret_revision (may be NULL): the revision of the change.
 * -EEXIST (GW_ALREADY_EXISTS): STORE_ABSENT, but it is there; -ESTALE (GW_CONFLICT): at another revision; both put the
 * present revision into ret_revision. -ENOENT (GW_NOT_FOUND): a revision was expected, but the key is absent. */
int store_put(struct store *s, const char *key, struct blob *value, int64_t expected, int64_t *ret_revision,
              struct gw_error *err);

/* Removes the key; the same errors, and -ENOENT with STORE_ANY as well. The removal has a revision of its own. */
int store_delete(struct store *s, const char *key, int64_t expected, int64_t *ret_revision, struct gw_error *err);

/* What a change rests on besides its own key: others at exactly these revisions, or absent (STORE_ABSENT). */
struct store_fact {
    char *key;
    int64_t revision;
};

VEC_DEFINE(store_facts, struct store_fact);
void store_facts_clear(struct store_facts *facts);
#define _cleanup_store_facts_ _cleanup_(store_facts_clear)

/* store_put (value NULL: store_delete) that happens only while all facts hold: -ESTALE (GW_CONFLICT) when one does not.
 * They are looked at in the same transaction. */
int store_change(struct store *s, const char *key, struct blob *value, int64_t expected,
                 const struct store_facts *facts, int64_t *ret_revision, struct gw_error *err);

/* The revision of the last acknowledged change, negative errno on failure. */
int64_t store_revision(struct store *s, struct gw_error *err);

/* 0 when revision has been reached, else GW_TIMEOUT: "Too large resource version". */
int store_check_reached(struct store *s, int64_t revision, struct gw_error *err);

/* Forgets versions that are only needed to read at revisions before this one. Lower or equal to what was compacted
 * already: nothing happens. Runs in small steps between changes of others. */
int store_compact(struct store *s, int64_t revision, struct gw_error *err);

/* Forgets all versions but the present ones, and writes the files anew, so that they hold no byte of what was replaced
 * or removed. Takes as long as copying them; nobody else may use the store meanwhile. */
int store_wipe(struct store *s, struct gw_error *err);

/* --- Watches --- */

struct store_event {
    int64_t revision;
    int64_t created; /* revision at which the key came into being */
    bool is_create;  /* the key was absent before */
    bool is_delete;  /* the key is absent now; value is NULL */
    char *key;
    struct blob *value;
    struct blob *previous; /* NULL when is_create */
};

void store_event_done(struct store_event *e);
#define _cleanup_store_event_ _cleanup_(store_event_done)

struct store_watch;

/* All changes with revisions above from (0 = those that are still to come), in order. GW_EXPIRED when they are
 * compacted. What is not fetched is kept in memory: a watch that is not read any more must be closed. One thread at a
 * time per watch. */
int store_watch_open(struct store *s, int64_t from, struct store_watch **ret, struct gw_error *err);
struct store_watch *store_watch_close(struct store_watch *w);
DEFINE_CLEANUP(struct store_watch *, store_watch_close)
#define _cleanup_store_watch_ _cleanup_(store_watch_closep)

/* A descriptor that polls readable while events may wait; it belongs to the watch and is only to be polled. */
int store_watch_fd(struct store_watch *w);

/* 1: an event in ret, which the caller empties by store_event_done; 0: none now; negative: the watch is broken
 * (compacted while far behind, backend lost) and to be opened anew. */
int store_watch_next(struct store_watch *w, struct store_event *ret, struct gw_error *err);

/* --- When to compact --- */

#define STORE_RETENTION_SAMPLES 64

/* Which revision may be forgotten, from the memory of which revision was reached when. Zero-initialise but for the
 * first two. */
struct store_retention {
    int64_t keep_ms;      /* changes younger than this stay */
    int64_t keep_changes; /* and so many of the newest, whatever their age */
    struct {
        int64_t at_ms, revision;
    } samples[STORE_RETENTION_SAMPLES];
    size_t n_samples;
};

/* Notes that the store is at revision now, and returns the revision for store_compact, 0 for none. To be called a few
 * times per keep_ms, by a monotonic clock. */
int64_t store_retention_note(struct store_retention *r, int64_t now_ms, int64_t revision);
