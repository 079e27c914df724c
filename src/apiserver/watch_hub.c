/* Watches: theory of operation.
 *
 * The store gives one stream of all changes. The hub reads it once (watch_hub_dispatch), finds by the key which
 * watchers are concerned (they stand in channels, one per kind), decides for each by its selection what it is told, and
 * puts the encoded line into its queue. A line is encoded once for all watchers that want the same version and form;
 * the object's bytes are those of the store. What changes an object so that it leaves a selection is DELETED to that
 * watcher, what brings it in is ADDED.
 *
 * A watch that begins at revision R needs the events above R. Those that the hub has passed already come from the ring
 * of recent events, or, if R is older than the ring, from the store's history; R below what is compacted is an ERROR
 * with code 410, upon which clients list anew. A watch that begins with the present state reads it from the store page
 * by page while it is sent, at one revision, which is its R.
 *
 * Locks: the hub's guards channels, ring and events; each watcher's its queue. Hub before watcher. Ready functions run
 * with neither. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "apiserver/watch_internal.h"

#define RING_BYTES (1u << 20)

/* --- The source --- */

static int poll_fd(struct watch_hub *h, int fd, struct gw_error *err)
{
    struct epoll_event ev = {.events = EPOLLIN};

    if (epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
        return gw_error_errno(err, errno, "cannot poll a descriptor of watches");
    return 0;
}

static int open_source(struct watch_hub *h, struct gw_error *err)
{
    int64_t now = store_revision(h->store, err);
    int r = now < 0 ? (int)now : store_watch_open(h->store, now, &h->source, err);

    if (r < 0)
        return r;
    h->position = h->ring_floor = now;
    return poll_fd(h, store_watch_fd(h->source), err);
}

int watch_hub_new(struct store *store, struct kinds *kinds, struct watch_hub **ret, struct gw_error *err)
{
    struct watch_hub *h = xnew(struct watch_hub);
    int r;

    h->store = store;
    h->kinds = kinds;
    h->channels = map_new(free);
    h->wake_at = INT64_MAX;
    pthread_mutex_init(&h->lock, NULL);
    h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    h->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (h->epoll_fd < 0 || h->kick_fd < 0)
        r = gw_error_errno(err, errno, "cannot make descriptors for watches");
    else
        r = poll_fd(h, h->kick_fd, err);
    if (r == 0)
        r = open_source(h, err);
    if (r < 0) {
        watch_hub_free(h);
        return r;
    }
    *ret = h;
    return 0;
}

static void ring_drop(struct watch_hub *h)
{
    struct hub_event *e = h->ring[h->ring_first];

    h->ring_floor = e->store.revision;
    h->ring_bytes -= hub_event_bytes(e);
    h->ring_first = (h->ring_first + 1) % RING_EVENTS;
    h->ring_len--;
    hub_event_unref(e);
}

struct watch_hub *watch_hub_free(struct watch_hub *h)
{
    if (!h)
        return NULL;
    while (h->ring_len)
        ring_drop(h);
    store_watch_close(h->source);
    if (h->epoll_fd >= 0)
        close(h->epoll_fd);
    if (h->kick_fd >= 0)
        close(h->kick_fd);
    map_free(h->channels);
    pthread_mutex_destroy(&h->lock);
    free(h);
    return NULL;
}

int watch_hub_fd(struct watch_hub *h)
{
    return h->epoll_fd;
}

size_t watch_hub_watchers(struct watch_hub *h)
{
    pthread_mutex_lock(&h->lock);
    size_t n = h->n_watchers;

    pthread_mutex_unlock(&h->lock);
    return n;
}

static void ring_add(struct watch_hub *h, struct hub_event *e)
{
    size_t bytes = hub_event_bytes(e);

    while (h->ring_len == RING_EVENTS || (h->ring_len && h->ring_bytes + bytes > RING_BYTES))
        ring_drop(h);
    h->ring[(h->ring_first + h->ring_len++) % RING_EVENTS] = hub_event_ref(e);
    h->ring_bytes += bytes;
}

/* --- Dispatch: under the hub's lock --- */

static void note_ready(struct watch_hub *h, struct watcher *w)
{
    if (w->ready_noted)
        return;
    w->ready_noted = true;
    w->ready_next = h->ready;
    h->ready = watcher_ref(w);
}

/* "/registry/GROUP/PLURAL/" of a key. */
static struct channel *find_channel(struct watch_hub *h, const char *key)
{
    char prefix[512];
    size_t slashes = 0, n = 0;

    for (; key[n] && n < sizeof(prefix) - 1 && slashes < 4; n++) {
        prefix[n] = key[n];
        slashes += key[n] == '/';
    }
    prefix[n] = '\0';
    return map_get(h->channels, prefix);
}

static void tell_all(struct watch_hub *h, struct hub_event *e, int64_t now)
{
    struct channel *ch = find_channel(h, e->store.key);

    for (struct watcher *w = ch ? ch->watchers : NULL; w; w = w->next)
        if (watcher_tell(w, e, now))
            note_ready(h, w);
}

static void each_watcher(struct watch_hub *h, void (*f)(struct watch_hub *h, struct watcher *w, void *data), void *data)
{
    const char *prefix;
    void *value;

    for (size_t c = 0; map_next(h->channels, &c, &prefix, &value);)
        for (struct watcher *w = ((struct channel *)value)->watchers; w; w = w->next)
            f(h, w, data);
}

static void end_watcher(struct watch_hub *h, struct watcher *w, void *err)
{
    watcher_end(w, err);
    note_ready(h, w);
}

/* The store's watch is lost: nobody can be told what happened meanwhile. */
static void start_over(struct watch_hub *h)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    gw_error_set(&err, GW_EXPIRED, "the watch of the store was interrupted");
    each_watcher(h, end_watcher, &err);
    while (h->ring_len)
        ring_drop(h);
    h->source = store_watch_close(h->source);
    (void)open_source(h, NULL);
}

static void pump(struct watch_hub *h, int64_t now)
{
    struct store_event e = {0};
    int r = 0;

    if (!h->source && open_source(h, NULL) < 0)
        return;
    while ((r = store_watch_next(h->source, &e, NULL)) > 0) {
        _cleanup_(hub_event_unrefp) struct hub_event *event = hub_event_new(&e);

        h->position = event->store.revision;
        ring_add(h, event);
        tell_all(h, event, now);
        hub_event_rest(event);
    }
    if (r < 0)
        start_over(h);
}

/* A bookmark says: nothing up to here is missing. */
static void check_time(struct watch_hub *h, struct watcher *w, void *data)
{
    int64_t now = *(int64_t *)data;
    bool over = now >= w->ends_at;

    if (w->options.bookmarks && (over || now >= w->bookmark_at)) {
        watcher_bookmark(w, MAX(h->position, w->from));
        w->bookmark_at = now + BOOKMARK_EVERY_MS;
        note_ready(h, w);
    }
    if (over) {
        end_watcher(h, w, NULL);
        w->ends_at = w->bookmark_at = INT64_MAX;
    }
    h->wake_at = MIN(h->wake_at, watcher_next_time(w));
}

static void call_ready(struct watcher *list)
{
    while (list) {
        struct watcher *w = list;

        list = w->ready_next;
        watcher_call_ready(w);
        watcher_unref(w);
    }
}

/* Ends a section that may have noted ready watchers. */
static void unlock(struct watch_hub *h)
{
    struct watcher *ready = h->ready;

    h->ready = NULL;
    for (struct watcher *w = ready; w; w = w->ready_next)
        w->ready_noted = false;
    pthread_mutex_unlock(&h->lock);
    call_ready(ready);
}

int64_t watch_hub_dispatch(struct watch_hub *h, int64_t now)
{
    eventfd_t kicks;

    (void)eventfd_read(h->kick_fd, &kicks);
    pthread_mutex_lock(&h->lock);
    pump(h, now);
    if (now >= h->wake_at) {
        h->wake_at = INT64_MAX;
        each_watcher(h, check_time, &now);
    }
    int64_t wait = h->wake_at == INT64_MAX ? -1 : h->wake_at - now;

    unlock(h);
    return wait;
}

void watch_hub_drain(struct watch_hub *h)
{
    pthread_mutex_lock(&h->lock);
    each_watcher(h, end_watcher, NULL);
    unlock(h);
}
