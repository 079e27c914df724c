/* The inside of the frame, shared by controllers.c (what is watched) and task.c (one run of a key). */
#pragma once

#include "client/workqueue.h"
#include "controllers/controller.h"

/* A cache that controllers share. */
struct shared {
    const struct api_resource *resource;
    struct informer *informer;
    const char **keep; /* union of what they read, NULL = all */
};
VEC_DEFINE(shared_vec, struct shared);

/* A controller at work. */
struct running {
    const struct controller *controller;
    struct controllers *all;
    struct workqueue *queue;
    struct event_recorder *events;
    void *state;
    struct map *tasks;  /* key -> struct task under way */
    struct map *errors; /* key -> struct gw_error of its last run */
};

/* The userdata of one informer handler. */
struct link {
    struct running *running;
    const struct controller_watch *watch;
};
VEC_DEFINE(running_vec, struct running *);
VEC_DEFINE(link_vec, struct link *);

struct controllers {
    struct env *env;
    struct shared_vec shared;
    struct running_vec running;
    struct link_vec links;
    struct env_timer *sync_timer; /* pending until all caches are filled */
};

/* NULL if nobody watches it. */
struct informer *controllers_informer(const struct controllers *cs, const struct api_resource *r);

/* workqueue_fn of a struct running. */
void task_run(void *userdata, const char *key);
/* Drops what is under way without a word to the queue. */
void task_free(void *task);
