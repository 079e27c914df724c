/* Keeps this node's NodeNetwork object (godwit.io/v1alpha1) up to date and follows those of the peers.
 *
 * Each change of a peer's object is taken into the kernel's routes before it is acknowledged in status.observed. A
 * change of the own addresses is published at once; what peers change is collected for a few milliseconds. Nothing here
 * is on the blackout path: a switch is complete before it is announced. */
#pragma once

#include "agent/network/node_view.h"
#include "client/env.h"

struct network;
struct node_network;

/* The node's own side; network_publish fills it with the real one. */
struct node_network_io {
    /* As network_update, network_announcement and network_deadline. */
    int (*update)(void *data, struct node_view_vec *views, int64_t now, struct gw_error *err);
    void (*announcement)(void *data, struct node_view *ret);
    int64_t (*deadline)(void *data);
    /* The object that is published already has this serial, which is not older than ours: take a greater one. */
    void (*outgrow)(void *data, int64_t serial);
};

/* Starts watching and publishing for the node named; io is referenced. */
struct node_network *node_network_new(struct env *env, const char *node, const struct node_network_io *io, void *data);
struct node_network *node_network_free(struct node_network *nn);
DEFINE_CLEANUP(struct node_network *, node_network_free)

/* The announcement has changed: publish it in the next turn of the loop. */
void node_network_changed(struct node_network *nn);

/* The real thing: follows n and becomes its listener. Free it before network_close. */
struct node_network *network_publish(struct env *env, struct network *n, const char *node);

/* Whether the first list of peers has been taken over: until then pod_network_forward may not know its target. */
bool node_network_has_synced(const struct node_network *nn);
