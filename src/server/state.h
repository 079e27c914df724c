/* What lies in the data directory beside the store: authorities, the server's own certificates, tokens, kubeconfigs.
 * Opening makes what is absent and renews what ends soon, so every start does the same and nothing is made twice. */
#pragma once

#include "client/client_curl.h"
#include "pki/jwt.h"
#include "pki/authority.h"
#include "server/server.h"

struct server_state {
    const struct server_config *config;
    struct pki_authority *cluster;   /* ca.crt, ca.key: server, users, agents */
    struct pki_authority *migration; /* migration-ca.crt, .key: one migration and side each, and nothing else */
    char *cert, *key;                /* server.crt, server.key */
    struct jwt_key *token_key;       /* service-account.key: tokens of service accounts */
    char *bootstrap_tokens;          /* bootstrap-token */
    char *static_tokens;             /* NULL = none */
};

int state_open(const struct server_config *config, struct server_state *ret, struct gw_error *err);
void state_done(struct server_state *s);

/* Issues the server's certificate anew after two thirds of its life, or if it lacks a name that this machine has now.
 * 1: it did.
 */
int state_renew(struct server_state *s, struct gw_error *err);

/* Writes the administrator's kubeconfig unless the one there is good for this server and not two thirds through. */
int state_write_admin(struct server_state *s, uint16_t port, struct gw_error *err);

/* The address under which clients know the server. */
const char *state_public_address(const struct server_config *config);

/* A file of the data directory; freed by the caller. */
char *state_path(const struct server_state *s, const char *name);
