/* Requests wait in lanes, one for each user as far as the lanes go, and workers serve the lanes in turn; so who sends
 * much waits for himself. A lane never has all workers: when its requests hang, on a slow reader say, a few are left
 * for the others. Requests beyond what a lane may hold are refused, which takes a worker no time. */
#include <errno.h>
#include <stdio.h>

#include "http/http_internal.h"

/* Handlers run SQLite, regular expressions and JSON trees of limited depth: measured need is below 100 KiB. */
#define STACK_BYTES (512UL << 10)

#define WORKERS_LEFT 2 /* for other lanes */
#define RETRY_AFTER_S 1

static unsigned lane_share(const struct http_workers *w, const struct http_lane *lane)
{
    return lane == &w->lanes[LANE_URGENT] || w->n <= WORKERS_LEFT * 2 ? w->n : w->n - WORKERS_LEFT;
}

/* The next lane in turn that has work and may have another worker. */
static struct http_lane *next_lane(struct http_workers *w)
{
    for (unsigned i = 0; i < HTTP_LANES; i++) {
        struct http_lane *lane = &w->lanes[(w->turn + i) % HTTP_LANES];

        if (lane->first && lane->running < lane_share(w, lane)) {
            w->turn = (unsigned)(lane - w->lanes) + 1;
            return lane;
        }
    }
    return NULL;
}

/* With the lock held. */
static struct http_job *pop(struct http_lane *lane)
{
    struct http_job *job = lane->first;

    lane->first = job->next;
    if (!lane->first)
        lane->last = &lane->first;
    lane->waiting--;
    lane->running++;
    return job;
}

/* Ends the worker's part in *lane, if it has one, and waits for the next job. */
static struct http_job *take(struct http_workers *w, struct http_lane **lane)
{
    struct http_lane *left = *lane;
    struct http_job *job;
    bool wanted;

    pthread_mutex_lock(&w->lock);
    if (left)
        left->running--;
    while (!w->stopping && !(*lane = next_lane(w)))
        pthread_cond_wait(&w->more, &w->lock);
    job = w->stopping ? NULL : pop(*lane);
    wanted = left && left->first && left->running < lane_share(w, left); /* another worker there */
    pthread_mutex_unlock(&w->lock);
    if (wanted)
        pthread_cond_signal(&w->more);
    return job;
}

static void *work(void *arg)
{
    struct http_workers *w = arg;
    struct http_lane *lane = NULL;
    struct http_job *job;

    while ((job = take(w, &lane)))
        job->run(job);
    return NULL;
}

int workers_start(struct http_workers *w, unsigned n, struct gw_error *err)
{
    pthread_attr_t attr;
    int r = 0;

    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->more, NULL);
    for (unsigned i = 0; i < HTTP_LANES; i++)
        w->lanes[i].last = &w->lanes[i].first;
    w->threads = xnew_n(pthread_t, n);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    for (w->n = 0; w->n < n && r == 0; w->n += r == 0)
        r = pthread_create(&w->threads[w->n], &attr, work, w);
    pthread_attr_destroy(&attr);
    return r ? gw_error_errno(err, r, "cannot start worker threads") : 0;
}

static bool is_urgent(const struct http_request *r)
{
    const char *const *target = r->c->s->config.urgent;

    while (target && *target && !str_starts(r->target, *target))
        target++;
    return target && *target;
}

static struct http_lane *lane_of(struct http_workers *w, struct http_request *r)
{
    struct http_lane *lane = &w->lanes[r->c->lane];

    if (is_urgent(r))
        return &w->lanes[LANE_URGENT];
    if (lane->waiting < r->c->s->config.max_waiting)
        return lane;
    gw_error_set(&r->fault, GW_TOO_MANY_REQUESTS,
                 "too many requests of this user are waiting already, please try again");
    r->fault.retry_after_s = RETRY_AFTER_S;
    return &w->lanes[LANE_URGENT];
}

/* With the lock held. */
static void add(struct http_workers *w, struct http_lane *lane, struct http_job *job)
{
    job->next = NULL;
    *lane->last = job;
    lane->last = &job->next;
    lane->waiting++;
}

void workers_submit(struct http_workers *w, struct http_request *r)
{
    pthread_mutex_lock(&w->lock);
    add(w, lane_of(w, r), &r->job);
    pthread_mutex_unlock(&w->lock);
    pthread_cond_signal(&w->more); /* behind the lock, which whoever wakes up wants at once */
}

static unsigned lane_of_user(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325ULL; /* FNV-1a */

    for (const char *p = name; *p; p++)
        hash = (hash ^ (unsigned char)*p) * 0x100000001b3ULL;
    return LANE_USERS + (unsigned)(hash % (HTTP_LANES - LANE_USERS));
}

void http_set_user(struct http_request *r, const char *name)
{
    r->c->lane = lane_of_user(name);
}

void workers_add(struct http_workers *w, const char *user, struct http_job *job)
{
    pthread_mutex_lock(&w->lock);
    add(w, &w->lanes[lane_of_user(user)], job);
    pthread_mutex_unlock(&w->lock);
    pthread_cond_signal(&w->more);
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
