/* The agent's identity: a certificate for system:node:NAME, kept under STATE/pki, got with a bootstrap token at first
 * and renewed with itself from then on. */
#pragma once

#include "agent/agent.h"

struct identity;

/* From the loop, never from within identity_start. */
typedef void (*identity_fn)(void *userdata);

/* ready: once, when there is a client that is authenticated as the node (a->client, a->env, a->cert_pem, a->key_pem are
 * set). renewed: whenever it shows another certificate from then on.
 *
 * Waits for the server as long as it takes. Fails only for what waiting cannot mend: no certificate and no token, an
 * unreadable CA. */
int identity_start(struct agent *a, identity_fn ready, identity_fn renewed, void *userdata, struct identity **ret,
                   struct gw_error *err);

/* a->cluster_ca is another: the client checks the server by it, and the certificate is renewed if it is not of the one
 * that signs now. */
void identity_authorities_changed(struct identity *id);
struct identity *identity_stop(struct identity *id);
