/* How a watcher finds its place in the stream of events, and leaves it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "apiserver/watch_internal.h"

void watch_hub_leave(struct watch_hub *h, struct watcher *w)
{
    pthread_mutex_lock(&h->lock);
    struct channel *ch = map_get(h->channels, w->options.kind.kind->prefix);

    for (struct watcher **p = ch ? &ch->watchers : NULL; p && *p; p = &(*p)->next)
        if (*p == w) {
            *p = w->next;
            h->n_watchers--;
            break;
        }
    pthread_mutex_unlock(&h->lock);
}

/* Tells w the events in (w->from, upto] from the store's history. Without the hub's lock: these events are w's alone.
 */
static int replay_history(struct watcher *w, int64_t upto, int64_t now, struct gw_error *err)
{
    _cleanup_store_watch_ struct store_watch *source = NULL;
    int r = store_watch_open(w->hub->store, w->from, &source, err);

    while (r >= 0 && w->from < upto) {
        struct store_event e = {0};

        r = store_watch_next(source, &e, err);
        if (r <= 0)
            break;

        _cleanup_(hub_event_unrefp) struct hub_event *event = hub_event_new(&e);

        (void)watcher_tell(w, event, now);
        w->from = event->store.revision;
    }
    return MIN(r, 0);
}

static void join_locked(struct watch_hub *h, struct watcher *w, int64_t now)
{
    struct channel *ch = map_get(h->channels, w->options.kind.kind->prefix);

    for (size_t i = 0; i < h->ring_len; i++) {
        struct hub_event *e = h->ring[(h->ring_first + i) % RING_EVENTS];

        (void)watcher_tell(w, e, now);
        hub_event_rest(e);
    }
    w->from = MAX(w->from, h->position);
    if (!ch) {
        ch = xnew(struct channel);
        map_put(h->channels, w->options.kind.kind->prefix, ch);
    }
    w->next = ch->watchers;
    ch->watchers = w;
    h->n_watchers++;
    if (watcher_next_time(w) < h->wake_at) {
        h->wake_at = watcher_next_time(w);
        (void)eventfd_write(h->kick_fd, 1);
    }
}

static int join(struct watch_hub *h, struct watcher *w, int64_t now, struct gw_error *err)
{
    for (;;) {
        pthread_mutex_lock(&h->lock);
        if (w->from >= h->ring_floor) {
            join_locked(h, w, now);
            pthread_mutex_unlock(&h->lock);
            return 0;
        }
        int64_t upto = h->position;

        pthread_mutex_unlock(&h->lock);

        int r = replay_history(w, upto, now, err);

        if (r < 0)
            return r;
        w->from = MAX(w->from, upto);
    }
}

/* k8s.io/apiserver's words for a start that is forgotten. */
static void end_too_old(struct watcher *w, int64_t from)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    int64_t present = store_revision(w->hub->store, NULL);

    gw_error_set(&err, GW_EXPIRED, "too old resource version: %lld (%lld)", (long long)from, (long long)present);
    watcher_end(w, &err);
}

int watcher_open(struct watch_hub *h, struct watch_options *o, int64_t now, struct watcher **ret, struct gw_error *err)
{
    _cleanup_error_ struct gw_error fault = GW_ERROR_INIT;
    struct watcher *w = watcher_new(h, o);
    int r = store_check_reached(h->store, w->options.from, &fault);

    w->ends_at = now + w->options.timeout_ms;
    w->bookmark_at = now + BOOKMARK_EVERY_MS;
    if (r == 0 && w->options.initial)
        r = watcher_read_initial(w, &fault);
    w->from = w->options.initial ? w->initial_revision : w->options.from;
    if (r == 0)
        r = join(h, w, now, &fault);
    if (r < 0 && fault.reason == GW_EXPIRED) {
        end_too_old(w, w->options.from);
    } else if (r < 0) {
        gw_error_move(err, &fault);
        watcher_close(w);
        return r;
    }
    *ret = w;
    return 0;
}
