/* What all transports share: addresses, encoding, decoding, and the life of a call.
 *
 * A call may be cancelled from inside its own callback. While a callback of a watch runs the call is `busy`; cancelling
 * then only marks it `dead`, and whoever called back frees it. For requests the question does not arise: their call is
 * freed before `done` begins. */
#include "client/client.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "client/lines.h"
#include "client/status.h"
#include "client/transport.h"

#define DEFAULT_TIMEOUT_MS 30000

static const char JSON_TYPE[] = "application/json";
static const char *const patch_types[] = {
    [API_PATCH_MERGE] = "application/merge-patch+json",
    [API_PATCH_JSON] = "application/json-patch+json",
    [API_PATCH_STRATEGIC] = "application/strategic-merge-patch+json",
};

char *api_path(const struct api_resource *r, const char *ns, const char *name, const char *sub, const char *query)
{
    struct str s = {0};

    if (*r->group)
        str_printf(&s, "/apis/%s/%s", r->group, r->version);
    else
        str_printf(&s, "/api/%s", r->version);
    if (r->namespaced && ns)
        str_printf(&s, "/namespaces/%s", ns);
    str_printf(&s, "/%s", r->plural);
    if (name)
        str_printf(&s, "/%s", name);
    if (sub)
        str_printf(&s, "/%s", sub);
    if (query && *query)
        str_printf(&s, "?%s", query);
    return str_take(&s);
}

void api_query(struct str *query, const char *key, const char *value)
{
    if (!value)
        return;
    str_printf(query, "%s%s=", query->len ? "&" : "", key);
    for (const unsigned char *p = (const unsigned char *)value; *p; p++)
        if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || strchr("-._~", *p))
            str_putc(query, (char)*p);
        else
            str_printf(query, "%%%02X", *p);
}

/* --- the life of a call --- */

static void call_free(struct api_call *call)
{
    if (call->prev)
        call->prev->next = call->next;
    else
        call->client->calls = call->next;
    if (call->next)
        call->next->prev = call->prev;
    lines_done(&call->lines);
    str_done(&call->text);
    gw_error_done(&call->failure);
    blob_unref(call->body);
    free(call->path);
    free(call);
}

static struct api_call *call_new(struct api_client *c, const char *method, char *path, void *userdata)
{
    struct api_call *call = xnew(struct api_call);

    call->client = c;
    call->method = method;
    call->path = path;
    call->userdata = userdata;
    call->next = c->calls;
    if (c->calls)
        c->calls->prev = call;
    c->calls = call;
    return call;
}

struct api_call *api_cancel(struct api_call *call)
{
    if (!call || call->dead)
        return NULL;
    call->client->ops->cancel(call->client, call);
    if (call->busy)
        call->dead = true;
    else
        call_free(call);
    return NULL;
}

struct api_client *api_client_free(struct api_client *c)
{
    if (!c)
        return NULL;
    while (c->calls)
        api_cancel(c->calls);
    c->ops->free(c);
    return NULL;
}

/* --- what transports report --- */

static const char *const event_types[] = {
    [API_ADDED] = "ADDED",
    [API_MODIFIED] = "MODIFIED",
    [API_DELETED] = "DELETED",
    [API_BOOKMARK] = "BOOKMARK",
};
_Static_assert(ARRAY_SIZE(event_types) == API_EVENT_TYPE_MAX, "each event type needs its name");

/* Ends a watch because of its content; what the transport still has is dropped. */
static void watch_end(struct api_call *call, const struct gw_error *err)
{
    api_end_fn end = call->end;
    void *userdata = call->userdata;

    call->busy = false;
    api_cancel(call);
    if (end)
        end(userdata, err);
}

/* One line of a watch. false: the call is gone or about to go (dead or failed is set). */
static bool watch_line(void *userdata, const char *line, size_t len)
{
    struct api_call *call = userdata;
    _cleanup_doc_ yyjson_doc *doc = NULL;

    if (json_parse(line, len, &doc, &call->failure) < 0) {
        gw_error_wrap(&call->failure, 0, "watch event");
        return false;
    }
    yyjson_val *root = yyjson_doc_get_root(doc), *object = json_at(root, "/object");
    const char *type = json_str_or(root, "/type", "");
    if (streq(type, "ERROR")) {
        status_decode(object, 500, &call->failure);
        return false;
    }
    for (unsigned i = 0; i < API_EVENT_TYPE_MAX; i++)
        if (streq(type, event_types[i]) && yyjson_is_obj(object))
            call->on_event(call->userdata, (enum api_event_type)i, object, &doc);
    return !call->dead; /* events of unknown types are for newer clients than this one */
}

static bool watch_data(struct api_call *call, const void *data, size_t len)
{
    call->busy = true;
    int r = lines_feed(&call->lines, data, len, watch_line, call);
    call->busy = false;
    if (call->dead) {
        call_free(call);
        return false;
    }
    if (r == 0)
        return true;
    if (r == -EMSGSIZE)
        gw_error_set(&call->failure, GW_TOO_LARGE, "a watch event is longer than %u bytes", LINE_MAX_BYTES);
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    gw_error_move(&err, &call->failure);
    watch_end(call, &err);
    return false;
}

bool api_call_data(struct api_call *call, int code, const void *data, size_t len)
{
    if (call->stream && code == 200)
        return watch_data(call, data, len);
    str_add(&call->text, data, len);
    return true;
}

/* Decodes the body of a call that got an answer. */
static int decode(struct api_call *call, int code, yyjson_doc **ret, struct gw_error *err)
{
    const char *text = str_text(&call->text);
    size_t len = call->text.len;

    if (code < 200 || code > 299)
        return status_decode_body(text, len, code, err);
    if (len == 0 || call->stream)
        return 0;
    if (json_parse(text, len, ret, err) < 0)
        return gw_error_set(err, GW_INTERNAL_ERROR, "the server's answer to %s %s is not JSON", call->method,
                            call->path);
    return 0;
}

void api_call_end(struct api_call *call, int code, const struct gw_error *transport_error)
{
    _cleanup_error_ struct gw_error fault = GW_ERROR_INIT;
    _cleanup_doc_ yyjson_doc *doc = NULL;
    const struct gw_error *err = transport_error;
    api_done_fn done = call->done;
    api_end_fn end = call->end;
    void *userdata = call->userdata;

    if (!err && decode(call, code, &doc, &fault) < 0)
        err = &fault;
    call_free(call);
    if (end)
        end(userdata, err);
    if (!done)
        return;
    struct api_answer answer = {.code = code, .doc = err ? NULL : doc, .err = err};
    done(userdata, &answer);
    doc = err ? doc : answer.doc;
}

/* --- starting calls --- */

static struct api_call *start(struct api_call *call)
{
    call->client->ops->start(call->client, call);
    return call;
}

/* Takes over path and body. */
static struct api_call *submit(struct api_client *c, const char *method, char *path, const char *type,
                               struct blob *body, int timeout_ms, api_done_fn done, void *userdata)
{
    struct api_call *call = call_new(c, method, path, userdata);

    call->content_type = type;
    call->body = body;
    call->timeout_ms = timeout_ms ? timeout_ms : DEFAULT_TIMEOUT_MS;
    call->done = done;
    return start(call);
}

struct api_call *api_request(struct api_client *c, const char *method, const char *path, const char *content_type,
                             struct blob *body, int timeout_ms, api_done_fn done, void *userdata)
{
    return submit(c, method, xstrdup(path), content_type, body ? blob_ref(body) : NULL, timeout_ms, done, userdata);
}

struct api_call *api_get(struct api_client *c, const struct api_resource *r, const char *ns, const char *name,
                         api_done_fn done, void *userdata)
{
    return submit(c, "GET", api_path(r, ns, name, NULL, NULL), NULL, NULL, 0, done, userdata);
}

struct api_call *api_list(struct api_client *c, const struct api_resource *r, const char *ns, const char *query,
                          api_done_fn done, void *userdata)
{
    return submit(c, "GET", api_path(r, ns, NULL, NULL, query), NULL, NULL, 0, done, userdata);
}

static struct blob *encode(yyjson_mut_doc *doc)
{
    return json_encode(yyjson_mut_doc_get_root(doc));
}

struct api_call *api_create(struct api_client *c, const struct api_resource *r, const char *ns, yyjson_mut_doc *obj,
                            api_done_fn done, void *userdata)
{
    _cleanup_free_ char *version = api_resource_version(r);

    if (!json_mut_str(obj, "/apiVersion"))
        json_set_str(obj, "/apiVersion", version);
    if (!json_mut_str(obj, "/kind"))
        json_set_str(obj, "/kind", r->kind);
    return submit(c, "POST", api_path(r, ns, NULL, NULL, NULL), JSON_TYPE, encode(obj), 0, done, userdata);
}

struct api_call *api_create_sub(struct api_client *c, const struct api_resource *r, const char *ns, const char *name,
                                const char *sub, yyjson_mut_doc *obj, api_done_fn done, void *userdata)
{
    return submit(c, "POST", api_path(r, ns, name, sub, NULL), JSON_TYPE, encode(obj), 0, done, userdata);
}

struct api_call *api_update(struct api_client *c, const struct api_resource *r, const char *ns, const char *name,
                            const char *sub, yyjson_mut_doc *obj, api_done_fn done, void *userdata)
{
    return submit(c, "PUT", api_path(r, ns, name, sub, NULL), JSON_TYPE, encode(obj), 0, done, userdata);
}

struct api_call *api_patch(struct api_client *c, const struct api_resource *r, const char *ns, const char *name,
                           const char *sub, enum api_patch_type type, yyjson_mut_doc *patch, api_done_fn done,
                           void *userdata)
{
    return submit(c, "PATCH", api_path(r, ns, name, sub, NULL), patch_types[type], encode(patch), 0, done, userdata);
}

static yyjson_mut_doc *delete_options(const char *uid)
{
    yyjson_mut_doc *options = json_object();

    json_set_str(options, "/kind", "DeleteOptions");
    json_set_str(options, "/apiVersion", "v1");
    if (uid)
        json_set_str(options, "/preconditions/uid", uid);
    return options;
}

struct api_call *api_delete(struct api_client *c, const struct api_resource *r, const char *ns, const char *name,
                            const char *uid, const char *propagation, api_done_fn done, void *userdata)
{
    _cleanup_mut_doc_ yyjson_mut_doc *options = delete_options(uid);

    if (propagation)
        json_set_str(options, "/propagationPolicy", propagation);
    return submit(c, "DELETE", api_path(r, ns, name, NULL, NULL), JSON_TYPE, encode(options), 0, done, userdata);
}

struct api_call *api_delete_now(struct api_client *c, const struct api_resource *r, const char *ns, const char *name,
                                const char *uid, api_done_fn done, void *userdata)
{
    _cleanup_mut_doc_ yyjson_mut_doc *options = delete_options(uid);

    json_set_int(options, "/gracePeriodSeconds", 0);
    return submit(c, "DELETE", api_path(r, ns, name, NULL, NULL), JSON_TYPE, encode(options), 0, done, userdata);
}

struct api_call *api_delete_all(struct api_client *c, const struct api_resource *r, const char *ns, const char *query,
                                api_done_fn done, void *userdata)
{
    return submit(c, "DELETE", api_path(r, ns, NULL, NULL, query), NULL, NULL, 0, done, userdata);
}

struct api_call *api_watch(struct api_client *c, const struct api_resource *r, const char *ns, const char *query,
                           api_event_fn on_event, api_end_fn end, void *userdata)
{
    _cleanup_free_ char *full = xasprintf("%s%swatch=true", query ? query : "", query && *query ? "&" : "");
    struct api_call *call = call_new(c, "GET", api_path(r, ns, NULL, NULL, full), userdata);

    call->stream = true;
    call->on_event = on_event;
    call->end = end;
    return start(call);
}
