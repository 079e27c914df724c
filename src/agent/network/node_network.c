#include "agent/network/node_network.h"

#include "agent/network/network.h"
#include "base/clock.h"
#include "base/log.h"
#include "client/client.h"
#include "client/informer.h"

#define COLLECT_MS 5    /* changes of peers that come together are applied together */
#define LIST_POLL_MS 50 /* how soon the first list is noticed */
#define RETRY_FIRST_MS 100
#define RETRY_MAX_MS 5000

struct node_network {
    struct env *env;
    const struct node_network_io *io;
    void *data;
    char *node;
    struct informer *informer;
    struct env_timer *follow_timer, *publish_timer, *deadline_timer;
    struct api_call *spec_call, *status_call;
    char *sent_spec, *sent_status; /* what the server has accepted last */
    unsigned follow_failures, publish_failures;
    bool synced, outgrown;
};

static void follow(void *userdata);
static void publish(void *userdata);

static void follow_in(struct node_network *nn, int64_t ms)
{
    env_timer_cancel(nn->env, &nn->follow_timer);
    nn->follow_timer = env_timer(nn->env, ms, follow, nn);
}

static void publish_in(struct node_network *nn, int64_t ms)
{
    env_timer_cancel(nn->env, &nn->publish_timer);
    nn->publish_timer = env_timer(nn->env, ms, publish, nn);
}

/* --- following the peers --- */

static void collect_views(struct node_network *nn, struct node_view_vec *ret)
{
    const char *name;
    yyjson_val *object;

    for (size_t c = 0; informer_next(nn->informer, &c, &name, &object);) {
        _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
        struct node_view v;
        if (streq(name, nn->node))
            continue;
        if (node_view_read(object, &v, &err) < 0)
            log_warn("not followed: %s", gw_error_message(&err));
        else
            node_view_vec_push(ret, v);
    }
}

static void on_deadline(void *userdata)
{
    struct node_network *nn = userdata;

    nn->deadline_timer = NULL;
    follow_in(nn, 0);
}

static void await_deadline(struct node_network *nn)
{
    int64_t deadline = nn->io->deadline(nn->data);

    env_timer_cancel(nn->env, &nn->deadline_timer);
    if (deadline >= 0)
        nn->deadline_timer = env_timer(nn->env, MAX(deadline - env_now(nn->env), 0), on_deadline, nn);
}

static void follow(void *userdata)
{
    struct node_network *nn = userdata;
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct node_view_vec views = {0};

    nn->follow_timer = NULL;
    if (!informer_has_synced(nn->informer)) {
        follow_in(nn, LIST_POLL_MS);
        return;
    }
    collect_views(nn, &views);
    int r = nn->io->update(nn->data, &views, env_now(nn->env), &err);
    node_views_done(&views);
    if (r < 0) {
        log_failure(r, &err, "routes to the pods of other nodes");
        follow_in(nn, env_backoff(nn->env, ++nn->follow_failures, RETRY_FIRST_MS, RETRY_MAX_MS));
        return;
    }
    nn->follow_failures = 0;
    nn->synced = true;
    await_deadline(nn);
    publish_in(nn, 0);
}

static void on_object(void *userdata, const char *key, yyjson_val *old, yyjson_val *object)
{
    struct node_network *nn = userdata;

    if (streq(key, nn->node))
        publish_in(nn, 0);
    else if (!nn->follow_timer)
        follow_in(nn, COLLECT_MS);
}

/* --- publishing --- */

static void forget_sent(struct node_network *nn)
{
    free(nn->sent_spec);
    free(nn->sent_status);
    nn->sent_spec = nn->sent_status = NULL;
}

static void on_done(struct node_network *nn, struct api_answer *answer)
{
    if (answer->err) {
        log_warn("NodeNetwork %s not published: %s", nn->node, gw_error_message(answer->err));
        forget_sent(nn);
        publish_in(nn, env_backoff(nn->env, ++nn->publish_failures, RETRY_FIRST_MS, RETRY_MAX_MS));
        return;
    }
    nn->publish_failures = 0;
    if (answer->doc)
        informer_observe(nn->informer, yyjson_doc_get_root(answer->doc));
    publish_in(nn, 0);
}

static void on_spec_done(void *userdata, struct api_answer *answer)
{
    struct node_network *nn = userdata;

    nn->spec_call = NULL;
    on_done(nn, answer);
}

static void on_status_done(void *userdata, struct api_answer *answer)
{
    struct node_network *nn = userdata;

    nn->status_call = NULL;
    on_done(nn, answer);
}

/* Whether the published object already says what doc has at path. What was accepted and yet is not there (a server that
 * changes it, another writer) is sent again in a while, not in a circle. */
static bool is_published(struct node_network *nn, yyjson_mut_doc *doc, yyjson_val *published, const char *path,
                         char **sent)
{
    char *want = json_text(json_mut_at(doc, path));
    _cleanup_doc_ yyjson_doc *parsed = NULL;
    yyjson_val *have = json_at(published, path);
    bool same =
        have && json_parse(want, strlen(want), &parsed, NULL) == 0 && json_equal(yyjson_doc_get_root(parsed), have);
    bool repeated = !same && str_same(*sent, want);

    free(*sent);
    *sent = repeated || same ? NULL : TAKE_PTR(want);
    free(want);
    if (repeated)
        publish_in(nn, RETRY_MAX_MS);
    return same || repeated;
}

/* A merge patch (RFC 7386) leaves what it does not name: peers that are gone have to be named, with null. */
static void remove_vanished(yyjson_mut_doc *doc, yyjson_val *published)
{
    yyjson_val *key, *value;

    json_each_member(json_at(published, "/status/observed"), key, value) {
        _cleanup_free_ char *path = json_path("/status/observed", yyjson_get_str(key));
        if (!json_mut_at(doc, path))
            json_set(doc, path, yyjson_mut_null(doc));
    }
}

static void publish_spec(struct node_network *nn, const struct node_view *v, yyjson_val *published)
{
    _cleanup_mut_doc_ yyjson_mut_doc *doc = json_object();

    if (nn->spec_call)
        return;
    node_view_write_spec(v, doc, "/spec");
    if (!published) {
        json_set_str(doc, "/metadata/name", nn->node);
        nn->spec_call = api_create(nn->env->client, &API_NODENETWORKS, NULL, doc, on_spec_done, nn);
    } else if (!is_published(nn, doc, published, "/spec", &nn->sent_spec)) {
        nn->spec_call =
            api_patch(nn->env->client, &API_NODENETWORKS, NULL, nn->node, NULL, API_PATCH_MERGE, doc, on_spec_done, nn);
    }
}

/* Not before the peers were followed for the first time in this life: until then there is nothing to acknowledge. */
static void publish_status(struct node_network *nn, const struct node_view *v, yyjson_val *published)
{
    _cleanup_mut_doc_ yyjson_mut_doc *doc = json_object();

    if (nn->status_call || !published || !nn->synced)
        return;
    node_view_write_status(v, doc, "/status");
    if (is_published(nn, doc, published, "/status", &nn->sent_status))
        return;
    remove_vanished(doc, published);
    nn->status_call = api_patch(nn->env->client, &API_NODENETWORKS, NULL, nn->node, "status", API_PATCH_MERGE, doc,
                                on_status_done, nn);
}

/* A serial of an earlier life, made while the clock was ahead, must be outgrown or peers' acknowledgements would lie.
 */
static void outgrow(struct node_network *nn, const struct node_view *v, yyjson_val *published)
{
    int64_t serial = json_int(published, "/spec/serial", 0);

    if (!nn->outgrown && published && serial >= v->serial)
        nn->io->outgrow(nn->data, serial);
    nn->outgrown = true;
}

static void publish(void *userdata)
{
    struct node_network *nn = userdata;
    struct node_view v;

    nn->publish_timer = NULL;
    if (!informer_has_synced(nn->informer))
        return; /* follow() comes back */
    yyjson_val *published = informer_get(nn->informer, nn->node);
    nn->io->announcement(nn->data, &v);
    outgrow(nn, &v, published);
    node_view_done(&v);
    nn->io->announcement(nn->data, &v);
    publish_spec(nn, &v, published);
    publish_status(nn, &v, published);
    node_view_done(&v);
}

void node_network_changed(struct node_network *nn)
{
    publish_in(nn, 0);
    await_deadline(nn);
}

bool node_network_has_synced(const struct node_network *nn)
{
    return nn->synced;
}

struct node_network *node_network_new(struct env *env, const char *node, const struct node_network_io *io, void *data)
{
    static const char *const keep[] = {"/spec", "/status", NULL};
    struct node_network *nn = xnew(struct node_network);

    *nn = (struct node_network){.env = env, .io = io, .data = data, .node = xstrdup(node)};
    nn->informer = informer_new(env, &(struct informer_config){.resource = &API_NODENETWORKS, .keep = keep});
    informer_add_handler(nn->informer, on_object, nn);
    follow_in(nn, 0);
    return nn;
}

struct node_network *node_network_free(struct node_network *nn)
{
    if (!nn)
        return NULL;
    env_timer_cancel(nn->env, &nn->follow_timer);
    env_timer_cancel(nn->env, &nn->publish_timer);
    env_timer_cancel(nn->env, &nn->deadline_timer);
    api_cancel(nn->spec_call);
    api_cancel(nn->status_call);
    informer_free(nn->informer);
    free(nn->sent_spec);
    free(nn->sent_status);
    free(nn->node);
    free(nn);
    return NULL;
}

/* --- the real node --- */

static int real_update(void *data, struct node_view_vec *views, int64_t now, struct gw_error *err)
{
    return network_update(data, views, now, err);
}

static void real_announcement(void *data, struct node_view *ret)
{
    network_announcement(data, ret);
}

static int64_t real_deadline(void *data)
{
    return network_deadline(data);
}

static void real_outgrow(void *data, int64_t serial)
{
    network_changed(data, serial);
}

static void on_own_change(void *data)
{
    node_network_changed(data);
}

struct node_network *network_publish(struct env *env, struct network *n, const char *node)
{
    static const struct node_network_io io = {real_update, real_announcement, real_deadline, real_outgrow};
    struct node_network *nn = node_network_new(env, node, &io, n);

    network_on_change(n, on_own_change, nn);
    return nn;
}
