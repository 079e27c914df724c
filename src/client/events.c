/* Each distinct event (object, type, reason, message) is one `series`; it remembers the Event object that was made for
 * it and has at most one write under way. Repetitions that come meanwhile are counted and written once. */
#include "client/events.h"

#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/str.h"

#define MESSAGE_MAX 1024
#define SERIES_MAX 512
#define SERIES_KEEP_MS 600000
#define TRIES 5

struct series {
    struct event_recorder *rec;
    struct blob *event; /* encoded, with count and lastTimestamp of its beginning */
    char *ns, *name;
    int64_t count, written; /* how often it happened; what the server knows */
    int64_t last_ms, last_wall_ms;
    bool exists; /* the server has the Event object */
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
    size_t room;         /* so many of either before it is looked for what can go */
};

static void series_free(void *p)
{
    struct series *s = p;

    api_cancel(s->call);
    env_timer_cancel(s->rec->env, &s->timer);
    blob_unref(s->event);
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

static void set_count(struct series *s, yyjson_mut_doc *d)
{
    char time[CLOCK_TEXT_MAX];

    json_set_int(d, "/count", s->count);
    json_set_str(d, "/lastTimestamp", clock_format(s->last_wall_ms, time));
}

static void write_series(void *userdata)
{
    struct series *s = userdata;
    struct api_client *c = s->rec->env->client;

    s->timer = NULL;
    s->written = s->count;
    _cleanup_doc_ yyjson_doc *event = yyjson_read(s->event->data, s->event->len, 0);
    _cleanup_mut_doc_ yyjson_mut_doc *d = s->exists ? json_object() : json_copy(yyjson_doc_get_root(event));
    set_count(s, d);
    if (s->exists)
        s->call = api_patch(c, &API_EVENTS, s->ns, s->name, NULL, API_PATCH_MERGE, d, on_written, s);
    else
        s->call = api_create(c, &API_EVENTS, s->ns, d, on_written, s);
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
    s->ns = xstrdup(json_str_or(obj, "/metadata/namespace", "default"));
    s->name = xasprintf("%.200s.%016llx", json_str_or(obj, "/metadata/name", "unknown"),
                        (unsigned long long)env_random(rec->env));
    json_set_str(event, "/metadata/name", s->name);
    json_set_str(event, "/metadata/namespace", s->ns);
    s->event = json_encode(yyjson_mut_doc_get_root(event));
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

/* Forgets what has been quiet for long, or of too much also what is young. Seldom: the room doubles where little could
 * go. */
static void make_room(struct event_recorder *rec)
{
    int64_t before = env_now(rec->env) - SERIES_KEEP_MS;
    bool crowded = map_len(rec->series) >= SERIES_MAX * 2;
    const char *key;
    void *value;

    if (MAX(map_len(rec->series), map_len(rec->budgets)) < rec->room)
        return;
    for (size_t at = 0; map_next(rec->series, &at, &key, &value);) {
        const struct series *s = value;
        if (!s->call && !s->timer && (crowded || s->last_ms < before))
            map_remove(rec->series, key);
    }
    for (size_t at = 0; map_next(rec->budgets, &at, &key, &value);) {
        const struct budget *b = value;
        if (b->since_ms < before || (crowded && b->tokens > EVENTS_BURST / 2))
            map_remove(rec->budgets, key);
    }
    rec->room = MAX((size_t)SERIES_MAX, 2 * MAX(map_len(rec->series), map_len(rec->budgets)));
}

void event_record(struct event_recorder *rec, yyjson_val *object, const char *type, const char *reason, const char *fmt,
                  ...)
{
    const char *uid = json_str_or(object, "/metadata/uid", "");
    char message[MESSAGE_MAX];
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
        _cleanup_mut_doc_ yyjson_mut_doc *event = event_object(rec, object, type, reason, message);
        s = series_new(rec, object, event);
        map_put(rec->series, key, s);
    }
    s->count++;
    s->last_ms = env_now(rec->env);
    s->last_wall_ms = env_wall_ms(rec->env);
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
    rec->room = SERIES_MAX;
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
