#include <errno.h>
#include <stdio.h>

#include "http/http_internal.h"

/* Handlers run SQLite, regular expressions and JSON trees of limited depth: measured need is below 100 KiB. */
#define STACK_BYTES (512UL << 10)

static struct http_request *take(struct http_workers *w)
{
    struct http_request *r = NULL;

    pthread_mutex_lock(&w->lock);
    while (!w->first && !w->stopping)
        pthread_cond_wait(&w->more, &w->lock);
    if (!w->stopping) {
        r = w->first;
        w->first = r->next;
        if (!w->first)
            w->last = &w->first;
    }
    pthread_mutex_unlock(&w->lock);
    return r;
}

static void *work(void *arg)
{
    struct http_workers *w = arg;
    struct http_request *r;

    while ((r = take(w))) {
        struct http_server *s = r->c->s;
        bool started = false;

        r->started = &started;
        s->config.handler(r, s->config.userdata);
        if (started)
            continue; /* r may be gone already */
        if (r->status == 0)
            http_answer_text(r, 500, "text/plain", "no answer\n");
        server_post(s, r);
    }
    return NULL;
}

int workers_start(struct http_workers *w, unsigned n, struct gw_error *err)
{
    pthread_attr_t attr;
    int r = 0;

    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->more, NULL);
    w->last = &w->first;
    w->threads = xnew_n(pthread_t, n);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    for (w->n = 0; w->n < n && r == 0; w->n += r == 0)
        r = pthread_create(&w->threads[w->n], &attr, work, w);
    pthread_attr_destroy(&attr);
    return r ? gw_error_errno(err, r, "cannot start worker threads") : 0;
}

void workers_submit(struct http_workers *w, struct http_request *r)
{
    pthread_mutex_lock(&w->lock);
    r->next = NULL;
    *w->last = r;
    w->last = &r->next;
    pthread_cond_signal(&w->more);
    pthread_mutex_unlock(&w->lock);
}

void workers_stop(struct http_workers *w)
{
    if (!w->threads)
        return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_broadcast(&w->more);
    pthread_mutex_unlock(&w->lock);
    for (unsigned i = 0; i < w->n; i++)
        pthread_join(w->threads[i], NULL);
    free(w->threads);
    pthread_cond_destroy(&w->more);
    pthread_mutex_destroy(&w->lock);
}
