#include "apiserver/roles.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "api/object.h"
#include "base/alloc.h"

static const char *const kind_names[] = {"Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"};
#define N_KINDS ARRAY_SIZE(kind_names)

struct roles {
    struct store *store;
    const struct kind *kinds[N_KINDS];
    pthread_mutex_t lock; /* of all below */
    struct rbac_policy *policy;
    struct store_watch *watch; /* NULL: everything is to be read anew */
};

static void take(struct roles *r, const struct kind *kind, const char *key, int64_t revision, const struct blob *stored)
{
    _cleanup_free_ char *api_version = kind_api_version(kind, kind_storage_version(kind));
    yyjson_doc *doc = NULL;

    if (object_load(api_version, kind->kind, revision, stored->data, stored->len, &doc, NULL) == 0)
        rbac_policy_put(r->policy, key, doc);
    else
        rbac_policy_remove(r->policy, key); /* damaged: it gives nothing */
}

static int read_kind(struct roles *r, const struct kind *kind, int64_t *revision)
{
    _cleanup_store_list_ struct store_list list = {0};
    int rc =
        store_list(r->store, &(struct store_list_options){.prefix = kind->prefix, .revision = *revision}, &list, NULL);

    if (rc < 0)
        return rc;
    *revision = list.revision;
    for (size_t i = 0; i < list.len; i++)
        take(r, kind, list.items[i].key, list.items[i].revision, list.items[i].value);
    return 0;
}

/* All four kinds as of one revision, and the changes behind it. */
static int read_all(struct roles *r)
{
    int64_t revision = 0;
    int rc = 0;

    rbac_policy_free(r->policy);
    r->policy = rbac_policy_new();
    for (size_t i = 0; i < N_KINDS && rc >= 0; i++)
        rc = read_kind(r, r->kinds[i], &revision);
    return rc < 0 ? rc : store_watch_open(r->store, revision, &r->watch, NULL);
}

static void take_event(struct roles *r, const struct store_event *e)
{
    for (size_t i = 0; i < N_KINDS; i++) {
        if (!str_starts(e->key, r->kinds[i]->prefix))
            continue;
        if (e->is_delete)
            rbac_policy_remove(r->policy, e->key);
        else
            take(r, r->kinds[i], e->key, e->revision, e->value);
    }
}

static int follow(struct roles *r)
{
    int rc = 1;

    while (rc > 0) {
        _cleanup_store_event_ struct store_event e = {0};

        rc = store_watch_next(r->watch, &e, NULL);
        if (rc > 0)
            take_event(r, &e);
    }
    return rc;
}

/* A policy that may be behind gives nothing: what was taken away must not be had. */
static int renew(struct roles *r)
{
    if (r->watch && follow(r) == 0)
        return 0;
    r->watch = store_watch_close(r->watch);
    if (read_all(r) == 0)
        return 0;
    rbac_policy_free(r->policy);
    r->policy = rbac_policy_new();
    return -EIO;
}

const struct rbac_policy *roles_lock(struct roles *r)
{
    pthread_mutex_lock(&r->lock);
    (void)renew(r);
    return r->policy;
}

void roles_unlock(struct roles *r)
{
    pthread_mutex_unlock(&r->lock);
}

void roles_keep_up(struct roles *r)
{
    if (pthread_mutex_trylock(&r->lock) != 0)
        return;
    (void)renew(r);
    pthread_mutex_unlock(&r->lock);
}

int roles_new(struct store *store, struct kinds *kinds, struct roles **ret, struct gw_error *err)
{
    struct roles *r = xnew(struct roles);

    r->store = store;
    pthread_mutex_init(&r->lock, NULL);
    for (size_t i = 0; i < N_KINDS; i++)
        r->kinds[i] = kinds_find_kind(kinds, RBAC_GROUP, NULL, kind_names[i]);
    if (renew(r) < 0) {
        roles_free(r);
        return gw_error_set(err, GW_INTERNAL_ERROR, "cannot read roles and bindings");
    }
    *ret = r;
    return 0;
}

struct roles *roles_free(struct roles *r)
{
    if (!r)
        return NULL;
    store_watch_close(r->watch);
    rbac_policy_free(r->policy);
    pthread_mutex_destroy(&r->lock);
    free(r);
    return NULL;
}
