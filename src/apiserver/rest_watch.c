#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/rest_call.h"
#include "apiserver/watch_internal.h"
#include "base/random.h"

/* Clients that say nothing are sent away after half an hour to an hour, not all at once, as kube-apiserver does. */
#define TIMEOUT_MIN_S 1800
#define TIMEOUT_SPREAD_S 1800

static int parse_timeout(struct rest_call *c, int64_t *ret_ms, struct gw_error *err)
{
    const char *text = call_param(c, "timeoutSeconds");
    char *end = NULL;
    long long seconds = text ? strtoll(text, &end, 10) : 0;
    uint32_t spread;

    if (text && *text && (*end || seconds < 0))
        return gw_error_set(err, GW_BAD_REQUEST,
                            "Invalid value: \"%s\" for timeoutSeconds: must be a number and not negative", text);
    random_bytes(&spread, sizeof(spread));
    *ret_ms = (seconds ? seconds : TIMEOUT_MIN_S + spread % TIMEOUT_SPREAD_S) * 1000;
    return 0;
}

/* What to begin with (k8s.io/apiserver, "Semantics for watch"): without a resourceVersion and with 0 the present state
 * comes first, with another one the changes after it; sendInitialEvents says it outright. */
static int parse_start(struct rest_call *c, struct watch_options *o, struct gw_error *err)
{
    const char *initial = call_param(c, "sendInitialEvents"), *match = call_param(c, "resourceVersionMatch");
    int r = rest_parse_version(call_param(c, "resourceVersion"), &o->from, err);

    if (r < 0)
        return r;
    o->bookmarks = http_uri_flag(&c->uri, "allowWatchBookmarks");
    o->initial = initial ? http_uri_flag(&c->uri, "sendInitialEvents") : o->from == 0;
    if (initial && (!match || !streq(match, "NotOlderThan")))
        return gw_error_set(err, GW_BAD_REQUEST, "sendInitialEvents requires resourceVersionMatch=NotOlderThan");
    if (!initial && match && *match)
        return gw_error_set(err, GW_BAD_REQUEST,
                            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
    o->initial_end = initial && o->initial && o->bookmarks;
    if (!o->initial && o->from == 0) /* from now on */
        o->from = store_revision(c->server->store, err);
    return MIN(o->from, 0);
}

static int note_shown(void *data, const struct store_item *item, struct gw_error *err)
{
    struct selection_guard *g = data;

    g->note(g, item->key, true);
    return 1;
}

/* What the client has seen, or will see as the present state. A start that is forgotten is watcher_open's to tell. */
static void recall_shown(struct rest_call *c, const struct watch_options *o)
{
    int64_t revision = o->initial ? 0 : o->from;

    if (o->selection.guard)
        (void)rest_each(c, &o->selection, NULL, 0, &revision, note_shown, o->selection.guard, NULL, NULL);
}

int rest_watch(struct rest_call *c, struct gw_error *err)
{
    struct watch_options o = {.kind = call_output(c), .form = c->form};
    int r = parse_timeout(c, &o.timeout_ms, err);

    if (r == 0 && c->form.yaml)
        r = gw_error_set(err, GW_NOT_ACCEPTABLE, "only the following media types are accepted: application/json");
    if (r == 0)
        r = parse_start(c, &o, err);
    if (r == 0)
        r = rest_select(c, &o.selection, err);
    if (r == 0)
        recall_shown(c, &o);
    if (r == 0)
        r = watcher_open(c->server->hub, &o, c->now, &c->response->watch, err);
    selection_done(&o.selection);
    if (r < 0)
        return r;
    c->response->status = 200;
    c->response->content_type = "application/json";
    return 0;
}
