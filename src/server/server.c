/* Order of a start: data directory, store, kinds, request core, initial objects, chores, HTTP server, controllers; the
 * service manager hears of it at the end. A stop goes the other way: /readyz turns to 500, the controllers end (they
 * wait for no answer when they do, so the loop may wait for them), watches end in good order, requests under way are
 * finished, and only then the loop ends.
 *
 * The loop's thread does sockets and hands watch events out; everything that blocks runs on the HTTP server's workers,
 * the chores' thread or the store's. */
#include "server/server.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>

#include "apiserver/account_token.h"
#include "apiserver/authz.h"
#include "apiserver/reviews.h"
#include "apiserver/roles.h"
#include "apiserver/vm_subresources.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "server/agent_link.h"
#include "server/approval.h"
#include "server/audit.h"
#include "server/authorities.h"
#include "server/chores.h"
#include "server/controllers.h"
#include "server/front.h"
#include "server/guest.h"
#include "server/health.h"
#include "server/metrics.h"
#include "server/objects.h"
#include "server/oidc_keys.h"
#include "server/openshift.h"
#include "server/own_service.h"
#include "store/sealed_store.h"

#define DRAIN_MS 10000
#define RENEW_US (6 * 3600 * 1000000ULL)

struct server {
    const struct server_config *config;
    struct server_state state;
    struct store *store;
    struct kinds *kinds;
    struct watch_hub *hub;
    struct authorities *authorities;
    struct agents *agents;
    struct rest_server rest;
    struct front front;
    struct chores *chores;
    struct oidc *oidc;
    struct oidc_keys *oidc_keys;
    struct http_server *http;
    struct controllers_thread *controllers;
    sd_event *loop;
    sd_event_source *hub_timer;
    bool stopping;
};

/* --- Watches --- */

static int dispatch_watches(struct server *s)
{
    int64_t ms = watch_hub_dispatch(s->hub, clock_wall_ms());

    if (ms < 0)
        return sd_event_source_set_enabled(s->hub_timer, SD_EVENT_OFF);
    (void)sd_event_source_set_time_relative(s->hub_timer, (uint64_t)ms * 1000);
    return sd_event_source_set_enabled(s->hub_timer, SD_EVENT_ONESHOT);
}

static int on_hub_event(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    return dispatch_watches(userdata);
}

static int on_hub_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    return dispatch_watches(userdata);
}

/* --- Certificates --- */

static void renew(struct server *s)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    int r = state_renew(&s->state, &err);

    if (r > 0) {
        r = http_server_set_identity(s->http, s->state.cert, s->state.key, &err);
        log_info("the server's certificate was renewed");
    }
    if (r >= 0)
        r = state_write_admin(&s->state, http_server_port(s->http), &err);
    if (r < 0)
        log_failure(r, &err, "renewing certificates");
}

/* Often enough that none ends between two looks. */
static uint64_t renew_us(const struct server *s)
{
    int64_t life_s = s->state.config->certificate_life_s;

    return life_s ? MIN((uint64_t)life_s * 100000, RENEW_US) : RENEW_US;
}

static int on_renew(sd_event_source *source, uint64_t usec, void *userdata)
{
    renew(userdata);
    (void)sd_event_source_set_time_relative(source, renew_us(userdata));
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* Our own certificates follow the authorities: what everybody checks; what we show to agents, agents.c looks after. */
static void follow_authorities(void *userdata)
{
    struct server *s = userdata;

    if (s->http) /* not at the end, nor after a start that failed */
        renew(s);
}

static void authorities_changed(void *userdata)
{
    struct server *s = userdata;

    agents_post(s->agents, follow_authorities, s);
}

/* --- The end --- */

static void end_loop(void *userdata)
{
    struct server *s = userdata;

    (void)sd_event_exit(s->loop, 0);
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
    struct server *s = userdata;

    if (s->stopping) /* asked twice: at once */
        return sd_event_exit(s->loop, 0);
    s->stopping = true;
    log_info("stopping");
    (void)sd_notify(0, "STOPPING=1");
    __atomic_store_n(&s->front.ready, false, __ATOMIC_RELEASE);
    if (s->controllers)
        s->controllers = controllers_join(s->controllers);
    watch_hub_drain(s->hub);
    (void)dispatch_watches(s);
    http_server_drain(s->http, DRAIN_MS, end_loop, s);
    return 0;
}

/* --- The parts --- */

static int64_t wall_clock(void *data)
{
    return clock_wall_ms();
}

/* The subresources and resources with handlers of their own, besides those of the core. */
static const struct rest_extra *const extras[] = {access_review_extras,
                                                  account_token_extras,
                                                  approval_extras,
                                                  authority_extras,
                                                  guest_extras,
                                                  metrics_extras,
                                                  pod_log_extras,
                                                  project_extras,
                                                  review_extras,
                                                  user_extras,
                                                  vm_extras,
                                                  vm_refused_extras,
                                                  NULL};

static int open_store(struct server *s, struct gw_error *err)
{
    static const char secrets[] = "/registry/core/secrets/"; /* kept as encrypted, if there are keys */
    const char *keys_path = s->config->encryption_keys;
    _cleanup_free_ char *path = state_path(&s->state, "store.db");
    _cleanup_seal_keys_ struct seal_keys *keys = NULL;
    _cleanup_store_ struct store *plain = NULL;
    int r = keys_path ? seal_keys_read(keys_path, &keys, err) : 0;

    r = r < 0 ? r : store_open_sqlite(path, &plain, err);
    if (r < 0)
        return r;
    r = store_open_sealed(plain, secrets, keys, &s->store, err);
    if (r < 0)
        return gw_error_wrap(err, r, "Secrets (--encryption-key-file)");
    plain = NULL;
    keys = NULL;
    return 0;
}

static void warn_of_shared(const char *path)
{
    if (path && fs_is_shared(path))
        log_warn("%s: others may read the secrets in it: chmod 600 it", path);
}

static int open_core(struct server *s, struct gw_error *err)
{
    int r;

    warn_of_shared(s->config->encryption_keys);
    warn_of_shared(s->config->static_tokens);
    r = open_store(s, err);

    r = r < 0 ? r : kinds_new(&s->kinds, err);
    r = r < 0 ? r : watch_hub_new(s->store, s->kinds, &s->hub, err);
    r = r < 0 ? r : agents_new(s->state.cluster, s->config->certificate_life_s, s->loop, &s->agents, err);
    s->authorities = authorities_new(&s->rest, s->state.cluster, s->state.migration, authorities_changed, s);
    s->rest = (struct rest_server){
        .store = s->store,
        .kinds = s->kinds,
        .hub = s->hub,
        .now = wall_clock,
        .authorize = authz_check,
        .extras = extras,
        .migration_authority = s->state.migration,
        .authorities = s->authorities,
        .token_key = s->state.token_key,
        .agents = s->agents,
        .metrics = metrics_new(),
        .data = &s->rest,
    };
    return r < 0 ? r : roles_new(s->store, s->kinds, &s->rest.roles, err);
}

static int open_oidc(struct server *s, struct gw_error *err)
{
    const struct oidc_config *config = &s->config->oidc;
    int r = config->issuer_url ? oidc_new(config, &s->oidc, err) : 0;

    return s->oidc ? oidc_keys_start(config, s->oidc, &s->oidc_keys, err) : r;
}

static int open_front(struct server *s, struct gw_error *err)
{
    const struct authn_config authn = {
        .clients = s->state.cluster,
        .static_tokens = s->state.static_tokens,
        .bootstrap_tokens = s->state.bootstrap_tokens,
        .oidc = s->oidc,
        .rest = &s->rest,
    };
    const struct http_config http = {
        .address = s->config->address,
        .port = s->config->port,
        .cert_pem = s->state.cert,
        .key_pem = s->state.key,
        .handler = front_handle,
        .userdata = &s->front,
        .urgent = health_targets,
        .max_backlog = WATCH_BACKLOG_MAX,
    };
    int r;

    s->front.rest = &s->rest;
    s->front.discovery = discovery_new(&s->rest);
    r = authn_new(&authn, &s->front.authn, err);
    s->rest.authn = s->front.authn;
    if (r >= 0 && s->config->audit_log)
        r = audit_open(s->config->audit_log, &s->front.audit, err);
    return r < 0 ? r : http_server_new(s->loop, &http, &s->http, err);
}

static int add_sources(struct server *s, struct gw_error *err)
{
    int r = sd_event_add_io(s->loop, NULL, watch_hub_fd(s->hub), EPOLLIN, on_hub_event, s);

    r = r < 0 ? r : sd_event_add_time_relative(s->loop, &s->hub_timer, CLOCK_MONOTONIC, 0, 1000, on_hub_timer, s);
    r = r < 0 ? r : sd_event_add_time_relative(s->loop, NULL, CLOCK_MONOTONIC, renew_us(s), 0, on_renew, s);
    r = r < 0 ? r : sd_event_add_signal(s->loop, NULL, SIGTERM, on_signal, s);
    r = r < 0 ? r : sd_event_add_signal(s->loop, NULL, SIGINT, on_signal, s);
    return r < 0 ? gw_error_errno(err, r, "cannot set up the event loop") : 0;
}

static int start(struct server *s, struct gw_error *err)
{
    int r = open_core(s, err);
    const struct signer signer = {&s->rest, s->authorities, s->state.config->certificate_life_s};

    r = r < 0 ? r : objects_make_initial(&s->rest, err);
    r = r < 0 ? r : authorities_publish(s->authorities, err);
    r = r < 0 ? r : chores_start(&signer, &s->chores, err);
    r = r < 0 ? r : open_oidc(s, err);
    r = r < 0 ? r : open_front(s, err);
    r = r < 0 ? r : add_sources(s, err);
    r = r < 0 ? r : state_write_admin(&s->state, http_server_port(s->http), err);
    r = r < 0 ? r : own_service_ensure(&s->rest, state_public_address(s->config), http_server_port(s->http), err);
    r = r < 0 ? r : server_controllers_start(&s->front, s->http, &s->controllers, err);
    return r;
}

static void stop(struct server *s)
{
    if (s->controllers)
        controllers_join(s->controllers);
    s->chores = chores_stop(s->chores);
    s->http = http_server_free(s->http); /* ends the feeds, and with them the watchers */
    s->oidc_keys = oidc_keys_stop(s->oidc_keys);
    s->agents = agents_free(s->agents);
    discovery_free(s->front.discovery);
    authn_free(s->front.authn);
    oidc_free(s->oidc);
    audit_close(s->front.audit);
    sd_event_source_disable_unref(s->hub_timer);
    watch_hub_free(s->hub);
    authorities_free(s->authorities);
    metrics_free(s->rest.metrics);
    roles_free(s->rest.roles);
    kinds_free(s->kinds);
    store_close(s->store);
    state_done(&s->state);
    sd_event_unref(s->loop);
}

/* Each thread would have an arena of its own otherwise, and with it its own free memory; and what a large list took
 * would stay in them instead of going back at once. Measured with 100 VMs: 2 MB less of 26; no slower with two cores.
 */
static void set_up_malloc(void)
{
    (void)mallopt(M_ARENA_MAX, 2);
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 4 << 20);
}

/* Each connection takes one descriptor, and the usual soft limit of 1,024 is that of programs that use select(). */
static void raise_descriptors(void)
{
    struct rlimit l;

    if (getrlimit(RLIMIT_NOFILE, &l) < 0)
        return;
    l.rlim_cur = l.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &l);
}

static void block_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

int server_run(const struct server_config *config, struct gw_error *err)
{
    struct server s = {.config = config};
    int r;

    raise_descriptors();
    set_up_malloc(); /* before there are threads, as the next one */
    block_signals();
    r = sd_event_new(&s.loop);
    r = r < 0 ? gw_error_errno(err, r, "cannot make an event loop") : state_open(config, &s.state, err);
    r = r < 0 ? r : start(&s, err);
    if (r >= 0) {
        __atomic_store_n(&s.front.ready, true, __ATOMIC_RELEASE);
        log_info("serving on %s port %u", config->address, http_server_port(s.http));
        (void)sd_notify(0, "READY=1");
        r = sd_event_loop(s.loop);
        r = r < 0 ? gw_error_errno(err, r, "the event loop failed") : 0;
    }
    stop(&s);
    return r;
}
