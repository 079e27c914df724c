#include "server/authorities.h"

#include <pthread.h>
#include <string.h>

#include "api/meta.h"
#include "apiserver/local.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "server/authorities_internal.h"

#define CONFIG_MAPS "/api/v1/namespaces/kube-system/configmaps"
#define CONFIG_MAP "godwit-ca"

struct authorities *authorities_new(struct rest_server *rest, struct pki_authority *cluster,
                                    struct pki_authority *migration, void (*changed)(void *userdata), void *userdata)
{
    struct authorities *a = xnew(struct authorities);

    *a = (struct authorities){
        .rest = rest,
        .each = {{"cluster", "cluster-ca.crt", cluster}, {"migration", "migration-ca.crt", migration}},
        .changed = changed,
        .userdata = userdata,
        .unpublished = true,
    };
    pthread_mutex_init(&a->lock, NULL);
    pthread_mutex_init(&a->users_lock, NULL);
    return a;
}

struct authorities *authorities_free(struct authorities *a)
{
    if (!a)
        return NULL;
    pthread_mutex_destroy(&a->lock);
    pthread_mutex_destroy(&a->users_lock);
    strv_done(&a->users);
    free(a);
    return NULL;
}

/* Agents are told of by what they say. */
void authorities_note_user(struct authorities *a, const char *user)
{
    if (str_starts(user, "system:node:"))
        return;
    pthread_mutex_lock(&a->users_lock);
    if (a->users.len < AUTHORITIES_USERS_MAX && !strv_has(&a->users, user))
        strv_push(&a->users, user);
    pthread_mutex_unlock(&a->users_lock);
}

static void forget_users(struct authorities *a)
{
    pthread_mutex_lock(&a->users_lock);
    strv_done(&a->users);
    pthread_mutex_unlock(&a->users_lock);
}

const char *authorities_bundle(const struct authorities *a)
{
    return pki_authority_now(a->each[CLUSTER].authority)->bundle;
}

/* --- Publication --- */

static int publish(struct authorities *a, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    _cleanup_blob_ struct blob *body = NULL;
    _cleanup_error_ struct gw_error why = GW_ERROR_INIT;
    int r;

    json_set_str(d, "/apiVersion", "v1");
    json_set_str(d, "/kind", "ConfigMap");
    json_set_str(d, "/metadata/name", CONFIG_MAP);
    for (size_t i = 0; i < ARRAY_SIZE(a->each); i++) {
        _cleanup_free_ char *path = json_path("/data", a->each[i].key);

        json_set_str(d, path, pki_authority_now(a->each[i].authority)->bundle);
    }
    body = json_encode(yyjson_mut_doc_get_root(d));
    r = local_call(a->rest, "POST", CONFIG_MAPS, JSON_BODY, body, NULL, &why);
    if (r < 0 && why.reason == GW_ALREADY_EXISTS) {
        gw_error_done(&why);
        r = local_call(a->rest, "PATCH", CONFIG_MAPS "/" CONFIG_MAP, MERGE_PATCH, body, NULL, &why);
    }
    a->unpublished = r < 0;
    if (r < 0) {
        gw_error_move(err, &why);
        return gw_error_wrap(err, r, "ConfigMap kube-system/" CONFIG_MAP);
    }
    return 0;
}

int authorities_publish(struct authorities *a, struct gw_error *err)
{
    pthread_mutex_lock(&a->lock);
    int r = publish(a, err);
    pthread_mutex_unlock(&a->lock);
    return r;
}

/* --- Signing --- */

int authorities_issue(struct authorities *a, const char *csr_pem, const struct pki_subject *subject, unsigned usages,
                      int64_t lifetime_s, char **ret_cert_pem, struct gw_error *err)
{
    return pki_issue(pki_authority_now(a->each[CLUSTER].authority)->issuer, csr_pem, subject, usages, lifetime_s,
                     ret_cert_pem, err);
}

/* Under the lock no step is done between the choice and the signature; and the VMI tells of the migration before a
 * certificate is asked for. So whoever looks whether the old authority is still needed sees every migration that uses
 * it. */
int authorities_issue_migration(struct authorities *a, const char *migration_uid, const char *csr_pem,
                                const struct pki_subject *subject, unsigned usages, int64_t lifetime_s,
                                char **ret_cert_pem, struct gw_error *err)
{
    pthread_mutex_lock(&a->lock);
    const struct pki_authority_state *now = pki_authority_now(a->each[MIGRATION].authority);
    bool old = now->phase == PKI_RENEWING && !authorities_began_since(a->rest, migration_uid, now->since_ms);
    int r = pki_issue(old ? now->other : now->issuer, csr_pem, subject, usages, lifetime_s, ret_cert_pem, err);
    pthread_mutex_unlock(&a->lock);
    return r;
}

/* --- Steps --- */

static void tell(struct authorities *a, const struct authority *one)
{
    const struct pki_authority_state *now = pki_authority_now(one->authority);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    log_info("authority %s: %s", one->name, pki_phase_text(now->phase));
    if (one == &a->each[CLUSTER])
        forget_users(a);
    if (publish(a, &err) < 0)
        log_failure(-1, &err, "publishing the authorities; it is tried again");
    if (a->changed)
        a->changed(a->userdata);
}

static int finish(struct authorities *a, const struct authority *one, struct gw_error *err)
{
    const struct pki_authority_state *now = pki_authority_now(one->authority);
    _cleanup_str_ struct str why = {0};

    authorities_waiting(a, one, authorities_append, &why);
    if (now->phase == PKI_SPREADING)
        return gw_error_set(err, GW_CONFLICT, "the new authority does not sign yet: %s",
                            why.len ? why.data : "it will in a moment");
    if (why.len)
        return gw_error_set(err, GW_CONFLICT, "the old authority is still needed: %s", why.data);
    return pki_authority_drop(one->authority, err);
}

static int begin(struct authorities *a, const struct authority *one, struct gw_error *err)
{
    return pki_authority_begin(one->authority, err);
}

static int give_up(struct authorities *a, const struct authority *one, struct gw_error *err)
{
    if (pki_authority_now(one->authority)->phase == PKI_RENEWING)
        return gw_error_set(err, GW_CONFLICT,
                            "the new authority has begun to sign: finish the roll-over, and begin another one if you "
                            "don't want it");
    return pki_authority_drop(one->authority, err);
}

static const struct {
    const char *name;
    int (*run)(struct authorities *a, const struct authority *one, struct gw_error *err);
} steps[] = {{"begin", begin}, {"finish", finish}, {"abort", give_up}};

int authorities_step(struct authorities *a, const struct authority *one, const char *step, struct gw_error *err)
{
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        if (!streq(steps[i].name, step))
            continue;
        pthread_mutex_lock(&a->lock);
        int r = steps[i].run(a, one, err);
        if (r == 0)
            tell(a, one);
        pthread_mutex_unlock(&a->lock);
        return r < 0 ? gw_error_wrap(err, r, "authority %s", one->name) : 0;
    }
    return gw_error_set(err, GW_BAD_REQUEST, "step: \"%s\": want begin, finish or abort", step);
}

static int tick_one(struct authorities *a, const struct authority *one, struct gw_error *err)
{
    _cleanup_str_ struct str why = {0};
    int r;

    if (pki_authority_now(one->authority)->phase != PKI_SPREADING)
        return 0;
    authorities_waiting(a, one, authorities_append, &why);
    if (why.len)
        return 0;
    r = pki_authority_advance(one->authority, err);
    if (r == 0)
        tell(a, one);
    return r < 0 ? gw_error_wrap(err, r, "authority %s", one->name) : 0;
}

int authorities_tick(struct authorities *a, struct gw_error *err)
{
    int r = 0;

    pthread_mutex_lock(&a->lock);
    if (a->unpublished)
        r = publish(a, err);
    for (size_t i = 0; i < ARRAY_SIZE(a->each) && r >= 0; i++)
        r = tick_one(a, &a->each[i], err);
    pthread_mutex_unlock(&a->lock);
    return r;
}
