/* Two movers and all they need, on one loop: real QEMUs (lab.h), real notes, credentials and direct channel. Played here is the
 * core of the agents (agent/pod.h), and of the API server as much as the movers see: one VMI that both patch, certificates on
 * request. So an agent, a QEMU or the server can be killed at any moment that a test names. */
#pragma once

#include "agent/agent.h"
#include "agent/guest/guest.h"
#include "agent/migration/migration.h"
#include "agent/pod.h"
#include "lab.h"

struct stage;

struct node {
    struct stage *stage;
    struct agent agent;
    struct pod pod;
    struct machine *machine;
    struct mover_services *services; /* NULL: the agent is dead */
    struct guest_services *guests;
    const struct pod_hooks *hooks[2]; /* of the guests' services, of the migration */
    void *hooks_data[2];
    size_t n_hooks;
    bool deaf;                       /* hears nothing of the server: its VMI stays what it is */
    unsigned life;                   /* counts restarts: what an earlier life waited for never comes */
    bool finished, succeeded;        /* pod_finish */
    char *finish_reason;
    bool quits, stops;               /* pod_quit, pod_stop */
};

struct stage {
    struct lab *lab;
    struct pki_ca *cluster_ca;
    struct http_server *server;
    int server_port;
    struct node nodes[2];            /* source, target */
    yyjson_doc *vmi;
    bool server_dead;                /* patches wait */
    struct queued *queue;
    bool no_routes;                  /* pod_network_activate fails */
    bool source_died;
    void (*on_forward)(struct stage *s); /* the source has noted its grant */
    struct pki_trust *trust;
    unsigned refusals;               /* of agents' patches */
    void (*on_request)(struct stage *s); /* called right behind what a request's first step has sent to QEMU; once */
    struct sd_event_source *pump;
};

/* The migration as it is handed off: epoch 1, from node-a to node-b. bandwidth in bytes per second, 0: unlimited. */
struct stage *stage_new(int64_t bandwidth);
void stage_free(struct stage *s);

/* The same with a guest that its user has paused, and a disk that both sides share: so QEMU completes by itself. */
struct stage *stage_paused(int64_t bandwidth);

/* Changes the VMI as the controller does: a merge patch in JSON. */
void stage_patch(struct stage *s, const char *json);

void node_kill_agent(struct node *n);
void node_start_agent(struct node *n);
void node_kill_qemu(struct node *n);
/* The core wants to stop the pod; whether somebody puts it off. */
bool node_stop(struct node *n);
/* What the API server asks of the node's endpoint: "unpause". The answer's status. */
int node_ask(struct node *n, const char *what);

/* Runs until the epoch has this state ("Claimed", "Closed", ...). */
bool stage_reaches(struct stage *s, const char *epoch_state, double seconds);
/* Runs until both movers have done all: target or source pod finished as is due. */
bool stage_settles(struct stage *s, double seconds);
const char *stage_text(struct stage *s, const char *path);
