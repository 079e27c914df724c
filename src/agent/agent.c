/* Wiring. The order follows from what needs what: QEMU's facts -> identity -> Node (with its podCIDR) -> network ->
 * pods and migrations. VMs that run go on running meanwhile; they are taken over as soon as the network's notes are
 * read. */
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "agent/core/core.h"
#include "agent/endpoint/endpoint.h"
#include "agent/guest/guest.h"
#include "agent/migration/migration.h"
#include "agent/network/node_network.h"
#include "agent/network/pod_network.h"
#include "agent/node/authorities.h"
#include "agent/node/join.h"
#include "agent/node/reclaim.h"
#include "agent/node/registration.h"
#include "agent/node/usage.h"
#include "agent/qemu/facts.h"
#include "base/alloc.h"
#include "base/fs.h"
#include "base/log.h"

struct daemon {
    struct agent agent;
    struct identity *identity;
    struct node_authorities *authorities;
    struct registration *registration;
    struct node_network *node_network;
    struct mover_services *migration;
    struct reclaim *reclaim;
    struct usage_meter *usage;
    struct guest_services *guests;
    bool listening;
    struct gw_error failure;
};

static void give_up(struct daemon *d, struct gw_error *err)
{
    gw_error_move(&d->failure, err);
    (void)sd_event_exit(d->agent.loop, 1);
}

static int open_network(struct daemon *d, const char *pod_cidr, struct gw_error *err)
{
    struct agent *a = &d->agent;
    const struct network_config config = {.node = a->config.node,
                                          .node_address = a->config.address,
                                          .pod_cidr = pod_cidr,
                                          .cluster_cidr = a->config.cluster_cidr,
                                          .run_dir = a->config.run_dir};
    int r = network_open(&config, &a->network, err);

    if (r < 0)
        return r;
    if (*network_notes(a->network))
        log_info("network: %s", network_notes(a->network));
    d->node_network = network_publish(a->env, a->network, a->config.node);
    return 0;
}

static void on_listening(void *userdata)
{
    struct daemon *d = userdata;

    if (!d->listening)
        log_info("endpoint: listening on %s port %d", d->agent.config.address, endpoint_port(d->agent.endpoint));
    d->listening = true;
    registration_refresh(d->registration);
}

static void on_registered(void *userdata, const char *pod_cidr)
{
    struct daemon *d = userdata;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    log_info("node %s: registered, pod addresses from %s", d->agent.config.node, pod_cidr);
    int r = open_network(d, pod_cidr, &err);
    if (r == 0)
        r = migration_start(&d->agent, on_listening, d, &d->migration, &err);
    if (r == 0)
        r = core_start(&d->agent, &err);
    if (r < 0) {
        give_up(d, &err);
        return;
    }
    d->reclaim = reclaim_start(&d->agent);
    d->usage = usage_start(&d->agent);
}

static void on_renewed(void *userdata)
{
    struct daemon *d = userdata;

    registration_refresh(d->registration);
}

static void on_authorities(void *userdata)
{
    struct daemon *d = userdata;

    identity_authorities_changed(d->identity);
    if (d->migration)
        migration_authorities_changed(d->migration);
    registration_refresh(d->registration);
}

static void on_identity(void *userdata)
{
    struct daemon *d = userdata;
    struct agent *a = &d->agent;

    a->events = event_recorder_new(a->env, "godwit-agent", a->config.node);
    core_prepare(a);
    a->endpoint = endpoint_new(a);
    d->guests = guest_start(a);
    d->registration = registration_start(a, on_registered, d);
    d->authorities = authorities_follow(a, on_authorities, d);
}

/* Two agents with one state would fight over its pods. */
static int lock_state(const struct agent_config *c, struct gw_error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/agent.lock", c->state_dir);
    int r = fs_mkdirs(c->state_dir, 0711, err);

    if (r < 0)
        return r;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? gw_error_set(err, GW_CONFLICT, "another agent uses %s", c->state_dir)
                                    : gw_error_errno(err, errno, "%s", path);
    return 0; /* held until the process ends */
}

static int on_signal(sd_event_source *s, const struct signalfd_siginfo *info, void *userdata)
{
    return sd_event_exit(sd_event_source_get_event(s), 0);
}

static int make_loop(struct agent *a, struct gw_error *err)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    int r = sd_event_new(&a->loop);
    if (r >= 0)
        r = sd_event_add_signal(a->loop, NULL, SIGTERM, on_signal, NULL);
    if (r >= 0)
        r = sd_event_add_signal(a->loop, NULL, SIGINT, on_signal, NULL);
    return r < 0 ? gw_error_errno(err, r, "event loop") : 0;
}

static int probe(struct agent *a, struct gw_error *err)
{
    _cleanup_free_ char *cache = xasprintf("%s/qemu.json", a->config.state_dir);
    struct qemu_facts *facts;
    int r = qemu_probe(a->config.qemu, cache, &facts, err);

    if (r < 0)
        return r;
    a->qemu = facts;
    log_info("QEMU %s, %s%s%s, machine %s, host model %s", facts->version, qemu_accelerator(facts),
             facts->kvm ? "" : ": ", facts->kvm_reason, facts->machine, facts->host_model);
    if (qemu_migration_blocker(facts))
        log_warn("%s", qemu_migration_blocker(facts));
    return 0;
}

/* Jobs on worker threads may still use their pods, so memory is left to the end of the process. */
static void stop(struct daemon *d)
{
    struct agent *a = &d->agent;

    d->usage = usage_stop(d->usage);
    d->reclaim = reclaim_stop(d->reclaim);
    a->endpoint = endpoint_free(a->endpoint);
    d->guests = guest_stop(d->guests);
    d->migration = migration_stop(d->migration);
    d->node_network = node_network_free(d->node_network);
    d->authorities = authorities_stop(d->authorities);
    d->registration = registration_stop(d->registration);
    d->identity = identity_stop(d->identity);
    if (a->network)
        a->network = network_close(a->network);
}

int agent_run(const struct agent_config *config, struct gw_error *err)
{
    struct daemon *d = xnew(struct daemon);
    struct agent *a = &d->agent;

    a->config = *config;
    int r = lock_state(config, err);
    if (r == 0)
        r = make_loop(a, err);
    if (r == 0)
        r = probe(a, err);
    if (r == 0)
        r = identity_start(a, on_identity, on_renewed, d, &d->identity, err);
    if (r < 0)
        return r;
    r = sd_event_loop(a->loop);
    stop(d);
    if (d->failure.message) {
        gw_error_move(err, &d->failure);
        return -EIO;
    }
    return r < 0 ? gw_error_errno(err, r, "event loop") : 0;
}
