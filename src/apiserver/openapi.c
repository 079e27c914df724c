#include "apiserver/openapi.h"

#include <ctype.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "apiserver/openapi_v2.h"
#include "base/alloc.h"
#include "base/map.h"

struct openapi {
    struct rest_server *server;
    pthread_mutex_t lock;
    struct blob *index; /* of the generation below, NULL at first */
    struct blob *v2;    /* in protobuf; NULL until somebody asks */
    uint64_t generation, v2_generation;
};

struct openapi *openapi_new(struct rest_server *server)
{
    struct openapi *o = xnew(struct openapi);

    o->server = server;
    pthread_mutex_init(&o->lock, NULL);
    return o;
}

struct openapi *openapi_free(struct openapi *o)
{
    if (o) {
        blob_unref(o->index);
        blob_unref(o->v2);
        pthread_mutex_destroy(&o->lock);
        free(o);
    }
    return NULL;
}

/* FNV-1a of 128 bits. */
char *content_hash(const void *data, size_t len, char *buf)
{
    const unsigned __int128 prime = ((unsigned __int128)1 << 88) + 0x13b;
    unsigned __int128 h = ((unsigned __int128)0x6c62272e07bb0142ULL << 64) | 0x62b821756295c58dULL;

    for (const unsigned char *p = data, *end = p + len; p < end; p++)
        h = (h ^ *p) * prime;
    snprintf(buf, HASH_TEXT, "%016llX%016llX", (unsigned long long)(h >> 64), (unsigned long long)h);
    return buf;
}

void answer_with_etag(const struct api_request *request, struct api_response *response, const char *content_type,
                      struct blob *body)
{
    char hash[HASH_TEXT];

    content_hash(body->data, body->len, hash);
    api_response_header(response, "ETag", "\"%s\"", hash);
    if (request->if_none_match && strstr(request->if_none_match, hash)) {
        blob_unref(body);
        response->status = 304;
        response->content_type = content_type;
        return;
    }
    api_response_json(response, 200, body);
    response->content_type = content_type;
}

/* "apis/kubevirt.io/v1" */
static char *path_of(const char *group, const char *version)
{
    return *group ? xasprintf("apis/%s/%s", group, version) : xasprintf("api/%s", version);
}

static void add_to_index(yyjson_mut_doc *d, yyjson_mut_val *paths, const struct catalog_group *g, const char *version)
{
    _cleanup_blob_ struct blob *document = openapi_document(g, version);
    _cleanup_free_ char *path = path_of(g->name, version), *url = NULL;
    yyjson_mut_val *o = yyjson_mut_obj(d);
    char hash[HASH_TEXT];

    url = xasprintf("/openapi/v3/%s?hash=%s", path, content_hash(document->data, document->len, hash));
    yyjson_mut_obj_add_strcpy(d, o, "serverRelativeURL", url);
    yyjson_mut_obj_add(paths, yyjson_mut_strcpy(d, path), o);
}

/* A group-version of extras alone has nothing to describe. */
static bool describes(const struct catalog_group *g, const char *version)
{
    VEC_EACH(&g->kinds, k)
        if (kind_version(*k, version))
            return true;
    return false;
}

static struct blob *make_index(struct rest_server *server)
{
    _cleanup_catalog_ struct catalog_vec catalog;
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    yyjson_mut_val *paths = yyjson_mut_obj_add_obj(d, d->root, "paths");

    catalog_read(server, &catalog);
    VEC_EACH(&catalog, g)
        VEC_EACH(&g->versions, v)
            if (describes(g, *v))
                add_to_index(d, paths, g, *v);
    return json_encode(d->root);
}

static struct blob *index_of(struct openapi *o)
{
    uint64_t generation = kinds_generation(o->server->kinds);
    struct blob *index;

    pthread_mutex_lock(&o->lock);
    if (!o->index || o->generation != generation) {
        blob_unref(o->index);
        o->index = make_index(o->server);
        o->generation = generation;
    }
    index = blob_ref(o->index);
    pthread_mutex_unlock(&o->lock);
    return index;
}

static bool answer_document(struct openapi *o, const char *group, const char *version, const struct http_uri *uri,
                            const struct api_request *request, struct api_response *response)
{
    _cleanup_catalog_ struct catalog_vec catalog;
    const struct catalog_group *g;
    const char *wanted = http_uri_param(uri, "hash");
    struct blob *document;
    char hash[HASH_TEXT];

    catalog_read(o->server, &catalog);
    g = catalog_find(&catalog, group);
    if (!g || !describes(g, version))
        return false;
    document = openapi_document(g, version);
    if (wanted && streq(wanted, content_hash(document->data, document->len, hash)))
        api_response_header(response, "Cache-Control", "public, immutable");
    api_response_header(response, "Vary", "Accept");
    answer_with_etag(request, response, "application/json", document);
    return true;
}

static struct blob *make_v2(struct rest_server *server, bool protobuf)
{
    _cleanup_catalog_ struct catalog_vec catalog;
    _cleanup_mut_doc_ yyjson_mut_doc *d = NULL;

    catalog_read(server, &catalog);
    d = openapi_v2_document(&catalog);
    return protobuf ? openapi_v2_encode(d->root) : json_encode(d->root);
}

/* kubectl asks for protobuf, and old ones do so with every command: that form is kept once it was asked for. */
static struct blob *v2_of(struct openapi *o)
{
    uint64_t generation = kinds_generation(o->server->kinds);
    struct blob *v2;

    pthread_mutex_lock(&o->lock);
    if (!o->v2 || o->v2_generation != generation) {
        blob_unref(o->v2);
        o->v2 = make_v2(o->server, true);
        o->v2_generation = generation;
    }
    v2 = blob_ref(o->v2);
    pthread_mutex_unlock(&o->lock);
    return v2;
}

static void answer_v2(struct openapi *o, const struct api_request *request, struct api_response *response)
{
    bool protobuf = request->accept && strstr(request->accept, "openapi.spec.v2@v1.0+protobuf");

    api_response_header(response, "Vary", "Accept");
    answer_with_etag(request, response, protobuf ? OPENAPI_V2_PROTOBUF : "application/json",
                     protobuf ? v2_of(o) : make_v2(o->server, false));
}

void openapi_handle(struct openapi *o, const struct http_uri *uri, const struct api_request *request,
                    struct api_response *response)
{
    char **s = uri->segments;
    bool v3 = uri->n_segments >= 2 && streq(s[1], "v3"), found = false;

    if (v3 && uri->n_segments == 2) {
        answer_with_etag(request, response, "application/json", index_of(o));
        return;
    }
    if (uri->n_segments == 2 && streq(s[1], "v2")) {
        answer_v2(o, request, response);
        return;
    }
    if (v3 && uri->n_segments == 4 && streq(s[2], "api"))
        found = answer_document(o, "", s[3], uri, request, response);
    else if (v3 && uri->n_segments == 5 && streq(s[2], "apis") && *s[3])
        found = answer_document(o, s[3], s[4], uri, request, response);
    if (!found)
        api_response_text(response, 404, "404 page not found\n");
}
