#include "agent/migration/migration.h"

#include <string.h>

#include "agent/migration/credentials.h"
#include "agent/migration/direct.h"
#include "agent/migration/mover.h"
#include "agent/pod.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "pki/authority.h"

#define RETRY_MS 1000
#define PAUSE_MS 10000 /* between a certificate and the next, should that be as old as the authority allows */

/* --- the pods --- */

static void on_attached(void *userdata, struct pod *p)
{
    struct mover *m = mover_of(userdata, p);

    mover_session_lost(m);
    mover_kick(m);
}

static void on_event(void *userdata, struct pod *p, const char *name, yyjson_val *data, int64_t time_us)
{
    mover_event(mover_of(userdata, p), name, data);
}

static void on_vmi_changed(void *userdata, struct pod *p)
{
    mover_kick(mover_of(userdata, p));
}

/* A QEMU that ends inside an unsettled epoch, or because its guest has left, is the migration's business. */
static bool on_ended(void *userdata, struct pod *p)
{
    struct mover *m = mover_of(userdata, p);
    bool ours;

    mover_session_lost(m);
    mover_refresh(m);
    ours = m->side != SIDE_NONE && !m->finished &&
           (!epoch_settled(m->epoch.state) || (m->side == SIDE_SOURCE && m->epoch.state == EPOCH_CLAIMED) ||
            (m->side == SIDE_TARGET && m->note.note != NOTE_CLAIMED));
    if (ours)
        mover_kick(m);
    return ours;
}

static bool on_stopping(void *userdata, struct pod *p)
{
    struct mover *m = mover_of(userdata, p);

    mover_refresh(m);
    if (m->side == SIDE_NONE || epoch_settled(m->epoch.state) ||
        (m->side == SIDE_TARGET && m->note.note == NOTE_CLAIMED))
        return false;
    m->stop_wanted = true;
    m->given_up = true;
    mover_fail(m, "the virtual machine is being stopped");
    mover_kick(m);
    return true;
}

static void on_gone(void *userdata, struct pod *p)
{
    if (p->migration)
        mover_free(p->migration);
}

/* --- the direct channel --- */

static bool proof_is_good(const struct mover *m, yyjson_val *proof)
{
    struct mover_services *services = m->services;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_pki_info_ struct pki_info info = {0};
    _cleanup_free_ char *cn = epoch_cert_name(m->uid, "source");
    _cleanup_free_ char *text =
        epoch_grant_text(m->pod->vmi_uid, m->uid, m->epoch.number, services->agent->config.node);
    const char *cert = json_str_or(proof, "/certificate", ""), *signature = json_str_or(proof, "/signature", "");
    int r = pki_trust_verify_pem(services->agent->migration_trust, cert, PKI_CLIENT, clock_wall_ms(), &info, &err);

    if (r == 0 && !streq(info.cn, cn))
        r = gw_error_set(&err, GW_UNAUTHORIZED, "the certificate is of %s", info.cn);
    if (r == 0)
        r = pki_check_signature(cert, text, strlen(text), signature, &err);
    if (r < 0)
        log_warn("grant for %s/%s is refused: %s", m->pod->ns, m->pod->vmi_name, gw_error_message(&err));
    return r == 0;
}

/* A grant that does not fit what is known here (yet) is dropped: its sender repeats it. */
static void on_grant(void *userdata, const char *node, yyjson_val *grant)
{
    struct mover_services *services = userdata;
    struct pod *p = agent_target_pod(services->agent, json_str_or(grant, "/migrationUid", ""));
    struct mover *m = p ? mover_of(services, p) : NULL;

    if (!m || !services->agent->migration_trust)
        return;
    mover_refresh(m);
    if (m->side != SIDE_TARGET || json_int(grant, "/epoch", 0) != m->epoch.number || !str_same(m->source_node, node) ||
        !str_same(json_str(grant, "/vmiUid"), p->vmi_uid) || m->direct_proof ||
        !proof_is_good(m, json_at(grant, "/proof")))
        return;
    struct blob *text = json_encode_val(json_at(grant, "/proof"));
    m->direct_proof = xstrdup(text->data);
    m->granted_paused = json_at(grant, "/paused") ? json_bool(grant, "/paused", false) : -1;
    blob_unref(text);
    mover_kick(m);
}

/* --- our serving certificate --- */

static void get_serving(struct mover_services *s);

static void get_again(void *userdata)
{
    struct mover_services *s = userdata;

    s->timer = NULL;
    get_serving(s);
}

/* Whether it is time for the next one. */
static void look_at_serving(void *userdata)
{
    struct mover_services *s = userdata;
    struct agent *a = s->agent;
    int64_t wait = pki_renew_wait_ms(a->serving_pem, clock_wall_ms());

    s->timer = NULL;
    if (wait == 0 || !pki_is_of_first(a->cluster_ca, a->serving_pem))
        get_serving(s);
    else
        s->timer = env_timer(s->agent->env, wait, look_at_serving, s);
}

static void have_serving(void *userdata, const char *cert_pem, const char *key_pem, const struct gw_error *failure)
{
    struct mover_services *s = userdata;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct agent *a = s->agent;

    s->serving_call = NULL;
    if (failure || endpoint_listen(a->endpoint, cert_pem, key_pem, &err) < 0) {
        log_warn("endpoint: %s; trying again", gw_error_message(failure ? failure : &err));
        s->timer = env_timer(a->env, RETRY_MS, get_again, s);
        return;
    }
    if (a->serving_pem)
        log_info("certificate of the endpoint: renewed");
    free(a->serving_pem);
    a->serving_pem = xstrdup(cert_pem);
    s->timer = env_timer(a->env, PAUSE_MS, look_at_serving, s);
    s->listening(s->userdata);
}

static void get_serving(struct mover_services *s)
{
    const struct agent_config *config = &s->agent->config;
    _cleanup_free_ char *cn = xasprintf("system:node:%s", config->node), *name = xasprintf("serving-%s", config->node);
    const char *groups[] = {"system:nodes", NULL}, *sans[] = {config->node, config->address, NULL};
    struct pki_subject subject = {.cn = cn, .o = groups, .sans = sans};

    s->serving_call =
        credentials_get(s->agent, name, "kubernetes.io/kubelet-serving", &subject, PKI_SERVER, have_serving, s);
}

void migration_authorities_changed(struct mover_services *s)
{
    struct agent *a = s->agent;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (!a->migration_ca)
        return;
    if (endpoint_trust(a->endpoint, a->cluster_ca, &err) < 0)
        log_failure(-1, &err, "endpoint: authorities");
    if (s->serving_call)
        return; /* what comes is looked at */
    env_timer_cancel(a->env, &s->timer);
    if (a->serving_pem)
        look_at_serving(s);
    else
        get_serving(s);
}

int migration_start(struct agent *a, void (*listening)(void *userdata), void *userdata, struct mover_services **ret,
                    struct gw_error *err)
{
    static const struct pod_hooks hooks = {
        .attached = on_attached,
        .event = on_event,
        .vmi_changed = on_vmi_changed,
        .ended = on_ended,
        .stopping = on_stopping,
        .gone = on_gone,
    };
    struct mover_services *s = xnew(struct mover_services);

    s->agent = a;
    s->drivers[SIDE_SOURCE] = &source_driver;
    s->drivers[SIDE_TARGET] = &target_driver;
    s->direct = (struct direct_server){on_grant, s};
    s->listening = listening;
    s->userdata = userdata;
    direct_serve(&s->direct, a->endpoint);
    agent_add_pod_hooks(a, &hooks, s);
    migration_authorities_changed(s);
    *ret = s;
    return 0;
}

struct mover_services *migration_stop(struct mover_services *s)
{
    if (!s)
        return NULL;
    credentials_cancel(s->serving_call);
    env_timer_cancel(s->agent->env, &s->timer);
    free(s);
    return NULL;
}
