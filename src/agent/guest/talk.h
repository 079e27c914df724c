/* One pod's conversation with the agent inside its guest: whether the guest has its port open, the session while it
 * has, what is asked of it now and then for the VMI's status, and the thaw of what was frozen. Kept by the owner of the
 * guest only, and silent while the guest stands still. */
#pragma once

#include "agent/guest/guest_internal.h"
#include "qmp/ga.h"

#define POLLS 4

struct poll {
    struct talk *talk;
    int64_t due_ms; /* monotonic */
    unsigned rounds;
    bool under_way;
};

struct talk {
    struct guest_services *services;
    char *uid;  /* the pod's */
    bool known; /* QEMU has said whether the port is open */
    bool open, runs;
    struct ga *session;        /* NULL: opened by the next command */
    int64_t quiet_until;       /* monotonic: an agent that did not answer is left alone */
    unsigned failures;         /* in a row */
    yyjson_mut_doc *facts;     /* as core/guest_status.h has them */
    struct poll polls[POLLS];  /* in the order of the table in polls.c */
    int64_t look_ms;           /* monotonic: QEMU is to be asked again; 0 */
    int64_t unfreeze_ms;       /* wall clock; 0: nothing is to be thawed */
    int64_t unfrozen_ms;       /* what it was before */
    int64_t unfreeze_again_ms; /* monotonic: not before */
    bool note_read, unfreezing;
    struct env_timer *timer;
};

/* --- talk.c --- */

/* Made when it is first needed. */
struct talk *talk_of(struct guest_services *g, struct pod *p);
void talk_free(void *talk);
/* Its pod, if that has the guest; else NULL. */
struct pod *talk_pod(struct talk *t);

/* Why nothing can be asked now, for people; NULL: it can. */
const char *talk_obstacle(struct talk *t);
/* Asks the guest's agent; takes arguments, which may be NULL. reply is called in any case unless talk_free comes
 * before, and at once where there is an obstacle. */
void talk_ask(struct talk *t, const char *command, yyjson_mut_doc *arguments, int patience_ms, ga_reply_fn reply,
              void *userdata);
/* The facts have changed. */
void talk_publish(struct talk *t);
/* Something may be due sooner than it was. */
void talk_schedule(struct talk *t);

void talk_attached(struct guest_services *g, struct pod *p);
void talk_event(struct guest_services *g, struct pod *p, const char *name, yyjson_val *data);
void talk_vmi_changed(struct guest_services *g, struct pod *p);

/* --- polls.c --- */

void polls_reset(struct talk *t);
/* Asks what is due; returns when the next one is, monotonic. */
int64_t polls_run(struct talk *t, int64_t now);
/* How long after its round (0: the first) a question that is asked every so often is asked again: KubeVirt begins with
 * 10 s and doubles. */
int64_t poll_pause_ms(int64_t every_ms, unsigned round);

/* --- errands.c: what somebody waits for, or what takes several questions --- */

struct errand {
    struct talk *talk;
    struct errand *next;
    struct http_request *http; /* NULL: nobody waits (any more) */
    struct env_timer *timer;
    unsigned left; /* answers still to come */
    bool over;
    yyjson_mut_doc *answer; /* of those that ask for facts */
    size_t at;              /* the question that is answered next */
    int64_t until_ms;       /* freeze.c's: when the guest is to be thawed, wall clock; 0: not */
    bool waits;             /* freeze.c's: for the server to have until_ms */
};

/* The talk that a call is about; NULL after a refusal. */
struct talk *errand_talk(struct guest_services *g, const struct endpoint_call *call);

/* http may be NULL. It is answered in some seconds in any case. */
struct errand *errand_new(struct talk *t, struct http_request *http);
/* Asks the guest's agent. reply gets the request, and calls errand_answered last. */
void errand_ask(struct errand *e, const char *command, yyjson_mut_doc *arguments, int patience_ms, ga_reply_fn reply);
void errand_answered(struct errand *e);
/* Answers whoever waits; the request goes with the last answer that it asked for. text may be NULL for 200. */
void errand_end(struct errand *e, int status, const char *type, const char *text);
/* Nobody waits for it any more but who gets the request that is returned; NULL: it was answered already. */
struct http_request *errand_leave(struct errand *e);
/* The same for a question that the guest's agent did not answer, or refused. */
void errand_fail(struct errand *e, const char *doing, const struct ga_fault *fault);
/* Those of a pod that is gone, with its talk; those of all (NULL). */
void errands_drop(struct guest_services *g, const struct talk *t);

/* --- freeze.c --- */

/* The server has something new of the VMI: what a freeze waits for may be there. */
void freeze_look(struct guest_services *g, struct pod *p);

/* Thaws what is due; returns when that is to be looked at again, monotonic; INT64_MAX: never. */
int64_t freeze_run(struct talk *t, int64_t now);
/* A guest that was reset has thawed. */
void freeze_over(struct talk *t);

/* --- freeze_time.c --- */

/* The note of an earlier life, or what came along with the guest. */
void freeze_recall(struct talk *t, struct pod *p);
/* The guest is to be thawed at that time (wall clock; 0: no more), whatever becomes of who wanted it frozen. Noted
 * durably, then told to the server. */
int freeze_until(struct talk *t, struct pod *p, int64_t wall_ms, struct gw_error *err);
/* It has thawed. */
void freeze_forget_time(struct talk *t);
/* What the server has of it. */
int64_t freeze_announced(const struct pod *p);
