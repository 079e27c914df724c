#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/watch_internal.h"

/* Objects of the initial state per read of the store, and so per watcher_next. */
#define PAGE 100

struct watcher *watcher_new(struct watch_hub *h, struct watch_options *o)
{
    struct watcher *w = xnew(struct watcher);

    w->hub = h;
    w->refs = 1;
    w->options = *o;
    o->selection = (struct selection){0};
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->call_ended, NULL);
    return w;
}

struct watcher *watcher_ref(struct watcher *w)
{
    __atomic_add_fetch(&w->refs, 1, __ATOMIC_RELAXED);
    return w;
}

void watcher_unref(struct watcher *w)
{
    if (__atomic_sub_fetch(&w->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    selection_done(&w->options.selection);
    api_parts_clear(&w->queue);
    store_list_done(&w->page);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->call_ended);
    free(w);
}

struct watcher *watcher_close(struct watcher *w)
{
    if (!w)
        return NULL;
    watch_hub_leave(w->hub, w);
    pthread_mutex_lock(&w->lock);
    w->closed = true;
    while (w->calling && !pthread_equal(w->caller, pthread_self()))
        pthread_cond_wait(&w->call_ended, &w->lock);
    pthread_mutex_unlock(&w->lock);
    watcher_unref(w);
    return NULL;
}

/* --- Filling the queue: under the watcher's lock --- */

/* Only a table's first event names its columns, as kubectl expects. */
static bool take_definitions(struct watcher *w)
{
    bool first = !w->definitions_sent && w->options.form.type == OUTPUT_TABLE;

    w->definitions_sent = true;
    return first;
}

static void check_backlog(struct watcher *w, size_t from)
{
    for (size_t i = from; i < w->queue.len; i++)
        w->queue_bytes += w->queue.items[i].len;
    if (w->queue_bytes <= WATCH_BACKLOG_MAX)
        return;
    w->cut = true;
    api_parts_clear(&w->queue);
}

bool watcher_tell(struct watcher *w, struct hub_event *e, int64_t now)
{
    enum watch_type type = e->store.revision > w->from ? watch_decide(e, &w->options.selection) : WATCH_TYPE_MAX;

    if (type == WATCH_TYPE_MAX)
        return false;
    pthread_mutex_lock(&w->lock);
    if (!w->ended && !w->cut && !w->closed) {
        size_t from = w->queue.len;
        struct output_kind k = w->options.kind;

        k.now = now;
        watch_line_append(&w->queue, watch_line_of(e, type, &k, &w->options.form, take_definitions(w)));
        check_backlog(w, from);
    }
    pthread_mutex_unlock(&w->lock);
    return true;
}

void watcher_bookmark(struct watcher *w, int64_t revision)
{
    pthread_mutex_lock(&w->lock);
    if (!w->ended && !w->cut) {
        size_t from = w->queue.len;

        watch_line_bookmark(&w->queue, &w->options.kind, &w->options.form, revision, false);
        check_backlog(w, from);
    }
    pthread_mutex_unlock(&w->lock);
}

static void end_locked(struct watcher *w, const struct gw_error *err)
{
    if (err && !w->ended)
        watch_line_error(&w->queue, err);
    w->ended = true;
}

void watcher_end(struct watcher *w, const struct gw_error *err)
{
    pthread_mutex_lock(&w->lock);
    end_locked(w, err);
    pthread_mutex_unlock(&w->lock);
}

/* --- The initial state --- */

int watcher_read_initial(struct watcher *w, struct gw_error *err)
{
    _cleanup_free_ char *after = w->page.len ? xstrdup(w->page.items[w->page.len - 1].key) : NULL;
    struct store_list_options o = {
        .prefix = w->options.selection.prefix,
        .after_key = after,
        .limit = w->options.selection.only ? 1 : PAGE,
        .revision = w->initial_revision,
    };

    store_list_done(&w->page);

    int r = store_list(w->hub->store, &o, &w->page, err);

    if (r < 0)
        return r;
    w->initial_revision = w->page.revision;
    w->initial_left = true;
    return 0;
}

/* Gives out the page that was read, and reads the next one. */
static void take_initial(struct watcher *w, struct api_parts *ret)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    const struct watch_options *o = &w->options;
    bool more = w->page.remaining > 0 && !o->selection.only;

    for (size_t i = 0; i < w->page.len; i++) {
        struct store_item *item = &w->page.items[i];

        if (selection_has_key(&o->selection, item->key) && selection_matches(&o->selection, item->value))
            watch_line_added(ret, &o->kind, &o->form, take_definitions(w), item->value, item->revision);
    }
    if (more && watcher_read_initial(w, &err) < 0) {
        api_parts_clear(&w->queue);
        end_locked(w, &err);
        more = false;
    }
    w->initial_left = more;
    if (!more)
        store_list_done(&w->page);
    if (!more && o->initial_end && !w->ended)
        watch_line_bookmark(ret, &o->kind, &o->form, w->initial_revision, true);
}

/* --- The client's side --- */

static void take_queue(struct watcher *w, struct api_parts *ret)
{
    VEC_EACH(&w->queue, part)
        api_parts_push(ret, *part);
    api_parts_done(&w->queue);
    w->queue_bytes = 0;
}

int watcher_next(struct watcher *w, struct api_parts *ret)
{
    size_t before = ret->len;
    int r = 0;

    pthread_mutex_lock(&w->lock);
    while (w->initial_left && ret->len == before && !w->cut) /* a page may select nothing */
        take_initial(w, ret);
    if (ret->len == before && !w->cut)
        take_queue(w, ret);
    if (ret->len > before)
        r = 1;
    else if (w->cut)
        r = -EPIPE;
    else if (w->ended)
        r = -ENODATA;
    pthread_mutex_unlock(&w->lock);
    return r;
}

static bool has_news(const struct watcher *w)
{
    return w->initial_left || w->queue.len > 0 || w->ended || w->cut;
}

/* The function runs without the lock, so that it may use the watcher; watcher_close waits for its end. */
void watcher_call_ready(struct watcher *w)
{
    pthread_mutex_lock(&w->lock);
    while (w->calling && !pthread_equal(w->caller, pthread_self()))
        pthread_cond_wait(&w->call_ended, &w->lock);
    if (w->ready && !w->closed && !w->calling && has_news(w)) {
        w->calling = true;
        w->caller = pthread_self();
        pthread_mutex_unlock(&w->lock);
        w->ready(w->userdata);
        pthread_mutex_lock(&w->lock);
        w->calling = false;
        pthread_cond_broadcast(&w->call_ended);
    }
    pthread_mutex_unlock(&w->lock);
}

void watcher_on_ready(struct watcher *w, void (*ready)(void *userdata), void *userdata)
{
    watcher_ref(w);
    pthread_mutex_lock(&w->lock);
    w->ready = ready;
    w->userdata = userdata;
    pthread_mutex_unlock(&w->lock);
    watcher_call_ready(w);
    watcher_unref(w);
}
