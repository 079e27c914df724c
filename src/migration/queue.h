/* Which migrations may start: a queue in front of two limits, the cluster's and that of each source node.
 *
 * Order is by priority, then by age. Whoever is first among those that can start is the only one that may: a migration
 * held up by its own node's limit does not hold up others, and none of those behind can take a place that one before
 * could use.
 *
 * Everything here can be made anew from the API at any time; it is kept only so that thousands of waiting migrations
 * are not looked through at each change. An item that was let start counts at once, before any of its writes is
 * visible: so the limits hold at every instant. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum queue_class {
    QUEUE_NONE, /* not to be counted (yet, or any more) */
    QUEUE_WAITING,
    QUEUE_ACTIVE,
};

struct queue_item {
    enum queue_class class;
    const char *node;   /* that the guest leaves; copied */
    int priority;       /* greater goes first */
    int64_t created_ms; /* then older */
    const char *uid;    /* then this; copied */
};

struct queue_limits {
    int64_t cluster, node;
};

struct queue;
struct queue *queue_new(void);
struct queue *queue_free(struct queue *q);

/* What is known of key from now on. True if others are concerned: a place became free, or they moved up. */
bool queue_set(struct queue *q, const char *key, const struct queue_item *item);
enum queue_class queue_class(const struct queue *q, const char *key);

/* The one that may start now, NULL if none. Valid until the queue changes. */
const char *queue_next(const struct queue *q, const struct queue_limits *limits);

/* The place of a waiting key, from 1; 0 if it does not wait. And the key at a place, NULL if there are fewer. */
size_t queue_place(const struct queue *q, const char *key);
const char *queue_at(const struct queue *q, size_t place);

size_t queue_waiting(const struct queue *q);
size_t queue_active(const struct queue *q);
size_t queue_active_on(const struct queue *q, const char *node);

/* KubeVirt's numbers behind spec.priority; 0 for NULL and what is unknown. */
int queue_priority(const char *name);
