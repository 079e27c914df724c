/* A queue of keys to work on. A key is queued at most once and never worked on twice at the same time: one that is
 * added while it is being worked on runs again afterwards. Failed keys come back after a delay that doubles. */
#pragma once

#include <stddef.h>

#include "client/env.h"

struct workqueue;

/* Called from the loop for each key whose turn it is; ends with exactly one workqueue_done or workqueue_retry for the
 * key, at once or later. key is valid until then. */
typedef void (*workqueue_fn)(void *userdata, const char *key);

/* At most `parallel` keys are worked on at a time. */
struct workqueue *workqueue_new(struct env *env, unsigned parallel, workqueue_fn work, void *userdata);
/* Forgets everything; keys being worked on get no answer. */
struct workqueue *workqueue_free(struct workqueue *q);
DEFINE_CLEANUP(struct workqueue *, workqueue_free)

void workqueue_add(struct workqueue *q, const char *key);
/* Adds after a delay; of several pending delays of one key the earliest counts. */
void workqueue_add_after(struct workqueue *q, const char *key, int64_t delay_ms);

/* The work on key ended well: its back-off starts afresh. */
void workqueue_done(struct workqueue *q, const char *key);
/* It failed: again after 50 ms, doubling up to 30 s, with jitter. Returns the delay in ms. */
int64_t workqueue_retry(struct workqueue *q, const char *key);
/* How often key has failed in a row. */
unsigned workqueue_failures(const struct workqueue *q, const char *key);

/* All keys that are known: waiting, being worked on, delayed. And those without the delayed ones. */
size_t workqueue_len(const struct workqueue *q);
size_t workqueue_busy(const struct workqueue *q);
