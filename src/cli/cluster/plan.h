/* What a local cluster consists of: names, addresses and command lines, all derived from its folder, its number of
 * nodes and the number of its subnet. Nothing here touches the system.
 *
 *   host ── gwID ────────── host ┐
 *   gwID-node1 ── eth0 ─── node1 ├ br0 in namespace gwID-net
 *   gwID-node2 ── eth0 ─── node2 ┘
 *
 * The bridge has a namespace of its own, so that the host's firewall and other clusters never see what nodes say to
 * each other; the host is one more port of it, where the server listens and kubectl comes from. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/strv.h"

#define CLUSTER_MAX_NODES 64
#define CLUSTER_SUBNETS 16384 /* /24 networks in 100.64.0.0/10, which is nobody's LAN (RFC 6598) */
#define CLUSTER_PORT 6443
#define CLUSTER_ID_LEN 6
#define CLUSTER_NAME_MAX 32

/* The server's name where nodes have theirs: DIR/run/NAME.pid, DIR/logs/NAME.log. */
#define CLUSTER_SERVER "server"
#define CLUSTER_KEYS "encryption-keys"

struct cluster_plan {
    char *dir;                   /* absolute, without symbolic links */
    char id[CLUSTER_ID_LEN + 1]; /* hexadecimal: what sets this cluster's names apart */
    unsigned nodes;
    unsigned subnet;            /* below CLUSTER_SUBNETS */
    char *link_rate;            /* as tc(8) writes rates, "1gbit"; NULL: unlimited */
    char *certificate_lifetime; /* the server's option, or NULL */
    bool encrypted;             /* Secrets on disk are, with the keys in DIR/encryption-keys */
};

void cluster_plan_done(struct cluster_plan *p);
#define _cleanup_plan_ _cleanup_(cluster_plan_done)

/* A plan for dir; id and subnet follow from its name. attempt (0, 1, ...) gives other ones when those are taken. */
void cluster_plan_make(struct cluster_plan *p, const char *dir, unsigned nodes, const char *link_rate,
                       unsigned attempt);

/* Text of DIR/cluster.json, freed by the caller; and back. dir is not part of it, so that a folder can be moved. */
char *cluster_plan_encode(const struct cluster_plan *p);
int cluster_plan_decode(struct cluster_plan *p, const char *dir, const char *text, size_t len, struct gw_error *err);

/* Names: buf holds CLUSTER_NAME_MAX and is returned. Nodes count from 1. */
char *cluster_host_link(const struct cluster_plan *p, char *buf); /* "gwID", on the host */
char *cluster_fabric_ns(const struct cluster_plan *p, char *buf); /* "gwID-net" */
char *cluster_node_ns(const struct cluster_plan *p, unsigned node, char *buf);
char *cluster_node_name(unsigned node, char *buf);                   /* "node1": Node, port of the bridge, log */
char *cluster_host_address(const struct cluster_plan *p, char *buf); /* "100.64.7.1" */
char *cluster_node_address(const struct cluster_plan *p, unsigned node, char *buf);

/* DIR/a and DIR/a/b; freed by the caller. */
char *cluster_path(const struct cluster_plan *p, const char *fmt, ...) _printf_(2, 3);

/* Command lines of the daemons; program is this executable. */
void cluster_server_argv(const struct cluster_plan *p, const char *program, struct strv *argv);
void cluster_agent_argv(const struct cluster_plan *p, const char *program, unsigned node, struct strv *argv);

/* Bytes per second of a rate in bits as tc writes it ("100mbit", "1gbit", "64kbit"), or Invalid with what is allowed.
 */
int cluster_rate_parse(const char *text, uint64_t *ret, struct gw_error *err);

/* Bytes that a token bucket needs to reach this rate with a timer of 4 ms, and at least one large packet. */
uint64_t cluster_rate_burst(uint64_t rate);
