/* An environment in virtual time: clock, timers and randomness are determined by a seed, and time passes only in
 * virtual_run and virtual_step. Timers that are due at the same instant run in the order in which they were set. */
#pragma once

#include <stdbool.h>

#include "client/env.h"

#define VIRTUAL_WALL_START_MS 1764547200000LL /* 2025-12-01T00:00:00Z at virtual time 1 s */

struct virtual;

struct virtual *virtual_new(uint64_t seed);
struct virtual *virtual_free(struct virtual *v);

/* Further environments in the same time, with a client of their own: one per simulated process. Freeing it cancels all of
 * its timers, as the end of a process would. */
struct env *virtual_env(struct virtual *v, struct api_client *client);
struct env *virtual_env_free(struct env *env);

int64_t virtual_now(const struct virtual *v);
uint64_t virtual_random(struct virtual *v);

/* Runs the next timer, moving the clock to it; false if there is none up to until_ms. */
bool virtual_step(struct virtual *v, int64_t until_ms);
/* Runs all that is due within the next ms milliseconds; then that time has passed. */
void virtual_run(struct virtual *v, int64_t ms);
/* Runs until test says true; false if it did not within ms milliseconds. */
bool virtual_run_until(struct virtual *v, int64_t ms, bool (*test)(void *userdata), void *userdata);
