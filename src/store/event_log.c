#include "store/event_log.h"

#include <sys/eventfd.h>

#include "base/alloc.h"

struct event_node *event_node_new(struct store_event *e)
{
    struct event_node *n = xnew(struct event_node);

    n->refs = 1;
    n->event = *e;
    *e = (struct store_event){0};
    return n;
}

void event_node_unref(struct event_node *n)
{
    while (n && --n->refs == 0) {
        struct event_node *next = n->next;

        store_event_done(&n->event);
        free(n);
        n = next;
    }
}

void event_log_init(struct event_log *log, int64_t revision)
{
    struct store_event start = {.revision = revision};

    *log = (struct event_log){.newest = event_node_new(&start)};
    pthread_mutex_init(&log->lock, NULL);
}

void event_log_done(struct event_log *log)
{
    event_node_unref(log->newest);
    pthread_mutex_destroy(&log->lock);
}

static void signal_reader(struct event_reader *r)
{
    if (r->signalled)
        return;
    r->signalled = true;
    (void)eventfd_write(r->fd, 1);
}

void event_log_append(struct event_log *log, struct event_node *chain)
{
    if (!chain)
        return;
    pthread_mutex_lock(&log->lock);

    struct event_node *before = log->newest, *last = chain;

    while (last->next)
        last = last->next;
    before->next = chain;
    last->refs++;
    log->newest = last;
    event_node_unref(before);
    for (struct event_reader *r = log->readers; r; r = r->next)
        signal_reader(r);
    pthread_mutex_unlock(&log->lock);
}

void event_reader_join(struct event_log *log, struct event_reader *r, int fd, int64_t *ret_revision)
{
    pthread_mutex_lock(&log->lock);
    *r = (struct event_reader){.at = log->newest, .fd = fd, .signalled = true, .next = log->readers};
    log->newest->refs++;
    log->readers = r;
    *ret_revision = log->newest->event.revision;
    pthread_mutex_unlock(&log->lock);
}

void event_reader_leave(struct event_log *log, struct event_reader *r)
{
    pthread_mutex_lock(&log->lock);
    for (struct event_reader **p = &log->readers; *p; p = &(*p)->next)
        if (*p == r) {
            *p = r->next;
            break;
        }
    event_node_unref(r->at);
    pthread_mutex_unlock(&log->lock);
}

static void copy_event(const struct store_event *e, struct store_event *ret)
{
    *ret = *e;
    ret->key = xstrdup(e->key);
    if (e->value)
        blob_ref(e->value);
    if (e->previous)
        blob_ref(e->previous);
}

bool event_reader_next(struct event_log *log, struct event_reader *r, struct store_event *ret)
{
    eventfd_t count;

    pthread_mutex_lock(&log->lock);
    struct event_node *n = r->at->next;

    if (n) {
        n->refs++;
        event_node_unref(r->at);
        r->at = n;
        copy_event(&n->event, ret);
    } else if (r->signalled) {
        r->signalled = false;
        (void)eventfd_read(r->fd, &count);
    }
    pthread_mutex_unlock(&log->lock);
    return n != NULL;
}
