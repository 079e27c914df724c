#include "virtual.h"

#include "base/alloc.h"
#include "base/vec.h"

/* Timers form a binary heap by (due, order of creation). A cancelled one stays in the heap with fn NULL until it is due. */
struct env_timer {
    int64_t due;
    uint64_t order;
    env_timer_fn fn;
    void *userdata;
    struct env *env;
};

VEC_DEFINE(heap, struct env_timer *);

struct virtual {
    int64_t now;
    uint64_t order, random;
    struct heap heap;
};

struct virtual_env {
    struct env env;
    struct virtual *v;
};

static bool before(const struct env_timer *a, const struct env_timer *b)
{
    return a->due != b->due ? a->due < b->due : a->order < b->order;
}

static void sift_up(struct heap *h, size_t i)
{
    for (size_t up; i && before(h->items[i], h->items[up = (i - 1) / 2]); i = up) {
        struct env_timer *t = h->items[i];
        h->items[i] = h->items[up];
        h->items[up] = t;
    }
}

static void sift_down(struct heap *h, size_t i)
{
    for (size_t least = i;; i = least) {
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < h->len; child++)
            if (before(h->items[child], h->items[least]))
                least = child;
        if (least == i)
            return;
        struct env_timer *t = h->items[i];
        h->items[i] = h->items[least];
        h->items[least] = t;
    }
}

static struct env_timer *heap_pop(struct heap *h)
{
    struct env_timer *t = h->items[0];

    h->items[0] = h->items[--h->len];
    sift_down(h, 0);
    return t;
}

static struct virtual *of(struct env *env)
{
    return CONTAINER_OF(env, struct virtual_env, env)->v;
}

/* splitmix64 (Steele, Lea, Flood 2014) */
uint64_t virtual_random(struct virtual *v)
{
    uint64_t z = v->random += 0x9e3779b97f4a7c15ULL;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static int64_t now_ms(struct env *env)
{
    return of(env)->now;
}

static int64_t wall_us(struct env *env)
{
    return (VIRTUAL_WALL_START_MS + of(env)->now - 1000) * 1000;
}

static uint64_t random_of(struct env *env)
{
    return virtual_random(of(env));
}

static struct env_timer *timer_add(struct env *env, int64_t delay_ms, env_timer_fn fn, void *userdata)
{
    struct virtual *v = of(env);
    struct env_timer *t = xnew(struct env_timer);

    *t = (struct env_timer){
        .due = v->now + MAX(delay_ms, 0), .order = v->order++, .fn = fn, .userdata = userdata, .env = env};
    heap_push(&v->heap, t);
    sift_up(&v->heap, v->heap.len - 1);
    return t;
}

static void timer_cancel(_unused_ struct env *env, struct env_timer *timer)
{
    timer->fn = NULL;
}

static const struct env_ops ops = {now_ms, wall_us, random_of, timer_add, timer_cancel};

struct virtual *virtual_new(uint64_t seed)
{
    struct virtual *v = xnew(struct virtual);

    v->now = 1000; /* 0 often means "never" */
    v->random = seed;
    return v;
}

struct virtual *virtual_free(struct virtual *v)
{
    if (!v)
        return NULL;
    VEC_EACH(&v->heap, t)
        free(*t);
    heap_done(&v->heap);
    free(v);
    return NULL;
}

struct env *virtual_env(struct virtual *v, struct api_client *client)
{
    struct virtual_env *e = xnew(struct virtual_env);

    *e = (struct virtual_env){.env = {.ops = &ops, .client = client}, .v = v};
    return &e->env;
}

struct env *virtual_env_free(struct env *env)
{
    if (!env)
        return NULL;
    VEC_EACH(&of(env)->heap, t)
        if ((*t)->env == env)
            (*t)->fn = NULL;
    free(CONTAINER_OF(env, struct virtual_env, env));
    return NULL;
}

int64_t virtual_now(const struct virtual *v)
{
    return v->now;
}

bool virtual_step(struct virtual *v, int64_t until_ms)
{
    while (v->heap.len && v->heap.items[0]->due <= until_ms) {
        struct env_timer *t = heap_pop(&v->heap);
        env_timer_fn fn = t->fn;
        void *userdata = t->userdata;

        if (fn)
            v->now = MAX(v->now, t->due);
        free(t);
        if (!fn)
            continue;
        fn(userdata);
        return true;
    }
    return false;
}

void virtual_run(struct virtual *v, int64_t ms)
{
    int64_t until = v->now + ms;

    while (virtual_step(v, until))
        ;
    v->now = until;
}

bool virtual_run_until(struct virtual *v, int64_t ms, bool (*test)(void *userdata), void *userdata)
{
    int64_t until = v->now + ms;

    while (!test(userdata))
        if (!virtual_step(v, until))
            return false;
    return true;
}
