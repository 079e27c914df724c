/* A call is a `trip`: the request travels, is served, the answer travels. Each step is one timer. When the client cancels a
 * call (or its process is killed) the request may still arrive: such a trip goes on without a call.
 *
 * Watches: the watcher says `ready`, a delivery is due one delay later, and the next one only after it, so that a stream
 * stays in order however long each piece takes. */
#include "network.h"

#include <errno.h>
#include <string.h>

#include "apiserver/watch.h"
#include "base/alloc.h"
#include "base/vec.h"
#include "client/transport.h"

/* A cut connection is noticed after this (TCP_USER_TIMEOUT in client_curl.c). */
#define DEAD_PEER_MS 30000

struct trip;
VEC_DEFINE(trip_vec, struct trip *);

struct network {
    struct rest_server *rest;
    struct env *env;
    struct sim_config cfg;
    struct trip_vec trips;
    int64_t down_until;
    struct env_timer *hub_timer;
    struct sim_counts counts;
};

struct client {
    struct api_client api;
    struct network *n;
    char *name, *group;
    bool cut;
    int64_t cut_at;
};

struct trip {
    struct network *n;
    struct client *from;
    struct api_call *call; /* NULL once the client has lost interest */
    struct env_timer *timer;
    char *user, *group;    /* the client may be gone before the request arrives */
    char *method, *path, *type;
    struct blob *body;
    bool stream;
    int timeout_ms;
    int code;              /* of the answer on its way */
    struct blob *answer;
    struct watcher *watcher;
    const char *fault;     /* what the client will be told instead of an answer */
};

static bool happens(struct network *n, int per_mille)
{
    return per_mille && (int)(env_random(n->env) % 1000) < per_mille;
}

static int64_t delay(struct network *n)
{
    int64_t from = n->cfg.delay_ms[0], to = n->cfg.delay_ms[1];

    return to > from ? from + (int64_t)(env_random(n->env) % (uint64_t)(to - from + 1)) : from;
}

static void trip_free(struct trip *t)
{
    struct trip_vec *v = &t->n->trips;

    for (size_t i = 0; i < v->len; i++)
        if (v->items[i] == t) {
            v->items[i] = v->items[--v->len];
            break;
        }
    env_timer_cancel(t->n->env, &t->timer);
    watcher_close(t->watcher);
    blob_unref(t->body);
    blob_unref(t->answer);
    free(t->user);
    free(t->group);
    free(t->method);
    free(t->path);
    free(t->type);
    free(t);
}

static void next(struct trip *t, int64_t delay_ms, env_timer_fn fn)
{
    env_timer_cancel(t->n->env, &t->timer);
    t->timer = env_timer(t->n->env, delay_ms, fn, t);
}

static void fail(void *userdata)
{
    struct trip *t = userdata;
    struct api_call *call = t->call;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    t->timer = NULL;
    gw_error_set(&err, GW_SERVICE_UNAVAILABLE, "%s %s: %s", t->method, t->path, t->fault);
    trip_free(t);
    if (call)
        api_call_end(call, 0, &err);
}

static void fail_later(struct trip *t, const char *fault, int64_t delay_ms)
{
    t->fault = fault;
    next(t, delay_ms, fail);
}

static int64_t patience(const struct trip *t)
{
    return t->stream ? DEAD_PEER_MS : t->timeout_ms;
}

/* --- the server --- */

static void tell_watches(void *userdata)
{
    struct network *n = userdata;

    n->hub_timer = NULL;
    int64_t again = watch_hub_dispatch(n->rest->hub, env_wall_ms(n->env));
    if (again >= 0)
        n->hub_timer = env_timer(n->env, again, tell_watches, n);
}

void network_serve(struct network *n, const struct api_request *q, struct api_response *r)
{
    n->counts.requests++;
    if (!streq(q->method, "GET"))
        n->counts.writes++;
    rest_handle(n->rest, q, r);
    env_timer_cancel(n->env, &n->hub_timer);
    tell_watches(n);
}

static void ready(void *userdata);

static void answer(void *userdata)
{
    struct trip *t = userdata;
    struct api_call *call = t->call;

    t->timer = NULL;
    if (t->from && t->from->cut) {
        fail_later(t, "no answer came", patience(t));
        return;
    }
    if (!call) {
        trip_free(t);
        return;
    }
    _cleanup_blob_ struct blob *body = TAKE_PTR(t->answer);
    int code = t->code;
    trip_free(t);
    if (body->len && !api_call_data(call, code, body->data, body->len))
        return;
    api_call_end(call, code, NULL);
}

static void arrive(void *userdata)
{
    struct trip *t = userdata;
    const char *groups[] = {"system:authenticated", t->group};
    struct api_request q = {.method = t->method, .target = t->path, .accept = "application/json", .content_type = t->type,
                            .body = t->body ? t->body->data : "", .body_len = t->body ? t->body->len : 0,
                            .user = {.name = t->user, .groups = groups, .n_groups = ARRAY_SIZE(groups)}};
    _cleanup_response_ struct api_response r = {0};

    t->timer = NULL;
    if (env_now(t->n->env) < t->n->down_until) {
        fail_later(t, "connection refused", 1);
        return;
    }
    network_serve(t->n, &q, &r);
    if (r.watch && t->call) {
        t->watcher = TAKE_PTR(r.watch);
        watcher_on_ready(t->watcher, ready, t);
        return;
    }
    t->code = r.status;
    t->answer = api_parts_join(&r.body);
    if (happens(t->n, t->n->cfg.lose_answer))
        fail_later(t, "the answer was lost", patience(t));
    else
        next(t, delay(t->n), answer);
}

/* --- watches --- */

static void deliver(void *userdata);

static void ready(void *userdata)
{
    struct trip *t = userdata;
    int late = t->n->cfg.late_event_ms;

    if (!t->timer)
        next(t, delay(t->n) + (late ? (int64_t)(env_random(t->n->env) % (uint64_t)late) : 0), deliver);
}

static void end_stream(struct trip *t)
{
    struct api_call *call = t->call;

    trip_free(t);
    api_call_end(call, 200, NULL);
}

/* All that waits, once or twice. false: the call is gone, and t with it. */
static bool deliver_lines(struct trip *t, struct api_parts *parts)
{
    _cleanup_blob_ struct blob *lines = api_parts_join(parts);
    bool twice = happens(t->n, t->n->cfg.repeat_event);
    struct api_call *call = t->call;

    t->n->counts.events++;
    if (!api_call_data(call, 200, lines->data, lines->len))
        return false;
    return !twice || api_call_data(call, 200, lines->data, lines->len);
}

static void deliver(void *userdata)
{
    struct trip *t = userdata;
    struct api_parts parts = {0};

    t->timer = NULL;
    if (t->from->cut) {
        if (env_now(t->n->env) - t->from->cut_at > DEAD_PEER_MS)
            fail_later(t, "the peer is dead", 0);
        else
            next(t, 1000, deliver);
        return;
    }
    if (happens(t->n, t->n->cfg.cut_watch)) {
        fail_later(t, "connection reset", 0);
        return;
    }
    int r = watcher_next(t->watcher, &parts);
    bool alive = parts.len == 0 || deliver_lines(t, &parts);
    api_parts_clear(&parts);
    if (!alive)
        return;
    if (r == -ENODATA)
        end_stream(t);
    else if (r < 0)
        fail_later(t, "cut off", 0);
    else if (r == 1)
        ready(t);
}

/* --- the client's side --- */

static void start(struct api_client *api, struct api_call *call)
{
    struct client *c = CONTAINER_OF(api, struct client, api);
    struct trip *t = xnew(struct trip);

    *t = (struct trip){
        .n = c->n,
        .from = c,
        .call = call,
        .user = xstrdup(c->name),
        .group = xstrdup(c->group),
        .method = xstrdup(call->method),
        .path = xstrdup(call->path),
        .type = xstrdup(call->content_type),
        .body = call->body ? blob_ref(call->body) : NULL,
        .stream = call->stream,
        .timeout_ms = call->timeout_ms,
    };
    call->transport = t;
    trip_vec_push(&c->n->trips, t);
    if (c->cut || happens(c->n, c->n->cfg.lose_request))
        fail_later(t, "no answer came", patience(t));
    else
        next(t, delay(c->n), arrive);
}

/* What is on its way to the server may arrive nevertheless. */
static void cancel(_unused_ struct api_client *api, struct api_call *call)
{
    struct trip *t = call->transport;
    bool travelling = t->timer && !t->fault && !t->answer && !t->watcher && !t->stream;

    t->call = NULL;
    if (!travelling || env_random(t->n->env) % 2)
        trip_free(t);
}

static void free_client(struct api_client *api)
{
    struct client *c = CONTAINER_OF(api, struct client, api);

    VEC_EACH(&c->n->trips, t)
        if ((*t)->from == c)
            (*t)->from = NULL;
    free(c->name);
    free(c->group);
    free(c);
}

struct api_client *network_client(struct network *n, const char *name, const char *group)
{
    static const struct api_client_ops ops = {start, cancel, free_client};
    struct client *c = xnew(struct client);

    *c = (struct client){.api.ops = &ops, .n = n, .name = xstrdup(name), .group = xstrdup(group)};
    return &c->api;
}

void network_partition(struct api_client *api, bool cut)
{
    struct client *c = CONTAINER_OF(api, struct client, api);

    c->cut = cut;
    c->cut_at = env_now(c->n->env);
    VEC_EACH(&c->n->trips, t)
        if (cut && (*t)->from == c && (*t)->watcher && !(*t)->timer)
            next(*t, 1000, deliver);
}

void network_server_down(struct network *n, int64_t ms)
{
    n->down_until = env_now(n->env) + ms;
    VEC_EACH(&n->trips, t)
    {
        (*t)->watcher = watcher_close((*t)->watcher);
        fail_later(*t, "connection reset", delay(n));
    }
}

/* --- life --- */

struct network *network_new(struct rest_server *rest, struct env *env, const struct sim_config *cfg)
{
    struct network *n = xnew(struct network);

    n->rest = rest;
    n->env = env;
    n->cfg = *cfg;
    return n;
}

void network_configure(struct network *n, const struct sim_config *cfg)
{
    n->cfg = *cfg;
}

struct network *network_free(struct network *n)
{
    if (!n)
        return NULL;
    while (n->trips.len)
        trip_free(n->trips.items[0]);
    env_timer_cancel(n->env, &n->hub_timer);
    trip_vec_done(&n->trips);
    free(n);
    return NULL;
}

struct sim_counts network_counts(const struct network *n)
{
    return n->counts;
}
