#include "sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "api/crd.h"
#include "api/initial.h"
#include "api/meta.h"
#include "apiserver/authz.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/random.h"
#include "network.h"

struct sim {
    struct rest_server rest;
    struct virtual *v;
    struct env *env; /* the server's and the network's */
    struct network *network;
};

/* data is the server, the first member of the simulation. */
static int64_t server_now(void *data)
{
    return env_wall_ms(((struct sim *)data)->env);
}

/* The rules that hold the controllers hold them here, too; the simulated agents have no certificates to show. */
static int authorize(void *data, const struct api_user *user, const struct rest_target *target, yyjson_val *old,
                     yyjson_val *object, struct gw_error *err)
{
    return api_user_in_group(user, GROUP_CONTROLLERS) ? authz_check(data, user, target, old, object, err) : 0;
}

static void virtual_bytes(void *userdata, void *buf, size_t len)
{
    for (unsigned char *p = buf; len; len--)
        *p++ = (unsigned char)(virtual_random(userdata) >> 32);
}

static void make_initial_objects(struct sim *s)
{
    _cleanup_yaml_docs_ struct yaml_docs docs = {0};

    assert_int_equal(initial_objects(&docs, NULL), 0);
    for (size_t i = 0; i < docs.len; i++) {
        yyjson_val *obj = yyjson_doc_get_root(docs.items[i]);
        const struct kind *kind =
            kinds_find_object(s->rest.kinds, json_str(obj, "/apiVersion"), json_str(obj, "/kind"));
        const char *ns = meta_namespace(obj);
        _cleanup_blob_ struct blob *body = json_encode_val(obj);
        _cleanup_free_ char *target =
            xasprintf("/%s/%s%s%s/%s", *kind->group ? "apis" : "api", json_str(obj, "/apiVersion"),
                      *ns ? "/namespaces/" : "", ns, kind->plural);
        sim_post(s, target, body->data);
    }
}

struct sim *sim_new(const struct sim_config *cfg)
{
    struct sim *s = xnew(struct sim);

    log_init("sim", LOG_ERROR_); /* what is lost and refused here is meant to be */
    s->v = virtual_new(cfg->seed);
    s->env = virtual_env(s->v, NULL);
    random_replace(virtual_bytes, s->v);
    assert_int_equal(store_open_sqlite(":memory:", &s->rest.store, NULL), 0);
    assert_int_equal(kinds_new(&s->rest.kinds, NULL), 0);
    assert_int_equal(watch_hub_new(s->rest.store, s->rest.kinds, &s->rest.hub, NULL), 0);
    s->rest.now = server_now;
    s->rest.authorize = authorize;
    s->rest.data = &s->rest;
    s->network = network_new(&s->rest, s->env, cfg);
    make_initial_objects(s);
    return s;
}

struct sim *sim_free(struct sim *s)
{
    if (!s)
        return NULL;
    network_free(s->network);
    watch_hub_free(s->rest.hub);
    store_close(s->rest.store);
    kinds_free(s->rest.kinds);
    virtual_env_free(s->env);
    virtual_free(s->v);
    random_replace(NULL, NULL);
    free(s);
    return NULL;
}

void sim_configure(struct sim *s, const struct sim_config *cfg)
{
    network_configure(s->network, cfg);
}

struct virtual *sim_time(struct sim *s)
{
    return s->v;
}

void sim_run(struct sim *s, int64_t ms)
{
    virtual_run(s->v, ms);
}

bool sim_run_until(struct sim *s, int64_t ms, bool (*test)(void *userdata), void *userdata)
{
    return virtual_run_until(s->v, ms, test, userdata);
}

struct env *sim_process(struct sim *s, const char *name, const char *group)
{
    return virtual_env(s->v, network_client(s->network, name, group));
}

struct env *sim_process_end(struct env *env)
{
    if (env)
        api_client_free(env->client);
    return virtual_env_free(env);
}

void sim_partition(struct env *env, bool cut)
{
    network_partition(env->client, cut);
}

void sim_restart_server(struct sim *s, int64_t ms)
{
    network_server_down(s->network, ms);
}

/* --- the test's own requests --- */

static const char *content_type(const char *method)
{
    return streq(method, "PATCH") ? "application/merge-patch+json" : "application/json";
}

static int request(struct sim *s, const char *method, const char *target, const char *body, struct blob **ret)
{
    static const char *const groups[] = {"system:masters", "system:authenticated", "system:godwit:controllers"};
    struct api_request q = {.method = method, .target = target, .accept = "application/json",
                            .content_type = content_type(method), .body = body ? body : "",
                            .body_len = body ? strlen(body) : 0, .user = {.name = "admin", .groups = groups, .n_groups = ARRAY_SIZE(groups)}};
    _cleanup_response_ struct api_response r = {0};

    network_serve(s->network, &q, &r);
    *ret = api_parts_join(&r.body);
    return r.status;
}

yyjson_doc *sim_do(struct sim *s, int expect, const char *method, const char *target, const char *body)
{
    _cleanup_blob_ struct blob *answer = NULL;
    yyjson_doc *doc = NULL;
    int code = request(s, method, target, body, &answer);

    if (expect && code != expect)
        fail_msg("%s %s: %d instead of %d: %s", method, target, code, expect, answer->data);
    (void)json_parse(answer->data, answer->len, &doc, NULL);
    return doc;
}

yyjson_doc *sim_get(struct sim *s, const char *target)
{
    _cleanup_blob_ struct blob *answer = NULL;
    yyjson_doc *doc = NULL;

    if (request(s, "GET", target, NULL, &answer) == 200)
        assert_int_equal(json_parse(answer->data, answer->len, &doc, NULL), 0);
    return doc;
}

const char *sim_str(struct sim *s, const char *target, const char *path, char *buf, size_t size)
{
    _cleanup_doc_ yyjson_doc *doc = sim_get(s, target);

    snprintf(buf, size, "%s", doc ? json_str_or(yyjson_doc_get_root(doc), path, "") : "");
    return buf;
}

size_t sim_count(struct sim *s, const char *target, const char *path, const char *want)
{
    _cleanup_doc_ yyjson_doc *doc = sim_get(s, target);
    yyjson_val *item;
    size_t n = 0;

    assert_non_null(doc);
    json_each(json_at(yyjson_doc_get_root(doc), "/items"), item)
        n += !path || streq(json_str_or(item, path, ""), want);
    return n;
}

#define DEFINITIONS "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

void sim_define(struct sim *s, const char *definition)
{
    _cleanup_doc_ yyjson_doc *crd = sim_do(s, 201, "POST", DEFINITIONS, definition);
    _cleanup_free_ char *status =
        xasprintf(DEFINITIONS "/%s/status", json_str(yyjson_doc_get_root(crd), "/metadata/name"));

    assert_int_equal(crd_register(s->rest.kinds, yyjson_doc_get_root(crd), NULL), 0);
    sim_patch(s, status, "{\"status\":{\"conditions\":[{\"type\":\"Established\",\"status\":\"True\"}]}}");
}

void sim_undefine(struct sim *s, const char *name)
{
    _cleanup_free_ char *target = xasprintf(DEFINITIONS "/%s", name);
    _cleanup_doc_ yyjson_doc *crd = sim_get(s, target);
    yyjson_val *root = yyjson_doc_get_root(crd);
    _cleanup_free_ char *objects =
        xasprintf("/apis/%s/%s/namespaces/default/%s", json_str(root, "/spec/group"),
                  json_str(root, "/spec/versions/0/name"), json_str(root, "/spec/names/plural"));

    sim_delete(s, objects);
    sim_delete(s, target);
    crd_unregister(s->rest.kinds, root);
}

struct sim_counts sim_counts(const struct sim *s)
{
    return network_counts(s->network);
}
