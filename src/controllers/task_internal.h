/* A task and the writes that it is to make: task.c performs what task_writes.c puts in. */
#pragma once

#include "controllers/frame.h"

enum task_verb {
    VERB_CREATE,
    VERB_CREATE_SUB,
    VERB_PATCH,
    VERB_DELETE,
    VERB_DELETE_NOW,
    VERB_DELETE_ALL,
    VERB_ABSENT,
    VERB_EVENT
};

struct task_write {
    enum task_verb verb;
    enum api_patch_type type;
    const struct api_resource *resource;
    char *ns, *name, *sub, *uid;
    char *version; /* resourceVersion that is demanded, NULL = any */
    char *propagation;
    yyjson_mut_doc *doc;
    const char *event_type, *event_reason; /* static */
    char *message;
};
VEC_DEFINE(task_write_vec, struct task_write);

struct task {
    struct running *running;
    struct task_write_vec writes;
    size_t at; /* the one under way */
    struct api_call *call;
    int64_t requeue_ms; /* -1 = not asked for */
    char key[];
};
