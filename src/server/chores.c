#include "server/chores.h"

#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>

#include "api/meta.h"
#include "api/object.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "server/account_secrets.h"
#include "server/crds.h"
#include "server/default_roles.h"
#include "server/own_service.h"
#include "server/sweep.h"

#define TICK_MS 30000      /* between looks at the clock */
#define RETRY_MS 1000      /* after a failure */
#define SWEEP_MS 600000    /* between removals of stale objects */
#define KEEP_MS 600000     /* history that clients may resume watches from: ten minutes, */
#define KEEP_CHANGES 10000 /* and at least so many changes */

struct chores {
    struct signer signer;
    pthread_t thread;
    int stop_fd;
    struct store_watch *watch;
    struct store_retention retention;
    int64_t swept_ms;
    bool failed; /* something is to be tried again: look at everything */
    bool roles_changed, nodes_changed;
    const char *bundle; /* of the cluster's authority, when last looked at */
};

/* --- One object --- */

static void sign(struct chores *c, yyjson_val *csr)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (signer_process(&c->signer, csr, &err) >= 0)
        return;
    /* Somebody wrote it meanwhile: its event is on the way. */
    if (err.reason != GW_CONFLICT && err.reason != GW_NOT_FOUND) {
        c->failed = true;
        log_failure(-EIO, &err, "certificate request %s", meta_name(csr));
    }
}

static void take_crd(struct chores *c, yyjson_val *crd)
{
    crds_take(c->signer.rest, crd);
}

static void drop_crd(struct chores *c, yyjson_val *crd)
{
    crds_drop(c->signer.rest, crd);
}

static void note_role(struct chores *c, yyjson_val *role)
{
    c->roles_changed = true;
}

/* What its agent says of the authorities may have changed. */
static void note_node(struct chores *c, yyjson_val *node)
{
    c->nodes_changed = true;
}

static void ensure_account(struct chores *c, const char *namespace)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (default_account_ensure(c->signer.rest, namespace, &err) >= 0)
        return;
    c->failed = true;
    log_failure(-EIO, &err, "service account of namespace %s", namespace);
}

static void fill_secret(struct chores *c, yyjson_val *secret)
{
    const char *ca = authorities_bundle(c->signer.authorities);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (account_secret_ensure(c->signer.rest, ca, secret, &err) >= 0)
        return;
    c->failed = true;
    log_failure(-EIO, &err, "token in Secret %s/%s", meta_namespace(secret), meta_name(secret));
}

static void see_to_secrets(struct chores *c, yyjson_val *account)
{
    const char *ca = authorities_bundle(c->signer.authorities);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (account_secrets_ensure(c->signer.rest, ca, meta_namespace(account), &err) >= 0)
        return;
    c->failed = true;
    log_failure(-EIO, &err, "tokens in Secrets of namespace %s", meta_namespace(account));
}

static void take_namespace(struct chores *c, yyjson_val *namespace)
{
    ensure_account(c, meta_name(namespace));
}

/* A Secret may have waited for it. At the start every Secret is looked at anyway. */
static void take_account(struct chores *c, yyjson_val *account)
{
    if (c->watch)
        see_to_secrets(c, account);
}

static void replace_account(struct chores *c, yyjson_val *account)
{
    ensure_account(c, meta_namespace(account));
    see_to_secrets(c, account);
}

static void restore_service(struct chores *c, yyjson_val *object)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (own_service_restore(c->signer.rest, object, &err) < 0)
        log_failure(-EIO, &err, "putting back what was deleted");
}

/* The kinds that are followed. */
static const struct followed {
    const char *group, *kind;
    void (*changed)(struct chores *c, yyjson_val *object);
    void (*gone)(struct chores *c, yyjson_val *object); /* as it was; NULL: nobody cares */
} followed[] = {
    {"apiextensions.k8s.io", "CustomResourceDefinition", take_crd, drop_crd},
    {"certificates.k8s.io", "CertificateSigningRequest", sign, NULL},
    {"rbac.authorization.k8s.io", "ClusterRole", note_role, note_role},
    {"", "Namespace", take_namespace, NULL},
    {"", "Node", note_node, note_node},
    {"", "Secret", fill_secret, NULL},
    {"", "ServiceAccount", take_account, replace_account},
    {"", "Service", NULL, restore_service},
    {"", "Endpoints", NULL, restore_service},
    {"discovery.k8s.io", "EndpointSlice", NULL, restore_service},
};

static const struct kind *kind_of(struct chores *c, const struct followed *f)
{
    return kinds_find_kind(c->signer.rest->kinds, f->group, NULL, f->kind);
}

static void handle(struct chores *c, const struct kind *kind, void (*act)(struct chores *, yyjson_val *),
                   int64_t revision, const struct blob *stored)
{
    _cleanup_free_ char *api_version = kind_api_version(kind, kind_storage_version(kind));
    _cleanup_doc_ yyjson_doc *doc = NULL;

    if (act && stored && object_load(api_version, kind->kind, revision, stored->data, stored->len, &doc, NULL) == 0)
        act(c, yyjson_doc_get_root(doc));
}

static void handle_event(struct chores *c, const struct store_event *e)
{
    for (const struct followed *f = followed; f < followed + ARRAY_SIZE(followed); f++) {
        const struct kind *kind = kind_of(c, f);

        if (kind && str_starts(e->key, kind->prefix))
            handle(c, kind, e->is_delete ? f->gone : f->changed, e->revision, e->is_delete ? e->previous : e->value);
    }
}

/* --- All objects --- */

static int look_at_all(struct chores *c, int64_t *ret_revision, struct gw_error *err)
{
    c->failed = false;
    for (const struct followed *f = followed; f < followed + ARRAY_SIZE(followed); f++) {
        const struct kind *kind = kind_of(c, f);
        _cleanup_store_list_ struct store_list list = {0};
        int r =
            kind ? store_list(c->signer.rest->store, &(struct store_list_options){.prefix = kind->prefix}, &list, err)
                 : 0;

        if (r < 0)
            return r;
        /* Watching from the first list on repeats some changes of the kinds listed later, which does no harm. */
        if (kind && !*ret_revision)
            *ret_revision = list.revision;
        for (size_t i = 0; i < list.len; i++)
            handle(c, kind, f->changed, list.items[i].revision, list.items[i].value);
    }
    return 0;
}

/* Once for many changes. */
static void aggregate(struct chores *c)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (!c->roles_changed)
        return;
    c->roles_changed = false;
    if (roles_aggregate(c->signer.rest, &err) < 0) {
        c->failed = true;
        log_failure(-EIO, &err, "aggregation of roles");
    }
}

static void see_to_authorities(struct chores *c)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (!c->nodes_changed)
        return;
    c->nodes_changed = false;
    if (authorities_tick(c->signer.authorities, &err) < 0)
        log_failure(-EIO, &err, "authorities");
    if (c->bundle != authorities_bundle(c->signer.authorities))
        c->failed = true; /* Secrets hold the old one: look at everything */
}

static int begin(struct chores *c, struct gw_error *err)
{
    int64_t revision = 0;
    int r;

    c->watch = store_watch_close(c->watch);
    c->bundle = authorities_bundle(c->signer.authorities);
    r = look_at_all(c, &revision, err);

    aggregate(c);
    see_to_authorities(c);
    return r < 0 ? r : store_watch_open(c->signer.rest->store, revision, &c->watch, err);
}

/* --- By the clock --- */

static void compact(struct chores *c)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct store *store = c->signer.rest->store;
    int64_t now = store_revision(store, &err), until;

    if (now < 0) {
        log_failure(-EIO, &err, "compaction");
        return;
    }
    until = store_retention_note(&c->retention, clock_monotonic_ms(), now);
    if (until > 0 && store_compact(store, until, &err) < 0)
        log_failure(-EIO, &err, "compaction");
}

static void tick(struct chores *c)
{
    compact(c);
    c->nodes_changed = true; /* and what failed is tried again */
    (void)malloc_trim(0);    /* what many connections or a long list needed for a moment goes back to the system */
    if (clock_monotonic_ms() - c->swept_ms < SWEEP_MS)
        return;
    c->swept_ms = clock_monotonic_ms();
    (void)sweep_stale(c->signer.rest, clock_wall_ms());
}

/* --- The thread --- */

static int follow(struct chores *c, struct gw_error *err)
{
    _cleanup_store_event_ struct store_event e = {0};
    int r = store_watch_next(c->watch, &e, err);

    if (r > 0)
        handle_event(c, &e);
    return r;
}

static bool stopping(struct chores *c, int timeout_ms)
{
    struct pollfd fds[] = {{c->stop_fd, POLLIN, 0}, {c->watch ? store_watch_fd(c->watch) : -1, POLLIN, 0}};

    (void)poll(fds, 2, timeout_ms);
    return fds[0].revents != 0;
}

static void *run(void *arg)
{
    struct chores *c = arg;
    int64_t next_tick = clock_monotonic_ms() + TICK_MS;

    while (!stopping(c, c->watch && !c->failed ? (int)MAX(next_tick - clock_monotonic_ms(), 0) : RETRY_MS)) {
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
        int r = c->watch && !c->failed ? 1 : begin(c, &err);

        while (r > 0)
            r = follow(c, &err);
        aggregate(c);
        see_to_authorities(c);
        if (r < 0) {
            c->watch = store_watch_close(c->watch);
            log_failure(r, &err, "following the store");
        }
        if (clock_monotonic_ms() >= next_tick) {
            tick(c);
            next_tick = clock_monotonic_ms() + TICK_MS;
        }
    }
    return NULL;
}

int chores_start(const struct signer *signer, struct chores **ret, struct gw_error *err)
{
    struct chores *c = xnew(struct chores);
    int r;

    c->signer = *signer;
    c->retention = (struct store_retention){.keep_ms = KEEP_MS, .keep_changes = KEEP_CHANGES};
    c->swept_ms = clock_monotonic_ms();
    c->stop_fd = eventfd(0, EFD_CLOEXEC);
    r = c->stop_fd < 0 ? gw_error_errno(err, errno, "cannot make an eventfd") : begin(c, err);
    if (r == 0 && (r = pthread_create(&c->thread, NULL, run, c)) != 0)
        r = gw_error_errno(err, r, "cannot start a thread");
    if (r < 0) {
        store_watch_close(c->watch);
        if (c->stop_fd >= 0)
            close(c->stop_fd);
        free(c);
        return r;
    }
    *ret = c;
    return 0;
}

struct chores *chores_stop(struct chores *c)
{
    if (!c)
        return NULL;
    (void)eventfd_write(c->stop_fd, 1);
    pthread_join(c->thread, NULL);
    store_watch_close(c->watch);
    close(c->stop_fd);
    free(c);
    return NULL;
}
