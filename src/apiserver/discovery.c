#include "apiserver/discovery.h"

#include <string.h>

#include "apiserver/discovery_documents.h"
#include "apiserver/issuer.h"
#include "apiserver/openapi.h"
#include "apiserver/version.h"
#include "base/alloc.h"
#include "http/uri.h"

#define AGGREGATED(v) "application/json;g=apidiscovery.k8s.io;v=" v ";as=APIGroupDiscoveryList"

struct discovery {
    struct rest_server *rest;
    struct openapi *openapi;
};

struct discovery *discovery_new(struct rest_server *server)
{
    struct discovery *d = xnew(struct discovery);

    d->rest = server;
    d->openapi = openapi_new(server);
    return d;
}

struct discovery *discovery_free(struct discovery *d)
{
    if (d) {
        openapi_free(d->openapi);
        free(d);
    }
    return NULL;
}

/* The version of apidiscovery.k8s.io that the client likes best among those we have; NULL: the legacy documents. */
static const char *wants_aggregated(const char *accept)
{
    static const char *const versions[] = {"v2", "v2beta1"};
    struct http_media m;

    while (accept && http_media_next(&accept, &m)) {
        const char *as = http_media_param(&m, "as"), *v = http_media_param(&m, "v");
        if (!as && (streq(m.type, "application/json") || streq(m.type, "*/*")))
            return NULL;
        for (size_t i = 0; as && v && streq(as, "APIGroupDiscoveryList") && i < ARRAY_SIZE(versions); i++)
            if (streq(v, versions[i]))
                return versions[i];
    }
    return NULL;
}

static void answer(const struct api_request *request, struct api_response *response, const char *type,
                   yyjson_mut_doc *d)
{
    api_response_header(response, "Vary", "Accept");
    api_response_header(response, "Cache-Control", "public");
    answer_with_etag(request, response, type, json_encode(d->root));
}

static void answer_root(struct catalog_vec *catalog, bool core, const struct api_request *request,
                        struct api_response *response)
{
    const char *aggregated = wants_aggregated(request->accept);
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();

    if (aggregated)
        aggregated_groups(d, catalog, core, aggregated);
    else if (core)
        legacy_versions(d, catalog_find(catalog, ""));
    else
        legacy_groups(d, catalog);
    answer(request, response,
           !aggregated               ? "application/json"
           : streq(aggregated, "v2") ? AGGREGATED("v2")
                                     : AGGREGATED("v2beta1"),
           d);
}

/* The document of a path below /api and /apis, if there is one. */
static bool answer_below(struct catalog_vec *catalog, const struct http_uri *uri, const struct api_request *request,
                         struct api_response *response)
{
    bool core = streq(uri->segments[0], "api");
    const struct catalog_group *g = catalog_find(catalog, core ? "" : uri->segments[1]);
    const char *version = core ? uri->segments[1] : uri->n_segments > 2 ? uri->segments[2] : NULL;
    _cleanup_mut_doc_ yyjson_mut_doc *d = NULL;

    if (!g || (!*g->name && !core) || (version && !catalog_has_version(g, version)))
        return false;
    d = json_object();
    if (version)
        legacy_resources(d, g, version);
    else
        legacy_group(d, g);
    answer(request, response, "application/json", d);
    return true;
}

static void add_group_paths(yyjson_mut_doc *d, yyjson_mut_val *list, const struct catalog_group *g)
{
    _cleanup_free_ char *root = *g->name ? xasprintf("/apis/%s", g->name) : xstrdup("/api");

    yyjson_mut_arr_add_strcpy(d, list, root);
    VEC_EACH(&g->versions, version) {
        _cleanup_free_ char *path = xasprintf("%s/%s", root, *version);
        yyjson_mut_arr_add_strcpy(d, list, path);
    }
    if (!*g->name)
        yyjson_mut_arr_add_str(d, list, "/apis");
}

/* GET /: what paths there are, for people and for tools that look around. */
static void answer_paths(const struct catalog_vec *catalog, struct api_response *response)
{
    static const char *const others[] = {ISSUER_CONFIGURATION, "/healthz",  "/livez",  "/openapi/v2",
                                         "/openapi/v3",        ISSUER_KEYS, "/readyz", "/version"};
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    yyjson_mut_val *list = yyjson_mut_obj_add_arr(d, d->root, "paths");

    VEC_EACH(catalog, g) /* the core group is the first */
        add_group_paths(d, list, g);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        yyjson_mut_arr_add_str(d, list, others[i]);
    api_response_json(response, 200, json_encode(d->root));
}

static bool is_ours(const struct http_uri *uri)
{
    const char *first = uri->n_segments ? uri->segments[0] : "";

    if (uri->n_segments == 0)
        return true;
    if (streq(first, "api"))
        return uri->n_segments <= 2;
    if (streq(first, "apis"))
        return uri->n_segments <= 3;
    return issuer_is_path(uri) || streq(first, "openapi") || (streq(first, "version") && uri->n_segments == 1);
}

/* Kubernetes asks for the right to a path by the method's name in small letters. */
static int check(struct rest_server *s, const struct api_request *request, const struct http_uri *uri,
                 struct gw_error *err)
{
    bool reads = streq(request->method, "GET") || streq(request->method, "HEAD");
    const struct rest_target target = {
        .verb = streq(request->method, "HEAD") ? "head" : "get", .group = "", .path = uri->path};
    int r = s->authorize ? s->authorize(s->data, &request->user, &target, NULL, NULL, err) : 0;

    if (r == 0 && !reads)
        r = gw_error_set(err, GW_METHOD_NOT_ALLOWED, "the server does not allow this method on the requested resource");
    return r;
}

static void handle(struct discovery *d, const struct http_uri *uri, const struct api_request *request,
                   struct api_response *response)
{
    const char *first = uri->n_segments ? uri->segments[0] : "";
    _cleanup_catalog_ struct catalog_vec catalog = {0};

    if (streq(first, "version")) {
        version_answer_kubernetes(response);
        return;
    }
    if (issuer_is_path(uri)) {
        issuer_answer(d->rest, uri, response);
        return;
    }
    if (streq(first, "openapi")) {
        openapi_handle(d->openapi, uri, request, response);
        return;
    }
    catalog_read(d->rest, &catalog);
    if (!*first)
        answer_paths(&catalog, response);
    else if (uri->n_segments == 1)
        answer_root(&catalog, streq(first, "api"), request, response);
    else if (!answer_below(&catalog, uri, request, response))
        api_response_text(response, 404, "404 page not found\n");
}

bool discovery_handle(struct discovery *d, const struct api_request *request, struct api_response *response)
{
    _cleanup_uri_ struct http_uri uri = {0};
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    if (http_uri_parse(request->target, &uri, NULL) < 0 || !is_ours(&uri))
        return false;
    if (check(d->rest, request, &uri, &err) < 0)
        api_response_error(response, &err, NULL);
    else
        handle(d, &uri, request, response);
    return true;
}
