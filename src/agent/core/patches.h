/* Writes one object in order: one request at a time, each retried until the server has it or refuses it for good. Two
 * kinds of writes go through it: patches that somebody hands over, and "what is true now", which is computed only when
 * its turn comes and may have become nothing. */
#pragma once

#include "client/client.h"
#include "client/env.h"

struct patches;

struct patches_config {
    struct env *env;
    const struct api_resource *resource;
    const char *sub;       /* subresource, or NULL */
    const char *ns, *name; /* copied */
    /* The patch that makes the object true; NULL when it is. Called again after each answer and on patches_touch. */
    yyjson_mut_doc *(*wanted)(void *userdata);
    /* The object as the server has it after a write; keeps doc with TAKE_PTR. NULL: it is gone (NotFound). */
    void (*written)(void *userdata, yyjson_doc **doc);
    /* What `wanted` was computed from is not the latest (Conflict): get it, then call patches_touch. NULL: it comes
     * anyway. */
    void (*stale)(void *userdata);
    void *userdata;
};

struct patches *patches_new(const struct patches_config *config);
/* Pending patches are forgotten, their callbacks not called. */
struct patches *patches_free(struct patches *p);

/* Asks `wanted` soon. */
void patches_touch(struct patches *p);

/* Queues a merge patch (taken). done may be NULL; err NULL: written. Refusals (4xx other than Conflict and
 * TooManyRequests) end it; everything else is tried again with back-off, a conflict at once. */
void patches_add(struct patches *p, yyjson_mut_doc *patch, void (*done)(void *userdata, const struct gw_error *err),
                 void *userdata);

/* Nothing is under way or waiting, and the object was true when last looked at. */
bool patches_idle(const struct patches *p);
