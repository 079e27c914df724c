/* The agent's services, shared by its parts. One per process; everything belongs to one sd-event loop. */
#pragma once

#include <systemd/sd-event.h>

#include "base/map.h"
#include "client/client.h"
#include "client/env.h"
#include "client/events.h"

struct core;
struct endpoint;
struct network;
struct pki_trust;
struct qemu_facts;

struct agent_config {
    char *server;     /* "https://host:port" */
    char *ca_file;    /* of the cluster */
    char *token_file; /* bootstrap token; needed until there is a certificate */
    char *node;       /* name of the Node */
    char *address;    /* by which peers and users reach the node */
    char *state_dir;  /* durable: certificates, pods */
    char *run_dir;    /* until reboot: network notes */
    char *images_dir;
    char *shared_dir;   /* a folder that all nodes see, for volumes of class shared; NULL: none */
    char *local_dir;    /* this node's own, for volumes of class local; NULL: none */
    char *cluster_cidr; /* holds all podCIDRs and VM addresses */
    char *qemu;         /* binary */
    unsigned qemu_uid, qemu_gid;
    int listen_port; /* of the endpoint; 0: any free one */
};

struct agent {
    struct agent_config config;
    sd_event *loop;
    struct api_client *client;
    struct env *env;
    struct event_recorder *events;
    struct network *network;
    const struct qemu_facts *qemu;
    struct endpoint *endpoint;
    char *key_pem, *cert_pem;        /* system:node:NAME */
    char *serving_pem;               /* what the endpoint shows; NULL: it does not listen yet */
    char *cluster_ca, *migration_ca; /* whom to trust, the one that signs first (node/authorities.h); the latter NULL
                                        until it is known */
    struct pki_trust *migration_trust;
    struct map *pods;  /* uid -> struct pod, core/ */
    struct core *core; /* core/'s own */
};

/* Runs the agent until it is asked to end by SIGTERM or SIGINT; VMs go on. Blocks. The config's strings stay the
 * caller's. */
int agent_run(const struct agent_config *config, struct gw_error *err);
