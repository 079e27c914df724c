/* The agent's identity: a certificate for system:node:NAME, kept under STATE/pki, got with a bootstrap token at first
 * and renewed with itself from then on. */
#pragma once

#include "agent/agent.h"

struct identity;

/* Called once there is a client that is authenticated as the node (a->client, a->env, a->cert_pem, a->key_pem are set);
 * from the loop, never from within identity_start. */
typedef void (*identity_ready_fn)(void *userdata);

/* Waits for the server as long as it takes. Fails only for what waiting cannot mend: no certificate and no token, an
 * unreadable CA. */
int identity_start(struct agent *a, identity_ready_fn ready, void *userdata, struct identity **ret,
                   struct gw_error *err);
struct identity *identity_stop(struct identity *id);
