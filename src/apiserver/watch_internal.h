/* The inside of watches; watch_hub.c opens with how they work. Internal to src/apiserver/watch*.c and rest_watch.c. */
#pragma once

#include <pthread.h>

#include "apiserver/output.h"
#include "apiserver/selection.h"
#include "apiserver/watch.h"
#include "base/map.h"

enum watch_type { WATCH_ADDED, WATCH_MODIFIED, WATCH_DELETED, WATCH_BOOKMARK, WATCH_ERROR, WATCH_TYPE_MAX };

/* An encoded event in one of the forms that watchers want; kept with the event while it is told. */
struct watch_line {
    enum watch_type type;
    const struct kind *kind; /* the stored one, or a view of it */
    const char *version;
    struct output_form form;
    bool definitions;
    struct blob *text;
    struct watch_line *next;
};

/* An event of the store, shared by ring and dispatch. Guarded by the hub's lock. */
struct hub_event {
    unsigned refs;
    struct store_event store;
    yyjson_doc *value, *previous; /* parsed when a selector first asks; both until hub_event_rest */
    struct watch_line *lines;
};

struct hub_event *hub_event_new(struct store_event *e); /* takes e over */
struct hub_event *hub_event_ref(struct hub_event *e);
void hub_event_unref(struct hub_event *e);
/* Drops what can be made again, and takes several times the bytes of the object: for events that were told. */
void hub_event_rest(struct hub_event *e);
/* Bytes of the objects that it holds. */
size_t hub_event_bytes(const struct hub_event *e);
DEFINE_CLEANUP(struct hub_event *, hub_event_unref)

/* What a watcher is told of an event, or WATCH_TYPE_MAX: nothing. */
enum watch_type watch_decide(struct hub_event *e, const struct selection *s);

/* The event as that watcher is to see it; the result stays the event's. */
const struct watch_line *watch_line_of(struct hub_event *e, enum watch_type type, const struct output_kind *k,
                                       const struct output_form *f, bool definitions);

/* Lines that stand alone, appended to out. */
void watch_line_added(struct api_parts *out, const struct output_kind *k, const struct output_form *f, bool definitions,
                      struct blob *stored, int64_t revision);
void watch_line_bookmark(struct api_parts *out, const struct output_kind *k, const struct output_form *f,
                         int64_t revision, bool initial_end);
void watch_line_error(struct api_parts *out, const struct gw_error *err);
void watch_line_append(struct api_parts *out, const struct watch_line *line);

/* What a watch begins with. The selection is taken over. */
struct watch_options {
    struct selection selection;
    struct output_kind kind;
    struct output_form form;
    int64_t from;     /* events above this revision; ignored with `initial` */
    bool initial;     /* first the present state as ADDED */
    bool initial_end; /* and a bookmark that marks its end */
    bool bookmarks;
    int64_t timeout_ms;
};

struct watcher {
    struct watch_hub *hub;
    struct watcher *next; /* in its channel; the hub's lock */
    unsigned refs;        /* atomic */
    struct watch_options options;
    int64_t from;                 /* events up to here were told or are part of the initial state; the hub's lock */
    int64_t ends_at, bookmark_at; /* wall clock, ms; the hub's lock */
    struct watcher *ready_next;   /* to be called after this dispatch; the hub's lock */
    bool ready_noted;

    pthread_mutex_t lock; /* for all below; taken after the hub's */
    pthread_cond_t call_ended;
    struct api_parts queue;
    size_t queue_bytes;
    bool ended, cut, closed, calling;
    bool definitions_sent;
    pthread_t caller;
    void (*ready)(void *userdata);
    void *userdata;
    struct store_list page; /* of the initial state, to be sent before the queue */
    int64_t initial_revision;
    bool initial_left;
};

/* The watchers of one kind. */
struct channel {
    struct watcher *watchers;
};

#define RING_EVENTS 2048
#define BOOKMARK_EVERY_MS 60000

struct watch_hub {
    struct store *store;
    struct kinds *kinds;
    int epoll_fd; /* holds kick_fd and the store watch's descriptor, which changes when that watch broke */
    int kick_fd;  /* eventfd: somebody wants a dispatch earlier than was said */
    struct store_watch *source;
    pthread_mutex_t lock;
    struct map *channels; /* by the kind's prefix of keys */
    size_t n_watchers;
    int64_t position; /* the last revision given to the watchers */
    int64_t wake_at;  /* the earliest time of any watcher, wall clock ms; INT64_MAX = none */
    struct hub_event *ring[RING_EVENTS];
    size_t ring_first, ring_len, ring_bytes;
    int64_t ring_floor;    /* the ring has all events above this revision */
    struct watcher *ready; /* to be called when the lock is free */
};

/* Opens a watch. A start that is compacted gives a watcher whose only line is an ERROR, as clients expect; GW_TIMEOUT
 * for a start in the future. now: wall clock, ms. */
int watcher_open(struct watch_hub *h, struct watch_options *o, int64_t now, struct watcher **ret, struct gw_error *err);

/* watcher.c */
struct watcher *watcher_new(struct watch_hub *h, struct watch_options *o);
struct watcher *watcher_ref(struct watcher *w);
void watcher_unref(struct watcher *w);
int watcher_read_initial(struct watcher *w, struct gw_error *err);
/* Queues what w is to know of e. True if that was something. */
bool watcher_tell(struct watcher *w, struct hub_event *e, int64_t now);
void watcher_bookmark(struct watcher *w, int64_t revision);
void watcher_end(struct watcher *w, const struct gw_error *err); /* err NULL: in good order */
void watcher_call_ready(struct watcher *w);

/* watch_join.c */
void watch_hub_leave(struct watch_hub *h, struct watcher *w);

/* When w wants to be looked at, wall clock ms. */
static inline int64_t watcher_next_time(const struct watcher *w)
{
    return w->options.bookmarks ? MIN(w->ends_at, w->bookmark_at) : w->ends_at;
}
