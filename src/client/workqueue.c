#include "client/workqueue.h"

#include "base/alloc.h"
#include "base/map.h"
#include "base/vec.h"

#define RETRY_FIRST_MS 50
#define RETRY_MAX_MS 30000

/* All that is known of a key; it is forgotten when nothing of it is left. */
struct item {
    struct workqueue *q;
    struct env_timer *timer; /* the earliest pending delay */
    int64_t due;
    unsigned failures;
    bool queued;
    bool working;
    bool again; /* added while working */
    char key[];
};

VEC_DEFINE(item_vec, struct item *);

struct workqueue {
    struct env *env;
    unsigned parallel, working;
    workqueue_fn work;
    void *userdata;
    struct map *items;
    struct item_vec queue; /* from `head` on */
    size_t head;
    struct env_timer *turn; /* pending when something can be worked on */
};

static struct item *item_of(struct workqueue *q, const char *key)
{
    struct item *it = map_get(q->items, key);
    size_t len = strlen(key) + 1;

    if (it)
        return it;
    it = xcalloc(1, sizeof(*it) + len);
    it->q = q;
    memcpy(it->key, key, len);
    map_put(q->items, it->key, it);
    return it;
}

static void forget_if_idle(struct item *it)
{
    if (it->queued || it->working || it->timer || it->failures)
        return;
    (void)map_steal(it->q->items, it->key);
    free(it);
}

static void turn(void *userdata);

static void wake(struct workqueue *q)
{
    if (!q->turn && q->head < q->queue.len && q->working < q->parallel)
        q->turn = env_timer(q->env, 0, turn, q);
}

static void push(struct item *it)
{
    struct workqueue *q = it->q;

    if (it->working) {
        it->again = true;
    } else if (!it->queued) {
        it->queued = true;
        item_vec_push(&q->queue, it);
    }
    wake(q);
}

static struct item *pop(struct workqueue *q)
{
    struct item *it = q->queue.items[q->head++];

    if (q->head == q->queue.len) {
        q->head = q->queue.len = 0;
    } else if (q->head > 64 && q->head > q->queue.len / 2) {
        q->queue.len -= q->head;
        memmove(q->queue.items, q->queue.items + q->head, q->queue.len * sizeof(*q->queue.items));
        q->head = 0;
    }
    return it;
}

/* Works on one key per turn of the loop, so that other sources get theirs in between. */
static void turn(void *userdata)
{
    struct workqueue *q = userdata;

    q->turn = NULL;
    struct item *it = pop(q);
    it->queued = false;
    it->working = true;
    q->working++;
    env_timer_cancel(q->env, &it->timer); /* whatever it waited for happens now */
    q->work(q->userdata, it->key);
    wake(q);
}

void workqueue_add(struct workqueue *q, const char *key)
{
    push(item_of(q, key));
}

static void on_delay(void *userdata)
{
    struct item *it = userdata;

    it->timer = NULL;
    push(it);
}

void workqueue_add_after(struct workqueue *q, const char *key, int64_t delay_ms)
{
    struct item *it = item_of(q, key);
    int64_t due = env_now(q->env) + delay_ms;

    if (it->timer && it->due <= due)
        return;
    env_timer_cancel(q->env, &it->timer);
    it->due = due;
    it->timer = env_timer(q->env, delay_ms, on_delay, it);
}

static struct item *end_work(struct workqueue *q, const char *key)
{
    struct item *it = map_get(q->items, key);

    it->working = false;
    q->working--;
    if (it->again) {
        it->again = false;
        push(it);
    }
    wake(q);
    return it;
}

void workqueue_done(struct workqueue *q, const char *key)
{
    struct item *it = end_work(q, key);

    it->failures = 0;
    forget_if_idle(it);
}

int64_t workqueue_retry(struct workqueue *q, const char *key)
{
    struct item *it = map_get(q->items, key);
    int64_t delay = env_backoff(q->env, ++it->failures, RETRY_FIRST_MS, RETRY_MAX_MS);

    workqueue_add_after(q, key, delay);
    end_work(q, key);
    return delay;
}

unsigned workqueue_failures(const struct workqueue *q, const char *key)
{
    const struct item *it = map_get(q->items, key);

    return it ? it->failures : 0;
}

size_t workqueue_len(const struct workqueue *q)
{
    return map_len(q->items);
}

size_t workqueue_busy(const struct workqueue *q)
{
    return q->queue.len - q->head + q->working;
}

struct workqueue *workqueue_new(struct env *env, unsigned parallel, workqueue_fn work, void *userdata)
{
    struct workqueue *q = xnew(struct workqueue);

    q->env = env;
    q->parallel = parallel;
    q->work = work;
    q->userdata = userdata;
    q->items = map_new(NULL);
    return q;
}

struct workqueue *workqueue_free(struct workqueue *q)
{
    void *value;

    if (!q)
        return NULL;
    for (size_t at = 0; map_next(q->items, &at, NULL, &value);) {
        struct item *it = value;
        env_timer_cancel(q->env, &it->timer);
        free(it);
    }
    map_free(q->items);
    item_vec_done(&q->queue);
    env_timer_cancel(q->env, &q->turn);
    free(q);
    return NULL;
}
