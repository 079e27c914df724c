/* The way of a request: path to target, target to kind, authorization, verb. Every failure on the way becomes a Status
 * here. */
#include "apiserver/rest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "apiserver/rest_call.h"
#include "apiserver/route.h"
#include "base/duration.h"

static const struct {
    const char *verb;
    int (*run)(struct rest_call *c, struct gw_error *err);
} verbs[] = {
    {"get", rest_get},       {"list", rest_list},
    {"watch", rest_watch},   {"create", rest_create},
    {"update", rest_update}, {"patch", rest_patch},
    {"delete", rest_delete}, {"deletecollection", rest_delete_collection},
};

const char *rest_target_namespace(const struct rest_target *t)
{
    static const char *const homes[][2] = {{"", "namespaces"}, {"project.openshift.io", "projects"}};

    for (size_t i = 0; i < ARRAY_SIZE(homes) && !t->path && t->name; i++)
        if (streq(t->group, homes[i][0]) && streq(t->resource, homes[i][1]))
            return t->name;
    return t->namespace;
}

int rest_forbid(const struct api_user *user, const struct rest_target *t, const char *why, struct gw_error *err)
{
    const char *namespace = rest_target_namespace(t);
    _cleanup_str_ struct str text = {0};

    if (t->path)
        return gw_error_set(err, GW_FORBIDDEN, "forbidden: User \"%s\" cannot %s path \"%s\"", user->name, t->verb,
                            t->path);
    str_printf(&text, "%s%s%s", t->resource, *t->group ? "." : "", t->group);
    if (t->name)
        str_printf(&text, " \"%s\"", t->name);
    str_printf(&text, " is forbidden: User \"%s\" cannot %s resource \"%s%s%s\" in API group \"%s\"", user->name,
               t->verb, t->resource, t->subresource ? "/" : "", t->subresource ? t->subresource : "", t->group);
    if (namespace)
        str_printf(&text, " in the namespace \"%s\"", namespace);
    else
        str_puts(&text, " at the cluster scope");
    if (why)
        str_printf(&text, ": %s", why);
    return gw_error_set(err, GW_FORBIDDEN, "%s", str_text(&text));
}

/* Whether the path behind the name is that of e, or goes on behind it where e takes more. */
static bool is_path_of(const struct rest_extra *e, const struct rest_target *t)
{
    size_t n = e->takes_below ? strlen(e->subresource) : 0;

    if (n == 0 || !t->subresource)
        return str_same(e->subresource, t->subresource);
    return strncmp(t->subresource, e->subresource, n) == 0 && (t->subresource[n] == '\0' || t->subresource[n] == '/');
}

/* From then on the target is e's own: nobody is authorized by a port. */
static void split_below(const struct rest_extra *e, struct rest_target *t)
{
    if (!e->takes_below)
        return;
    t->below = t->subresource + strlen(e->subresource);
    t->below += *t->below == '/';
    t->subresource = e->subresource;
}

static const struct rest_extra *find_in(const struct rest_extra *table, const struct rest_target *t)
{
    for (const struct rest_extra *e = table; e->resource; e++)
        if (streq(e->group, t->group) && streq(e->resource, t->resource) && is_path_of(e, t) &&
            (!e->version || streq(e->version, t->version)))
            return e;
    return NULL;
}

static const struct rest_extra *find_extra(struct rest_server *s, const struct rest_target *t)
{
    const struct rest_extra *e = find_in(pod_extras, t);

    for (const struct rest_extra *const *table = s->extras; !e && table && *table; table++)
        e = find_in(*table, t);
    return e;
}

/* The subresources that the core itself serves. */
static bool has_subresource(const struct kind *kind, const char *name)
{
    if (streq(name, "status"))
        return kind->has_status;
    return streq(name, "finalize") && streq(kind->group, "") && streq(kind->kind, "Namespace");
}

static bool fits_scope(bool namespaced, const struct rest_target *t)
{
    return namespaced ? t->namespace || !t->name : !t->namespace;
}

/* Whether the path is served: by a kind in that version, or by an extra beside it or on its own. */
static bool is_served(struct rest_server *s, const struct rest_target *t, const struct rest_extra *extra)
{
    if (!t->kind)
        return extra && !kinds_find(s->kinds, t->group, NULL, t->resource) && fits_scope(extra->namespaced, t);
    if (!fits_scope(t->kind->namespaced, t))
        return false;
    if (!t->kind->stored)
        return extra != NULL && (!t->name || t->kind->computed);
    return extra || !t->subresource || has_subresource(t->kind, t->subresource);
}

/* A subresource can be read and written, but neither made nor deleted; and only what has a name can be replaced. A
 * namespace's finalize is for writing alone. */
static bool verb_fits(const struct rest_target *t)
{
    if (streq(t->verb, "update") && !t->name)
        return false;
    if (str_same(t->subresource, "finalize") && streq(t->verb, "get"))
        return false;
    return !t->subresource || streq(t->verb, "get") || streq(t->verb, "update") || streq(t->verb, "patch");
}

static bool takes_verb(const struct rest_extra *e, const struct rest_target *t)
{
    return t->subresource || !t->kind || !t->kind->stored || strstr(e->verbs, t->verb);
}

/* How long the client waits: nothing here takes that long, but what is no duration is refused as kube-apiserver does
 * (k8s.io/apiserver, WithRequestDeadline). Watches have timeoutSeconds. */
static int check_timeout(const struct rest_call *c, struct gw_error *err)
{
    const char *text = call_param(c, "timeout");
    int64_t ms;

    if (!text || !*text || streq(c->target.verb, "watch") || duration_parse(text, &ms, NULL) == 0)
        return 0;
    return gw_error_set(err, GW_BAD_REQUEST,
                        "invalid timeout specified in the request URL - time: invalid duration \"%s\"", text);
}

static int run_verb(struct rest_call *c, struct gw_error *err)
{
    if (!verb_fits(&c->target) || !kind_has_verb(call_kind(c), c->target.verb) ||
        (streq(c->target.verb, "create") && call_kind(c)->namespaced && !c->target.namespace))
        return gw_error_set(err, GW_METHOD_NOT_ALLOWED,
                            "the server does not allow this method on the requested resource");
    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        if (streq(verbs[i].verb, c->target.verb))
            return verbs[i].run(c, err);
    return gw_error_set(err, GW_METHOD_NOT_ALLOWED, "the server does not allow this method on the requested resource");
}

static int run_extra(struct rest_call *c, const struct rest_extra *e, struct gw_error *err)
{
    const struct rest_target *t = &c->target;

    if (e->refused)
        return gw_error_set(err, GW_FORBIDDEN, "%s%s%s \"%s\" is forbidden: %s", t->resource, *t->group ? "." : "",
                            t->group, t->name, e->refused);
    return e->handle(c->server, c->request, t, c->response, err);
}

/* -ENOENT without a filled err: no such path. */
static int handle(struct rest_call *c, struct gw_error *err)
{
    struct rest_target *t = &c->target;
    const struct rest_extra *extra;
    int r = http_uri_parse(c->request->target, &c->uri, err);

    if (r == 0)
        r = route_target(c->request->method, &c->uri, t, err);
    if (r < 0)
        return r;
    c->about = (struct api_subject){.group = t->group, .resource = t->resource, .name = t->name};
    t->kind = kinds_find(c->server->kinds, t->group, t->version, t->resource);
    extra = find_extra(c->server, t);
    if (!is_served(c->server, t, extra))
        return -ENOENT;
    if (extra)
        split_below(extra, t);
    if (t->kind) {
        c->about.kind = t->kind->kind;
        t->version = kind_version(t->kind, t->version)->name; /* outlives the request: watchers keep it */
    }
    r = rest_authorize(c, NULL, NULL, err);
    if (r == 0 && extra && takes_verb(extra, t))
        return run_extra(c, extra, err);
    if (r == 0)
        r = check_timeout(c, err);
    if (r == 0)
        r = output_negotiate(c->request->accept, &c->uri, &c->form, err);
    return r < 0 ? r : run_verb(c, err);
}

static void add_deprecation(struct rest_call *c)
{
    const struct kind_version *v = c->target.kind ? kind_version(c->target.kind, c->target.version) : NULL;

    if (v && v->deprecated)
        rest_warn(c, v->deprecated);
}

static void call_done(struct rest_call *c)
{
    http_uri_done(&c->uri);
    free(c->about_name);
    free(c->manager);
    free(c->api_version);
    rest_managed_set(c, NULL);
    VEC_EACH(&c->lookups, doc)
        yyjson_doc_free(*doc);
    doc_vec_done(&c->lookups);
    store_facts_clear(&c->facts);
}

void rest_handle(struct rest_server *s, const struct api_request *request, struct api_response *response)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct rest_call c = {.server = s, .request = request, .response = response, .now = s->now(s->data)};
    int r = handle(&c, &err);

    if (r == -ENOENT && err.reason == GW_OK)
        api_response_text(response, 404, "404 page not found\n");
    else if (r < 0)
        api_response_error(response, &err, &c.about);
    else
        add_deprecation(&c);
    call_done(&c);
}

int rest_read(struct rest_server *s, const struct kind *kind, const char *namespace, const char *name, yyjson_doc **ret,
              struct gw_error *err)
{
    _cleanup_free_ char *key = kind_key(kind, namespace, name);
    _cleanup_free_ char *api_version = kind_api_version(kind, kind_storage_version(kind));
    _cleanup_store_item_ struct store_item item = {0};
    int r = store_get(s->store, key, 0, &item, NULL);

    if (r == -ENOENT) {
        gw_error_set(err, GW_NOT_FOUND, "%s \"%s\" not found", kind->resource, name);
        return r;
    }
    if (r < 0)
        return gw_error_set(err, GW_INTERNAL_ERROR, "cannot read %s \"%s\"", kind->resource, name);
    return object_load(api_version, kind->kind, item.revision, item.value->data, item.value->len, ret, err);
}
