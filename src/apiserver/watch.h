/* Watches: one hub reads the store's events and hands them to watchers, each a queue of lines for one client.
 *
 * The hub runs where watch_hub_dispatch is called: on the server's loop whenever watch_hub_fd polls readable and at the
 * deadline that it returned; in tests and simulations after a change. All functions may be called from any thread. */
#pragma once

#include "api/kind.h"
#include "api/selector.h"
#include "apiserver/request.h"
#include "store/store.h"

struct watch_hub;
struct watcher;

int watch_hub_new(struct store *store, struct kinds *kinds, struct watch_hub **ret, struct gw_error *err);
/* All watchers must be closed before. */
struct watch_hub *watch_hub_free(struct watch_hub *h);
DEFINE_CLEANUP(struct watch_hub *, watch_hub_free)

/* A descriptor to poll for reading; it stays the same for the hub's life. */
int watch_hub_fd(struct watch_hub *h);

/* Takes what the store has, queues lines, sends bookmarks, ends watches whose time is up, and calls the ready
 * functions. now: wall clock in ms. Returns the ms until it wants to be called again without an event, -1 for never. */
int64_t watch_hub_dispatch(struct watch_hub *h, int64_t now);

/* Ends all watches in good order (clients come back elsewhere): for a server that stops. */
void watch_hub_drain(struct watch_hub *h);

/* Open watchers, for metrics and tests. */
size_t watch_hub_watchers(struct watch_hub *h);

/* The next lines of a watch, at most a few hundred KiB, appended to ret. 1: some; 0: none now; -ENODATA: the stream is
 * over (an ERROR line that says why may have come before); -EPIPE: cut off, because more than WATCH_BACKLOG_MAX bytes
 * were waiting. While the initial state is not sent yet this reads the store, so until the first 0 it is to be called
 * on a worker. */
#define WATCH_BACKLOG_MAX (16u << 20)
int watcher_next(struct watcher *w, struct api_parts *ret);

/* From now on ready(userdata) is called whenever watcher_next has something to say, at once if it has already. It is
 * called without locks held but the watcher's own, and may call watcher_next and watcher_close for this watcher. */
void watcher_on_ready(struct watcher *w, void (*ready)(void *userdata), void *userdata);

/* After it returns no ready function runs. NULL is allowed; returns NULL. */
struct watcher *watcher_close(struct watcher *w);
