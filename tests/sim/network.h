/* The simulated network between api_clients and the REST core; sim.c owns it. */
#pragma once

#include "apiserver/rest.h"
#include "sim.h"

struct network;

/* env: the simulation's own timers. */
struct network *network_new(struct rest_server *rest, struct env *env, const struct sim_config *cfg);
struct network *network_free(struct network *n);
void network_configure(struct network *n, const struct sim_config *cfg);

/* A client that asks as this user (all texts copied). */
struct api_client *network_client(struct network *n, const char *name, const char *group);
void network_partition(struct api_client *c, bool cut);

/* All connections break, and new ones are refused for ms. */
void network_server_down(struct network *n, int64_t ms);

/* Serves a request at once; then the watches are told. */
void network_serve(struct network *n, const struct api_request *q, struct api_response *r);

struct sim_counts network_counts(const struct network *n);
