/* Everything that is not determined by the API's objects, behind one table: time, timers, randomness, the API client.
 * Controllers and all of src/client take a `struct env`, so that tests run them unchanged with a virtual clock over an
 * API server in the same process (the idea is dqlite's raft_io). The real one is env_sd_new().
 *
 * An env and all that was made with it belong to one thread. */
#pragma once

#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/cleanup.h"

struct api_client;
struct env;
struct env_timer;

typedef void (*env_timer_fn)(void *userdata);

struct env_ops {
    int64_t (*now_ms)(struct env *env);  /* monotonic: for intervals */
    int64_t (*wall_us)(struct env *env); /* since the epoch, UTC: for what people read */
    uint64_t (*random)(struct env *env);
    struct env_timer *(*timer_add)(struct env *env, int64_t delay_ms, env_timer_fn fn, void *userdata);
    void (*timer_cancel)(struct env *env, struct env_timer *timer);
};

struct env {
    const struct env_ops *ops;
    struct api_client *client; /* borrowed: outlives the env */
};

static inline int64_t env_now(struct env *env)
{
    return env->ops->now_ms(env);
}

static inline int64_t env_wall_ms(struct env *env)
{
    return env->ops->wall_us(env) / 1000;
}

static inline int64_t env_wall_us(struct env *env)
{
    return env->ops->wall_us(env);
}

static inline uint64_t env_random(struct env *env)
{
    return env->ops->random(env);
}

/* Calls fn once, delay_ms from now (0 = in the next turn of the loop, never at once). The handle is valid until fn is
 * called or the timer is cancelled: callers forget it in fn's first line. */
static inline struct env_timer *env_timer(struct env *env, int64_t delay_ms, env_timer_fn fn, void *userdata)
{
    return env->ops->timer_add(env, delay_ms, fn, userdata);
}

/* Cancels *timer if there is one and sets it to NULL. */
static inline void env_timer_cancel(struct env *env, struct env_timer **timer)
{
    if (*timer)
        env->ops->timer_cancel(env, TAKE_PTR(*timer));
}

/* base_ms +- 20 %, so that many clients do not act in step. */
int64_t env_jitter(struct env *env, int64_t base_ms);

/* The delay before attempt number `failures` (1 = first retry): first_ms doubled each time up to max_ms, with jitter.
 */
int64_t env_backoff(struct env *env, unsigned failures, int64_t first_ms, int64_t max_ms);

/* The real environment on an sd-event loop, which it references. client may be NULL. Free when no timer is pending. */
struct env *env_sd_new(sd_event *loop, struct api_client *client);
struct env *env_sd_free(struct env *env);

DEFINE_CLEANUP(struct env *, env_sd_free)
