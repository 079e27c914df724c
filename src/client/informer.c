/* The I/O of an informer: list in pages, then watch, and what to do when either fails. The cache is cache.c. */
#include "client/informer.h"

#include <string.h>

#include "base/str.h"
#include "client/cache.h"

#define PAGE "500"
#define BACKOFF_FIRST_MS 500
#define BACKOFF_MAX_MS 30000
/* The server is asked to end each watch after 5 to 10 minutes: load spreads over servers again, lost ends show. */
#define WATCH_S_MIN 300
#define WATCH_S_SPREAD 300
/* What nobody has read for one to two of these is kept encoded only. */
#define REST_MS 5000

struct handler {
    informer_fn fn;
    void *userdata;
};
VEC_DEFINE(handler_vec, struct handler);

struct informer {
    struct env *env;
    const struct api_resource *resource;
    char *ns, *label_selector, *field_selector;
    struct cache *cache;
    struct handler_vec handlers;
    struct api_call *call;   /* the list or watch under way */
    struct env_timer *timer; /* or the wait before the next */
    struct env_timer *rest_timer;
    char *page; /* metadata.continue of the list under way */
    bool synced;
    bool must_list;
    unsigned failures;
    int64_t lost_since;
    struct gw_error error;
};

static void next_step(void *userdata);

static void changed(void *userdata, const char *key, yyjson_val *old, yyjson_val *obj)
{
    struct informer *inf = userdata;

    VEC_EACH(&inf->handlers, h)
        h->fn(h->userdata, key, old, obj);
}

static void rest(void *userdata)
{
    struct informer *inf = userdata;

    inf->rest_timer = NULL;
    if (cache_rest(inf->cache))
        inf->rest_timer = env_timer(inf->env, REST_MS, rest, inf);
}

static void woke(void *userdata, bool crowded)
{
    struct informer *inf = userdata;

    if (crowded)
        env_timer_cancel(inf->env, &inf->rest_timer);
    if (!inf->rest_timer)
        inf->rest_timer = env_timer(inf->env, crowded ? 0 : REST_MS, rest, inf);
}

static void clear_failure(struct informer *inf)
{
    inf->failures = 0;
    inf->lost_since = 0;
}

/* Goes on after a wait; err NULL is an ordinary end of a watch, which also waits a moment so that no server can make us
 * spin. */
static void go_on_later(struct informer *inf, const struct gw_error *err)
{
    int64_t delay = env_jitter(inf->env, 100);

    if (err) {
        if (!inf->lost_since)
            inf->lost_since = env_now(inf->env);
        gw_error_set(&inf->error, err->reason, "%s", gw_error_message(err));
        delay = env_backoff(inf->env, ++inf->failures, BACKOFF_FIRST_MS, BACKOFF_MAX_MS);
        delay = MAX(delay, (int64_t)err->retry_after_s * 1000);
    }
    inf->timer = env_timer(inf->env, delay, next_step, inf);
}

/* --- watch --- */

static void on_event(void *userdata, enum api_event_type type, yyjson_val *object, _unused_ yyjson_doc **event)
{
    struct informer *inf = userdata;

    clear_failure(inf);
    cache_event(inf->cache, type, object);
}

static void on_watch_end(void *userdata, const struct gw_error *err)
{
    struct informer *inf = userdata;

    inf->call = NULL;
    if (err && (err->reason == GW_EXPIRED || err->reason == GW_BAD_REQUEST))
        inf->must_list = true; /* the version is too old, or from another life of the server */
    go_on_later(inf, err);
}

static void add_selectors(struct informer *inf, struct str *query)
{
    api_query(query, "labelSelector", inf->label_selector);
    api_query(query, "fieldSelector", inf->field_selector);
}

static void watch(struct informer *inf)
{
    _cleanup_str_ struct str query = {0};
    unsigned seconds = WATCH_S_MIN + (unsigned)(env_random(inf->env) % WATCH_S_SPREAD);

    add_selectors(inf, &query);
    str_printf(&query, "%sallowWatchBookmarks=true&resourceVersion=%llu&timeoutSeconds=%u", query.len ? "&" : "",
               (unsigned long long)cache_seen(inf->cache), seconds);
    inf->call = api_watch(inf->env->client, inf->resource, inf->ns, str_text(&query), on_event, on_watch_end, inf);
}

/* --- list --- */

static void list(struct informer *inf);

static void list_failed(struct informer *inf, const struct gw_error *err)
{
    free(inf->page); /* begin again: an expired page does not come back */
    inf->page = NULL;
    go_on_later(inf, err);
}

static void take_page(struct informer *inf, yyjson_val *answer)
{
    yyjson_val *item;

    if (!inf->page)
        cache_list_begin(inf->cache, object_version(answer));
    json_each(json_at(answer, "/items"), item)
        cache_list_item(inf->cache, item);
    free(inf->page);
    inf->page = NULL;
    const char *next = json_str_or(answer, "/metadata/continue", "");
    if (*next)
        inf->page = xstrdup(next);
}

static void on_list(void *userdata, struct api_answer *answer)
{
    struct informer *inf = userdata;

    inf->call = NULL;
    if (answer->err) {
        list_failed(inf, answer->err);
        return;
    }
    take_page(inf, yyjson_doc_get_root(answer->doc));
    if (inf->page) {
        list(inf);
        return;
    }
    inf->must_list = false;
    inf->synced = true;
    cache_list_end(inf->cache);
    clear_failure(inf);
    watch(inf);
}

static void list(struct informer *inf)
{
    _cleanup_str_ struct str query = {0};

    add_selectors(inf, &query);
    api_query(&query, "limit", PAGE);
    api_query(&query, "continue", inf->page);
    inf->call = api_list(inf->env->client, inf->resource, inf->ns, str_text(&query), on_list, inf);
}

static void next_step(void *userdata)
{
    struct informer *inf = userdata;

    inf->timer = NULL;
    if (inf->must_list)
        list(inf);
    else
        watch(inf);
}

/* --- life --- */

struct informer *informer_new(struct env *env, const struct informer_config *cfg)
{
    struct informer *inf = xnew(struct informer);

    inf->env = env;
    inf->resource = cfg->resource;
    inf->ns = xstrdup(cfg->ns);
    inf->label_selector = xstrdup(cfg->label_selector);
    inf->field_selector = xstrdup(cfg->field_selector);
    inf->cache = cache_new(cfg->resource, cfg->keep, changed, woke, inf);
    for (const struct informer_index *i = cfg->indexes; i && i->name; i++)
        cache_add_index(inf->cache, i->name, i->fn);
    inf->must_list = true;
    list(inf);
    return inf;
}

struct informer *informer_free(struct informer *inf)
{
    if (!inf)
        return NULL;
    api_cancel(inf->call);
    env_timer_cancel(inf->env, &inf->timer);
    env_timer_cancel(inf->env, &inf->rest_timer);
    cache_free(inf->cache);
    handler_vec_done(&inf->handlers);
    gw_error_done(&inf->error);
    free(inf->page);
    free(inf->ns);
    free(inf->label_selector);
    free(inf->field_selector);
    free(inf);
    return NULL;
}

static void show(void *userdata, const char *key, yyjson_val *obj)
{
    const struct handler *h = userdata;

    h->fn(h->userdata, key, NULL, obj);
}

void informer_add_handler(struct informer *inf, informer_fn fn, void *userdata)
{
    struct handler h = {.fn = fn, .userdata = userdata};

    handler_vec_push(&inf->handlers, h);
    cache_each(inf->cache, show, &h);
}

void informer_add_index(struct informer *inf, const char *name, index_fn fn)
{
    cache_add_index(inf->cache, name, fn);
}

/* --- reading --- */

bool informer_has_synced(const struct informer *inf)
{
    return inf->synced;
}

yyjson_val *informer_get(const struct informer *inf, const char *key)
{
    return cache_get(inf->cache, key);
}

yyjson_val *informer_get_ns(const struct informer *inf, const char *ns, const char *name)
{
    char key[OBJECT_KEY_MAX];

    return name ? cache_get(inf->cache, object_key_of(ns, name, key)) : NULL;
}

size_t informer_len(const struct informer *inf)
{
    return cache_len(inf->cache);
}

void informer_each(const struct informer *inf, void (*visit)(void *userdata, const char *key, yyjson_val *obj),
                   void *userdata)
{
    cache_each(inf->cache, visit, userdata);
}

bool informer_next(const struct informer *inf, size_t *cursor, const char **ret_key, yyjson_val **ret_obj)
{
    return cache_next(inf->cache, cursor, ret_key, ret_obj);
}

void informer_select(const struct informer *inf, const char *index, const char *value, struct val_vec *ret)
{
    cache_select(inf->cache, index, value, ret);
}

void informer_observe(struct informer *inf, yyjson_val *obj)
{
    cache_observe(inf->cache, obj);
}

void informer_observe_deleted(struct informer *inf, const char *key, const char *uid)
{
    cache_observe_deleted(inf->cache, key, uid);
}

int64_t informer_lost_since(const struct informer *inf)
{
    return inf->lost_since;
}

const char *informer_error(const struct informer *inf)
{
    return inf->lost_since ? gw_error_message(&inf->error) : "";
}
