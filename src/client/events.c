/* Each distinct event (object, type, reason, message) is one `series`; it remembers the Event object that was made for it
 * and has at most one write under way. Repetitions that come meanwhile are counted and written once. */
#include "client/events.h"

#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/str.h"

#define MESSAGE_MAX 1024
#define SERIES_MAX 2048
#define SERIES_KEEP_MS 600000
#define TRIES 5

struct series {
    struct event_recorder *rec;
    yyjson_mut_doc *event;
    char *ns, *name;
    int64_t count, written; /* how often it happened; what the server knows */
    int64_t last_ms;
    bool exists;            /* the server has the Event object */
    unsigned failures;
    struct api_call *call;
    struct env_timer *timer;
};

/* Events an object may still make: a token bucket. */
struct budget {
    int64_t tokens, since_ms;
};

struct event_recorder {
    struct env *env;
    char *component, *host;
    struct map *series;  /* key -> struct series */
    struct map *budgets; /* uid -> struct budget */
};

static void series_free(void *p)
{
    struct series *s = p;

    api_cancel(s->call);
    env_timer_cancel(s->rec->env, &s->timer);
    yyjson_mut_doc_free(s->event);
    free(s->ns);
    free(s->name);
    free(s);
}

static void write_series(void *userdata);

static void on_written(void *userdata, struct api_answer *answer)
{
    struct series *s = userdata;
    enum gw_reason reason = answer->err ? answer->err->reason : GW_OK;

    s->call = NULL;
    if (!answer->err || reason == GW_ALREADY_EXISTS) {
        s->exists = true;
        s->failures = 0;
        if (s->written < s->count)
            write_series(s);
        return;
    }
    s->written = 0;
    if (reason == GW_NOT_FOUND && s->exists)
        s->exists = false; /* it has expired: begin anew */
    else if (reason == GW_INVALID || reason == GW_FORBIDDEN || reason == GW_NOT_FOUND)
        return; /* a namespace that is going away, for one: nobody will read it */
    if (++s->failures < TRIES)
        s->timer = env_timer(s->rec->env, env_backoff(s->rec->env, s->failures, 500, 8000), write_series, s);
}

static void patch_count(struct series *s)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();

    json_set_int(d, "/count", s->count);
    json_set_str(d, "/lastTimestamp", json_mut_str(s->event, "/lastTimestamp"));
    s->call = api_patch(s->rec->env->client, &API_EVENTS, s->ns, s->name, NULL, API_PATCH_MERGE, d, on_written, s);
}

static void write_series(void *userdata)
{
    struct series *s = userdata;

    s->timer = NULL;
    s->written = s->count;
    json_set_int(s->event, "/count", s->count);
    if (s->exists)
        patch_count(s);
    else
        s->call = api_create(s->rec->env->client, &API_EVENTS, s->ns, s->event, on_written, s);
}

static yyjson_mut_doc *event_object(struct event_recorder *rec, yyjson_val *obj, const char *type, const char *reason,
                                    const char *message)
{
    static const char *const about[][2] = {
        {"/kind", "/involvedObject/kind"},
        {"/apiVersion", "/involvedObject/apiVersion"},
        {"/metadata/namespace", "/involvedObject/namespace"},
        {"/metadata/name", "/involvedObject/name"},
        {"/metadata/uid", "/involvedObject/uid"},
        {"/metadata/resourceVersion", "/involvedObject/resourceVersion"},
    };
    yyjson_mut_doc *d = json_object();
    char now[CLOCK_TEXT_MAX];

    for (size_t i = 0; i < ARRAY_SIZE(about); i++)
        if (json_str(obj, about[i][0]))
            json_set_str(d, about[i][1], json_str(obj, about[i][0]));
    json_set_str(d, "/type", type);
    json_set_str(d, "/reason", reason);
    json_set_str(d, "/message", message);
    json_set_str(d, "/source/component", rec->component);
    if (rec->host)
        json_set_str(d, "/source/host", rec->host);
    json_set_str(d, "/reportingComponent", rec->component);
    json_set_str(d, "/reportingInstance", rec->host ? rec->host : "");
    json_set_str(d, "/firstTimestamp", clock_format(env_wall_ms(rec->env), now));
    return d;
}

static struct series *series_new(struct event_recorder *rec, yyjson_val *obj, yyjson_mut_doc *event)
{
    struct series *s = xnew(struct series);

    s->rec = rec;
    s->event = event;
    s->ns = xstrdup(json_str_or(obj, "/metadata/namespace", "default"));
    s->name = xasprintf("%.200s.%016llx", json_str_or(obj, "/metadata/name", "unknown"),
                        (unsigned long long)env_random(rec->env));
    json_set_str(event, "/metadata/name", s->name);
    json_set_str(event, "/metadata/namespace", s->ns);
    return s;
}

/* --- limits --- */

static bool spend(struct event_recorder *rec, const char *uid)
{
    struct budget *b = map_get(rec->budgets, uid);
    int64_t now = env_now(rec->env);

    if (!b) {
        b = xnew(struct budget);
        *b = (struct budget){.tokens = EVENTS_BURST, .since_ms = now};
        map_put(rec->budgets, uid, b);
    }
    int64_t more = (now - b->since_ms) / (EVENTS_REFILL_S * 1000);
    b->since_ms += more * EVENTS_REFILL_S * 1000;
    b->tokens = MIN(b->tokens + more, (int64_t)EVENTS_BURST);
    if (b->tokens == 0)
        return false;
    b->tokens--;
    return true;
}

/* Forgets what has been quiet for long, when there is much of it. */
static void make_room(struct event_recorder *rec)
{
    int64_t before = env_now(rec->env) - SERIES_KEEP_MS;
    const char *key;
    void *value;

    if (map_len(rec->series) < SERIES_MAX && map_len(rec->budgets) < SERIES_MAX)
        return;
    for (size_t at = 0; map_next(rec->series, &at, &key, &value);) {
        const struct series *s = value;
        if (!s->call && !s->timer && (s->last_ms < before || map_len(rec->series) > SERIES_MAX * 2))
            map_remove(rec->series, key);
    }
    for (size_t at = 0; map_next(rec->budgets, &at, &key, &value);) {
        const struct budget *b = value;
        if (b->since_ms < before)
            map_remove(rec->budgets, key);
    }
}

void event_record(struct event_recorder *rec, yyjson_val *object, const char *type, const char *reason, const char *fmt,
                  ...)
{
    const char *uid = json_str_or(object, "/metadata/uid", "");
    char message[MESSAGE_MAX], now[CLOCK_TEXT_MAX];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(message, sizeof(message), fmt, ap);
    va_end(ap);
    make_room(rec);
    if (!spend(rec, uid))
        return;
    _cleanup_free_ char *key = xasprintf("%s\n%s\n%s\n%s", uid, type, reason, message);
    struct series *s = map_get(rec->series, key);
    if (!s) {
        s = series_new(rec, object, event_object(rec, object, type, reason, message));
        map_put(rec->series, key, s);
    }
    s->count++;
    s->last_ms = env_now(rec->env);
    json_set_str(s->event, "/lastTimestamp", clock_format(env_wall_ms(rec->env), now));
    if (!s->call && !s->timer)
        write_series(s);
}

struct event_recorder *event_recorder_new(struct env *env, const char *component, const char *host)
{
    struct event_recorder *rec = xnew(struct event_recorder);

    rec->env = env;
    rec->component = xstrdup(component);
    rec->host = xstrdup(host);
    rec->series = map_new(series_free);
    rec->budgets = map_new(free);
    return rec;
}

struct event_recorder *event_recorder_free(struct event_recorder *rec)
{
    if (!rec)
        return NULL;
    map_free(rec->series);
    map_free(rec->budgets);
    free(rec->component);
    free(rec->host);
    free(rec);
    return NULL;
}
