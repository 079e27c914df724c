/* The inside of the frame, shared by controllers.c (what is watched), keys.c (whom a change concerns), custom.c (users'
 * kinds) and task*.c (one run of a key). */
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

/* A kind of a user's CustomResourceDefinition. Stays until the end, because writes under way refer to the resource. */
struct custom_kind {
    struct api_resource resource; /* its strings are this struct's */
    struct informer *informer;    /* NULL: the definition is gone */
};
VEC_DEFINE(custom_vec, struct custom_kind *);

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
    struct custom_vec custom;
    struct env_timer *sync_timer; /* pending until all caches are filled */
};

/* watched.c */

/* NULL if nobody watches it. */
struct informer *controllers_informer(const struct controllers *cs, const struct api_resource *r);
/* The same for one whom r's absence from the controller's table of watches would be a mistake of: then aborts. NULL for
 * a user's kind whose definition is gone. */
struct informer *running_informer(const struct running *r, const struct api_resource *resource);
/* controller.h, keys_next_resource and keys_resource. */
const struct api_resource *running_next_resource(const struct running *r, size_t *at);
const struct api_resource *running_resource(const struct running *r, const char *group, const char *kind);

/* keys.c: informer_fn of a struct link. */
void link_changed(void *userdata, const char *key, yyjson_val *old, yyjson_val *obj);

/* custom.c: follows the definitions, when a controller wants users' kinds. Its cache of definitions is one of the
 * shared ones (custom_definitions is its entry); custom_start needs it to be filled. */
extern const struct controller_watch custom_definitions;
bool custom_wanted(const struct controller *const *table);
void custom_start(struct controllers *cs);
void custom_stop(struct controllers *cs);

/* workqueue_fn of a struct running. */
void task_run(void *userdata, const char *key);
/* Drops what is under way without a word to the queue. */
void task_free(void *task);
