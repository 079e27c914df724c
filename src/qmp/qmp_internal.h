/* The inside of a client, shared by qmp.c (the session) and commands.c (what is sent and answered). */
#pragma once

#include "base/vec.h"
#include "qmp/frames.h"
#include "qmp/qmp.h"

enum qmp_state { QMP_CONNECTING, QMP_GREETING, QMP_NEGOTIATING, QMP_READY, QMP_CLOSED };

struct command {
    uint64_t id;
    char *text; /* what is to be written, NULL once it is */
    size_t len, written;
    int fd; /* to be sent along, or -1 */
    qmp_reply_fn reply;
    void *userdata;
    void *block; /* userdata, where the client frees it */
};

VEC_DEFINE(command_vec, struct command *);

struct qmp {
    enum qmp_state state;
    sd_event *loop;
    sd_event_source *io, *retry, *deferred;
    int fd;
    char *path;
    int64_t deadline_ms;
    const struct qmp_handlers *handlers;
    void *userdata;
    struct frames frames;
    struct command_vec outbox, waiting;
    uint64_t last_id;
    yyjson_doc *greeting;
    char *why; /* set once the session is over */
    bool told; /* `closed` was called */
    int depth; /* callbacks on the stack */
    bool freed;
};

/* commands.c */

/* A command with an id of its own, for the outbox; takes arguments (may be NULL). */
struct command *command_new(struct qmp *q, const char *name, yyjson_mut_doc *arguments, qmp_reply_fn reply,
                            void *userdata);
/* Where the ids of a session begin: no id of another client's is near. */
uint64_t commands_first_id(void);

/* Writes what the socket takes and asks for EPOLLOUT while something is left. */
void commands_flush(struct qmp *q);
/* A reply, or an error, to one of those that wait. */
void commands_reply(struct qmp *q, yyjson_val *root, yyjson_val *result, yyjson_val *error);
/* Tells all that their answer will not come. False when the client was freed by one of them. */
bool commands_lost(struct qmp *q);
void commands_done(struct qmp *q);
