/* Events on their way from the writer to the watches: one list in memory, in which each watch has a position. An event
 * is freed when the slowest watch has passed it; without watches nothing is kept. Internal to src/store; thread-safe.
 */
#pragma once

#include <pthread.h>

#include "store/store.h"

struct event_node {
    unsigned refs; /* one per watch that stands here, one by the node before, one by the log for its newest */
    struct event_node *next;
    struct store_event event; /* just a revision in the node that a log begins with */
};

struct event_reader {
    struct event_node *at; /* the last node that was read */
    int fd;                /* eventfd */
    bool signalled;
    struct event_reader *next;
};

struct event_log {
    pthread_mutex_t lock;
    struct event_node *newest;
    struct event_reader *readers;
};

/* A log of what comes after revision. */
void event_log_init(struct event_log *log, int64_t revision);
void event_log_done(struct event_log *log);

/* Adds nodes chained by `next`, each with one reference that the chain holds; takes them over, and wakes the readers.
 */
void event_log_append(struct event_log *log, struct event_node *chain);

/* A node for one event, which is taken over. */
struct event_node *event_node_new(struct store_event *e);
/* Drops a reference and those of the nodes behind that hang on it. */
void event_node_unref(struct event_node *n);

/* Joins at the newest event, whose revision goes to ret_revision: reads only what comes after. The descriptor polls
 * readable from the start, for a first look; fd is an eventfd that counts 1. */
void event_reader_join(struct event_log *log, struct event_reader *r, int fd, int64_t *ret_revision);
void event_reader_leave(struct event_log *log, struct event_reader *r);

/* The next event as references to its parts, or false; then the descriptor polls readable again only for later ones. */
bool event_reader_next(struct event_log *log, struct event_reader *r, struct store_event *ret);
