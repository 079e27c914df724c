/* Leader election over one Lease, with the algorithm of client-go: a candidate trusts the holder for
 * leaseDurationSeconds from when the candidate itself saw the lease change, never comparing clocks; the holder gives up
 * by its own clock when it has not renewed for two thirds of that time. Each write carries the resourceVersion that was
 * read, so of several candidates one wins. */
#include "client/lease.h"

#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"

/* How often a candidate looks. */
#define LOOK_MS 2000

struct lease {
    struct env *env;
    char *ns, *name, *identity;
    int64_t duration_ms;
    lease_fn fn;
    void *userdata;
    struct api_call *call;
    struct env_timer *timer;    /* the next attempt */
    struct env_timer *deadline; /* leadership ends then, unless renewed */
    int64_t sent_ms;            /* when the attempt under way began */
    bool leading;
    int64_t transitions;
    char *version;     /* resourceVersion of the lease as we wrote it */
    char *seen_record; /* what the lease said, and since when */
    int64_t seen_ms, seen_duration_ms;
};

static void attempt(void *userdata);

static void again(struct lease *l, int64_t delay_ms)
{
    env_timer_cancel(l->env, &l->timer);
    l->timer = env_timer(l->env, env_jitter(l->env, delay_ms), attempt, l);
}

static void set_leading(struct lease *l, bool leading)
{
    if (l->leading == leading)
        return;
    l->leading = leading;
    l->fn(l->userdata, leading);
}

static void on_deadline(void *userdata)
{
    struct lease *l = userdata;

    l->deadline = NULL;
    set_leading(l, false);
}

static void on_written(void *userdata, struct api_answer *answer)
{
    struct lease *l = userdata;

    l->call = NULL;
    if (answer->err) {
        again(l, l->duration_ms / 15);
        return;
    }
    yyjson_val *lease = yyjson_doc_get_root(answer->doc);
    free(l->version);
    l->version = xstrdup(json_str(lease, "/metadata/resourceVersion"));
    l->transitions = json_int(lease, "/spec/leaseTransitions", 0);
    env_timer_cancel(l->env, &l->deadline);
    int64_t left = l->sent_ms + l->duration_ms * 2 / 3 - env_now(l->env);
    l->deadline = env_timer(l->env, MAX(left, (int64_t)0), on_deadline, l);
    again(l, l->duration_ms / 3);
    if (left > 0)
        set_leading(l, true);
}

/* Fills in that we hold the lease now. */
static void claim(struct lease *l, yyjson_mut_doc *d, const char *holder, int64_t transitions)
{
    char now[CLOCK_TEXT_MAX];
    bool ours = holder && streq(holder, l->identity);

    clock_format_micro(env_wall_us(l->env), now);
    json_set_str(d, "/spec/holderIdentity", l->identity);
    json_set_int(d, "/spec/leaseDurationSeconds", l->duration_ms / 1000);
    json_set_str(d, "/spec/renewTime", now);
    json_set_int(d, "/spec/leaseTransitions", ours ? transitions : transitions + 1);
    if (!ours)
        json_set_str(d, "/spec/acquireTime", now);
}

static void create(struct lease *l)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();

    json_set_str(d, "/metadata/name", l->name);
    json_set_str(d, "/metadata/namespace", l->ns);
    claim(l, d, NULL, 0);
    l->call = api_create(l->env->client, &API_LEASES, l->ns, d, on_written, l);
}

/* Notes what another holder's lease says; true if it has been silent for longer than it asked to be trusted. */
static bool has_expired(struct lease *l, yyjson_val *lease)
{
    const char *version = json_str_or(lease, "/metadata/resourceVersion", "");

    if (!l->seen_record || !streq(l->seen_record, version)) {
        free(l->seen_record);
        l->seen_record = xstrdup(version);
        l->seen_ms = env_now(l->env);
        l->seen_duration_ms = json_int(lease, "/spec/leaseDurationSeconds", l->duration_ms / 1000) * 1000;
    }
    return env_now(l->env) - l->seen_ms > l->seen_duration_ms;
}

static void on_read(void *userdata, struct api_answer *answer)
{
    struct lease *l = userdata;

    l->call = NULL;
    if (answer->err && answer->err->reason == GW_NOT_FOUND) {
        create(l);
        return;
    }
    if (answer->err) {
        again(l, l->duration_ms / 15);
        return;
    }
    yyjson_val *lease = yyjson_doc_get_root(answer->doc);
    const char *holder = json_str_or(lease, "/spec/holderIdentity", "");
    if (!streq(holder, l->identity) && *holder) {
        set_leading(l, false);
        if (!has_expired(l, lease)) {
            again(l, LOOK_MS);
            return;
        }
    }
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_copy(lease);
    claim(l, d, holder, json_int(lease, "/spec/leaseTransitions", 0));
    l->call = api_update(l->env->client, &API_LEASES, l->ns, l->name, NULL, d, on_written, l);
}

static void attempt(void *userdata)
{
    struct lease *l = userdata;

    l->timer = NULL;
    l->sent_ms = env_now(l->env);
    l->call = api_get(l->env->client, &API_LEASES, l->ns, l->name, on_read, l);
}

struct lease *lease_start(struct env *env, const struct lease_config *cfg, lease_fn fn, void *userdata)
{
    struct lease *l = xnew(struct lease);

    l->env = env;
    l->ns = xstrdup(cfg->ns);
    l->name = xstrdup(cfg->name);
    l->identity = xstrdup(cfg->identity);
    l->duration_ms = (int64_t)cfg->duration_s * 1000;
    l->fn = fn;
    l->userdata = userdata;
    l->timer = env_timer(env, 0, attempt, l);
    return l;
}

static void release(struct lease *l)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();

    json_set_str(d, "/metadata/resourceVersion", l->version);
    json_set_str(d, "/spec/holderIdentity", "");
    (void)api_patch(l->env->client, &API_LEASES, l->ns, l->name, NULL, API_PATCH_MERGE, d, NULL, NULL);
}

struct lease *lease_stop(struct lease *l)
{
    if (!l)
        return NULL;
    api_cancel(l->call);
    if (l->leading)
        release(l);
    env_timer_cancel(l->env, &l->timer);
    env_timer_cancel(l->env, &l->deadline);
    free(l->ns);
    free(l->name);
    free(l->identity);
    free(l->version);
    free(l->seen_record);
    free(l);
    return NULL;
}

bool lease_leading(const struct lease *l)
{
    return l->leading;
}

int64_t lease_epoch(const struct lease *l)
{
    return l->transitions;
}
