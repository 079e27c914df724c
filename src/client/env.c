#include "client/env.h"

#include "base/alloc.h"
#include "base/clock.h"
#include "base/random.h"

int64_t env_jitter(struct env *env, int64_t base_ms)
{
    return base_ms - base_ms / 5 + (int64_t)(env_random(env) % (uint64_t)(base_ms / 5 * 2 + 1));
}

int64_t env_backoff(struct env *env, unsigned failures, int64_t first_ms, int64_t max_ms)
{
    int64_t delay = first_ms;

    for (unsigned i = 1; i < failures && delay < max_ms; i++)
        delay *= 2;
    return env_jitter(env, MIN(delay, max_ms));
}

struct env_timer {
    sd_event_source *source;
    env_timer_fn fn;
    void *userdata;
};

struct env_sd {
    struct env env;
    sd_event *loop;
};

static struct env_timer *timer_free(struct env_timer *t)
{
    sd_event_source_disable_unref(t->source);
    free(t);
    return NULL;
}

static int64_t sd_now_ms(_unused_ struct env *env)
{
    return clock_monotonic_ms();
}

static int64_t sd_wall_us(_unused_ struct env *env)
{
    return clock_wall_us();
}

static uint64_t sd_random(_unused_ struct env *env)
{
    uint64_t n;

    random_bytes(&n, sizeof(n));
    return n;
}

static void call(struct env_timer *t)
{
    env_timer_fn fn = t->fn;
    void *fn_userdata = t->userdata;

    timer_free(t);
    fn(fn_userdata);
}

static int on_time(_unused_ sd_event_source *source, _unused_ uint64_t usec, void *userdata)
{
    call(userdata);
    return 0;
}

static int on_turn(_unused_ sd_event_source *source, void *userdata)
{
    call(userdata);
    return 0;
}

static struct env_timer *sd_timer_add(struct env *env, int64_t delay_ms, env_timer_fn fn, void *userdata)
{
    struct env_sd *e = CONTAINER_OF(env, struct env_sd, env);
    struct env_timer *t = xnew(struct env_timer);
    int r;

    t->fn = fn;
    t->userdata = userdata;
    if (delay_ms <= 0) /* work queues do so for each key: it spares setting the kernel's timer and reading it */
        r = sd_event_add_defer(e->loop, &t->source, on_turn, t);
    else
        r = sd_event_add_time_relative(e->loop, &t->source, CLOCK_MONOTONIC, (uint64_t)delay_ms * 1000, 1, on_time, t);
    if (r < 0) /* only when memory or descriptors run out */
        abort();
    return t;
}

static void sd_timer_cancel(_unused_ struct env *env, struct env_timer *timer)
{
    timer_free(timer);
}

static const struct env_ops sd_ops = {
    .now_ms = sd_now_ms,
    .wall_us = sd_wall_us,
    .random = sd_random,
    .timer_add = sd_timer_add,
    .timer_cancel = sd_timer_cancel,
};

struct env *env_sd_new(sd_event *loop, struct api_client *client)
{
    struct env_sd *e = xnew(struct env_sd);

    e->env = (struct env){.ops = &sd_ops, .client = client};
    e->loop = sd_event_ref(loop);
    return &e->env;
}

struct env *env_sd_free(struct env *env)
{
    if (!env)
        return NULL;
    struct env_sd *e = CONTAINER_OF(env, struct env_sd, env);
    sd_event_unref(e->loop);
    free(e);
    return NULL;
}
