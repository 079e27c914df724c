#include "base/alloc.h"
#include "base/clock.h"
#include "client/lease.h"

#define LEASE_NS "kube-node-lease"
#define PERIOD_MS 10000
#define RETRY_FIRST_MS 500
#define RETRY_MAX_MS 5000
/* What the lease asks to be trusted for; the node controller has its own grace period of the same length. */
#define DURATION_S 40

struct heartbeat {
    struct env *env;
    char *node, *node_uid;
    struct api_call *call;
    struct env_timer *timer;
    bool creating; /* the call under way is the create after a NotFound */
    unsigned failures;
    int64_t sent_ms, last_ms;
};

static void beat(void *userdata);
static void on_written(void *userdata, struct api_answer *answer);

static void again(struct heartbeat *h, int64_t delay_ms)
{
    h->timer = env_timer(h->env, delay_ms, beat, h);
}

static void fill(struct heartbeat *h, yyjson_mut_doc *d)
{
    char now[CLOCK_TEXT_MAX];

    json_set_str(d, "/spec/holderIdentity", h->node);
    json_set_int(d, "/spec/leaseDurationSeconds", DURATION_S);
    json_set_str(d, "/spec/renewTime", clock_format_micro(env_wall_us(h->env), now));
}

static void create(struct heartbeat *h)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();

    json_set_str(d, "/metadata/name", h->node);
    json_set_str(d, "/metadata/namespace", LEASE_NS);
    if (h->node_uid) {
        json_set(d, "/metadata/ownerReferences", yyjson_mut_arr(d));
        yyjson_mut_arr_append(json_mut_at(d, "/metadata/ownerReferences"), yyjson_mut_obj(d));
        json_set_str(d, "/metadata/ownerReferences/0/apiVersion", "v1");
        json_set_str(d, "/metadata/ownerReferences/0/kind", "Node");
        json_set_str(d, "/metadata/ownerReferences/0/name", h->node);
        json_set_str(d, "/metadata/ownerReferences/0/uid", h->node_uid);
    }
    fill(h, d);
    h->creating = true;
    h->call = api_create(h->env->client, &API_LEASES, LEASE_NS, d, on_written, h);
}

static void on_written(void *userdata, struct api_answer *answer)
{
    struct heartbeat *h = userdata;
    bool created = h->creating;

    h->call = NULL;
    h->creating = false;
    if (answer->err && answer->err->reason == GW_NOT_FOUND && !created) {
        create(h);
        return;
    }
    if (answer->err) {
        again(h, env_backoff(h->env, ++h->failures, RETRY_FIRST_MS, RETRY_MAX_MS));
        return;
    }
    h->failures = 0;
    h->last_ms = h->sent_ms;
    again(h, env_jitter(h->env, PERIOD_MS));
}

/* Nobody else writes this lease, so it is renewed by one patch without reading it. */
static void beat(void *userdata)
{
    struct heartbeat *h = userdata;
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();

    h->timer = NULL;
    h->sent_ms = env_now(h->env);
    fill(h, d);
    h->call = api_patch(h->env->client, &API_LEASES, LEASE_NS, h->node, NULL, API_PATCH_MERGE, d, on_written, h);
}

struct heartbeat *heartbeat_start(struct env *env, const char *node, const char *node_uid)
{
    struct heartbeat *h = xnew(struct heartbeat);

    h->env = env;
    h->node = xstrdup(node);
    h->node_uid = xstrdup(node_uid);
    again(h, 0);
    return h;
}

struct heartbeat *heartbeat_stop(struct heartbeat *h)
{
    if (!h)
        return NULL;
    api_cancel(h->call);
    env_timer_cancel(h->env, &h->timer);
    free(h->node);
    free(h->node_uid);
    free(h);
    return NULL;
}

int64_t heartbeat_last_ms(const struct heartbeat *h)
{
    return h->last_ms;
}
