#include "agent/migration/credentials.h"

#include <string.h>

#include "base/alloc.h"
#include "base/random.h"
#include "client/csr.h"

/* The signer answers within milliseconds; a server that is away is waited for. */
#define FIRST_LOOK_MS 5
#define LOOK_MS 40
#define ASK_AGAIN_MS 500
#define GIVE_UP_MS 60000

struct credentials_call {
    struct agent *agent;
    char *name, *signer;
    char *key_pem, *csr_pem;
    unsigned usages;
    struct api_call *call;
    struct env_timer *timer;
    int64_t deadline;
    credentials_fn done;
    void *userdata;
};

static void release(struct credentials_call *c)
{
    api_cancel(c->call);
    env_timer_cancel(c->agent->env, &c->timer);
    free(c->name);
    free(c->signer);
    free(c->csr_pem);
    pki_free_key(c->key_pem);
    free(c);
}

struct credentials_call *credentials_cancel(struct credentials_call *c)
{
    if (c)
        release(c);
    return NULL;
}

static void finish(struct credentials_call *c, const char *cert_pem, const struct gw_error *err)
{
    api_delete(c->agent->client, &API_CSRS, NULL, c->name, NULL, NULL, NULL, NULL);
    c->done(c->userdata, cert_pem, cert_pem ? c->key_pem : NULL, err);
    release(c);
}

static void fail(struct credentials_call *c, const char *why)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    gw_error_set(&err, GW_FORBIDDEN, "certificate request %s: %s", c->name, why);
    finish(c, NULL, &err);
}

static void look(void *userdata);

static void looked(void *userdata, struct api_answer *answer)
{
    struct credentials_call *c = userdata;
    yyjson_val *csr = answer->doc ? yyjson_doc_get_root(answer->doc) : NULL;
    _cleanup_free_ char *text = NULL;
    enum csr_state state = csr_read(csr, &text);

    c->call = NULL;
    if (state == CSR_ISSUED)
        finish(c, text, NULL);
    else if (state == CSR_REFUSED)
        fail(c, text);
    else if (env_now(c->agent->env) > c->deadline)
        fail(c, answer->err ? gw_error_message(answer->err) : "not signed in time");
    else
        c->timer = env_timer(c->agent->env, LOOK_MS, look, c);
}

static void look(void *userdata)
{
    struct credentials_call *c = userdata;

    c->timer = NULL;
    c->call = api_get(c->agent->client, &API_CSRS, NULL, c->name, looked, c);
}

/* Whether a later attempt may do better: the server is away, or busy. */
static bool is_passing(const struct gw_error *err)
{
    return gw_reason_code(err->reason) >= 500 || err->reason == GW_TOO_MANY_REQUESTS || err->reason == GW_UNAUTHORIZED;
}

static void ask(void *userdata);

static void created(void *userdata, struct api_answer *answer)
{
    struct credentials_call *c = userdata;

    c->call = NULL;
    if (!answer->err || answer->err->reason == GW_ALREADY_EXISTS) /* the answer to an earlier attempt was lost */
        c->timer = env_timer(c->agent->env, FIRST_LOOK_MS, look, c);
    else if (is_passing(answer->err) && env_now(c->agent->env) < c->deadline)
        c->timer = env_timer(c->agent->env, ASK_AGAIN_MS, ask, c);
    else
        fail(c, gw_error_message(answer->err));
}

static void ask(void *userdata)
{
    struct credentials_call *c = userdata;

    unsigned uses = (c->usages & PKI_CLIENT ? CSR_CLIENT : 0u) | (c->usages & PKI_SERVER ? CSR_SERVER : 0u);
    _cleanup_mut_doc_ yyjson_mut_doc *request = csr_object(c->name, c->signer, c->csr_pem, uses);

    c->timer = NULL;
    c->call = api_create(c->agent->client, &API_CSRS, NULL, request, created, c);
}

static void failed_at_once(void *userdata)
{
    struct credentials_call *c = userdata;

    c->timer = NULL;
    fail(c, "a key could not be made");
}

struct credentials_call *credentials_get(struct agent *a, const char *name, const char *signer,
                                         const struct pki_subject *subject, unsigned usages, credentials_fn done,
                                         void *userdata)
{
    struct credentials_call *c = xnew(struct credentials_call);
    char suffix[6];

    c->agent = a;
    c->name = xasprintf("%s-%s", name, random_suffix(suffix, 5));
    c->signer = xstrdup(signer);
    c->usages = usages;
    c->deadline = env_now(a->env) + GIVE_UP_MS;
    c->done = done;
    c->userdata = userdata;
    if (pki_key_new(&c->key_pem, NULL) < 0 || pki_csr_new(c->key_pem, subject, usages, &c->csr_pem, NULL) < 0)
        c->timer = env_timer(a->env, 0, failed_at_once, c);
    else
        ask(c);
    return c;
}
