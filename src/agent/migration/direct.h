/* The direct channel between agents: the source tells the target's agent that it grants, without the detour over the
 * API server. HTTPS with mutual TLS of the nodes' certificates; a message is a POST, its answer says only that it
 * arrived. */
#pragma once

#include "agent/agent.h"
#include "agent/endpoint/endpoint.h"

/* --- the target's end --- */

/* A grant came from the agent of `node` (proven by its certificate). Called on the agent's loop; the values live during
 * the call. Nothing of it was checked beyond who sent it. */
typedef void (*direct_grant_fn)(void *userdata, const char *node, yyjson_val *grant);

struct direct_server {
    direct_grant_fn fn;
    void *userdata;
};

/* Takes grants at the agent's endpoint, for as long as that serves. */
void direct_serve(struct direct_server *s, struct endpoint *e);

/* --- the source's end --- */

struct direct_channel;

/* Connects to address ("10.0.0.2:10250") ahead of need, so that a grant costs one round trip. */
struct direct_channel *direct_open(struct agent *a, const char *address);
struct direct_channel *direct_close(struct direct_channel *c);

/* Keeps the connection open: to be called now and then; now in monotonic ms. */
void direct_keep(struct direct_channel *c, int64_t now);

/* Sends a grant: text is its JSON. Best effort: whoever sends repeats until it sees the effect. */
void direct_send_grant(struct direct_channel *c, const char *text);
