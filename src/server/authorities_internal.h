/* Shared by authorities.c (steps), authorities_wait.c (who is not ready) and authorities_serve.c (requests). */
#pragma once

#include <pthread.h>

#include "base/str.h"
#include "base/strv.h"
#include "server/authorities.h"

enum { CLUSTER, MIGRATION };

struct authority {
    const char *name, *key; /* key: in ConfigMap godwit-ca */
    struct pki_authority *authority;
};

struct authorities {
    struct rest_server *rest;
    struct authority each[2]; /* by CLUSTER and MIGRATION */
    void (*changed)(void *userdata);
    void *userdata;
    pthread_mutex_t lock; /* one step at a time; guards the rest */
    bool unpublished;
    pthread_mutex_t users_lock; /* guards what follows */
    struct strv users;          /* who came with a certificate of the old authority, in this roll-over */
};

#define AUTHORITIES_USERS_MAX 200

/* Calls fn for whatever keeps a roll-over from its next step: a Node ("node", its name) or a migration
 * ("virtualmachineinstance", "ns/name"), and why. */
typedef void (*authorities_wait_fn)(void *userdata, const char *what, const char *name, const char *why);
void authorities_waiting(struct authorities *a, const struct authority *one, authorities_wait_fn fn, void *userdata);

/* An authorities_wait_fn for a struct str: "node a: why; node b: why". */
void authorities_append(void *str, const char *what, const char *name, const char *why);

/* Whether the migration with this uid is known to have been made after that time. */
bool authorities_began_since(struct rest_server *rest, const char *migration_uid, int64_t since_ms);

int authorities_step(struct authorities *a, const struct authority *one, const char *step, struct gw_error *err);
