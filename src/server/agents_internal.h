/* Shared by agents.c and agent_link.c. */
#pragma once

#include <pthread.h>

#include "base/vec.h"
#include "pki/authority.h"
#include "server/agent_link.h"

struct agents_task {
    void (*fn)(void *data);
    void *data;
};
VEC_DEFINE(task_vec, struct agents_task);

struct agents {
    const struct pki_authority *authority;
    sd_event *loop;
    sd_event_source *source;
    int wake;
    pthread_mutex_t lock; /* guards the rest */
    struct task_vec posted;
    unsigned under_way;
    unsigned patient; /* of those: who waits for a guest */
    char *cert, *key; /* CN=system:godwit:apiserver, in memory only */
    int64_t life_s;   /* of each */
    int64_t made_ms;
    unsigned made_by; /* state of the authority */
};

/* Our certificate, copied. */
struct agent_identity {
    char *cert, *key;
};
void agent_identity_done(struct agent_identity *i);
#define _cleanup_identity_pair_ __attribute__((cleanup(agent_identity_done)))
int agents_identity(struct agents *a, struct agent_identity *ret, struct gw_error *err);

/* Counts those that wait for an agent: they hold workers, of which some must stay for everybody else. */
int agents_enter(struct agents *a, struct gw_error *err);
void agents_leave(struct agents *a);
