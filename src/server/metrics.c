#include "server/metrics.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#include "api/meta.h"
#include "api/object.h"
#include "api/selector.h"
#include "apiserver/authz.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "base/map.h"

#define GROUP "metrics.k8s.io"
#define VERSION "v1beta1"
#define CONTAINER "compute"
#define FRESH_MS 60000
#define MAX_PODS 10000

struct report {
    yyjson_doc *doc; /* as agent/node/usage.c makes it */
    int64_t at_ms;
};

struct metrics {
    pthread_mutex_t lock;
    struct map *nodes; /* name -> struct report */
};

struct usage {
    int64_t cpu_nano, memory, window_ms, at_ms;
};

static void report_free(void *r)
{
    yyjson_doc_free(((struct report *)r)->doc);
    free(r);
}

struct metrics *metrics_new(void)
{
    struct metrics *m = xnew(struct metrics);

    pthread_mutex_init(&m->lock, NULL);
    m->nodes = map_new(report_free);
    return m;
}

struct metrics *metrics_free(struct metrics *m)
{
    if (!m)
        return NULL;
    map_free(m->nodes);
    pthread_mutex_destroy(&m->lock);
    free(m);
    return NULL;
}

/* --- What agents say --- */

static bool is_usage(yyjson_val *u)
{
    return json_int(u, "/cpuNano", -1) >= 0 && json_int(u, "/memory", -1) >= 0 && json_int(u, "/windowMs", -1) > 0;
}

static int check_report(yyjson_val *root, struct gw_error *err)
{
    yyjson_val *key, *value, *pods = json_at(root, "/pods");
    bool fits = is_usage(json_at(root, "/node")) && yyjson_obj_size(pods) <= MAX_PODS;

    json_each_member(pods, key, value)
        fits = fits && is_usage(value);
    return fits ? 0 : gw_error_set(err, GW_BAD_REQUEST, "want cpuNano, memory and windowMs of node and of pods by uid");
}

static int take_report(struct rest_server *s, const struct api_request *q, const struct rest_target *t,
                       struct api_response *response, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;
    int r;

    if (!streq(t->verb, "update"))
        return gw_error_set(err, GW_METHOD_NOT_ALLOWED,
                            "the server does not allow this method on the requested resource");
    if (!streq(authz_node_of(&q->user), t->name))
        return rest_forbid(&q->user, t, "only the agent of a node says how much the node uses", err);
    r = json_parse(q->body ? q->body : "", q->body_len, &doc, err);
    r = r < 0 ? r : check_report(yyjson_doc_get_root(doc), err);
    if (r < 0)
        return r;
    struct report *report = xnew(struct report);
    *report = (struct report){TAKE_PTR(doc), s->now(s->data)};
    pthread_mutex_lock(&s->metrics->lock);
    map_put(s->metrics->nodes, t->name, report);
    pthread_mutex_unlock(&s->metrics->lock);
    api_response_json(response, 200, api_status_success(NULL));
    return 0;
}

/* --- What is known of an object --- */

static bool find(struct rest_server *s, const char *node, const char *pod_uid, struct usage *ret)
{
    int64_t now = s->now(s->data);
    yyjson_val *u = NULL;
    struct report *r;

    pthread_mutex_lock(&s->metrics->lock);
    r = map_get(s->metrics->nodes, node);
    if (r && now - r->at_ms < FRESH_MS)
        u = pod_uid ? yyjson_obj_get(json_at(yyjson_doc_get_root(r->doc), "/pods"), pod_uid)
                    : json_at(yyjson_doc_get_root(r->doc), "/node");
    if (u)
        *ret = (struct usage){json_int(u, "/cpuNano", 0), json_int(u, "/memory", 0), json_int(u, "/windowMs", 0),
                              r->at_ms};
    pthread_mutex_unlock(&s->metrics->lock);
    return u != NULL;
}

static void set_text(yyjson_mut_doc *d, yyjson_mut_val *to, const char *key, int64_t n, const char *unit)
{
    _cleanup_free_ char *text = xasprintf("%" PRId64 "%s", n, unit);

    yyjson_mut_obj_add_strcpy(d, to, key, text);
}

static yyjson_mut_val *usage_of(yyjson_mut_doc *d, const struct usage *u)
{
    yyjson_mut_val *o = yyjson_mut_obj(d);

    set_text(d, o, "cpu", u->cpu_nano, "n");
    set_text(d, o, "memory", u->memory / 1024, "Ki");
    return o;
}

static yyjson_mut_val *metadata_of(yyjson_mut_doc *d, yyjson_val *object, const char *time)
{
    yyjson_mut_val *o = yyjson_mut_obj(d);
    yyjson_val *labels = json_at(object, "/metadata/labels");

    yyjson_mut_obj_add_strcpy(d, o, "name", meta_name(object));
    if (*meta_namespace(object))
        yyjson_mut_obj_add_strcpy(d, o, "namespace", meta_namespace(object));
    yyjson_mut_obj_add_strcpy(d, o, "creationTimestamp", time);
    if (labels)
        yyjson_mut_obj_add_val(d, o, "labels", yyjson_val_mut_copy(d, labels));
    return o;
}

static void add_container(yyjson_mut_doc *d, yyjson_mut_val *o, const struct usage *u)
{
    yyjson_mut_val *c = yyjson_mut_arr_add_obj(d, yyjson_mut_obj_add_arr(d, o, "containers"));

    yyjson_mut_obj_add_str(d, c, "name", CONTAINER);
    yyjson_mut_obj_add_val(d, c, "usage", usage_of(d, u));
}

/* Makes o the NodeMetrics or PodMetrics of a Node or Pod; false when there are no figures. */
static bool fill(struct rest_server *s, yyjson_mut_doc *d, yyjson_mut_val *o, yyjson_val *object, bool pod)
{
    const char *node = pod ? json_str_or(object, "/spec/nodeName", "") : meta_name(object);
    char time[CLOCK_TEXT_MAX];
    struct usage u;

    if (!find(s, node, pod ? meta_uid(object) : NULL, &u))
        return false;
    clock_format(u.at_ms, time);
    yyjson_mut_obj_add_val(d, o, "metadata", metadata_of(d, object, time));
    yyjson_mut_obj_add_strcpy(d, o, "timestamp", time);
    set_text(d, o, "window", u.window_ms, "ms");
    if (pod)
        add_container(d, o, &u);
    else
        yyjson_mut_obj_add_val(d, o, "usage", usage_of(d, &u));
    return true;
}

/* --- Requests --- */

static yyjson_mut_doc *typed(const char *kind, const char *suffix)
{
    yyjson_mut_doc *d = json_object();
    _cleanup_free_ char *name = xasprintf("%s%s", kind, suffix);

    json_set_str(d, "/kind", name);
    json_set_str(d, "/apiVersion", GROUP "/" VERSION);
    return d;
}

static void answer(struct api_response *response, yyjson_mut_doc *d)
{
    api_response_json(response, 200, json_encode(yyjson_mut_doc_get_root(d)));
}

static int get_one(struct rest_server *s, const struct rest_target *t, const struct kind *kind, bool pod,
                   struct api_response *response, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = typed(pod ? "PodMetrics" : "NodeMetrics", "");
    _cleanup_doc_ yyjson_doc *doc = NULL;

    if (rest_read(s, kind, t->namespace, t->name, &doc, NULL) < 0 ||
        !fill(s, d, yyjson_mut_doc_get_root(d), yyjson_doc_get_root(doc), pod))
        return gw_error_set(err, GW_NOT_FOUND, "%s." GROUP " \"%s%s%s\" not found", pod ? "podmetrics" : "nodemetrics",
                            pod ? t->namespace : "", pod ? "/" : "", t->name);
    answer(response, d);
    return 0;
}

static int list_all(struct rest_server *s, const struct rest_target *t, const struct kind *kind, bool pod,
                    struct api_response *response, struct gw_error *err)
{
    _cleanup_free_ char *prefix =
        xasprintf("%s%s%s", kind->prefix, t->namespace ? t->namespace : "", t->namespace ? "/" : "");
    _cleanup_mut_doc_ yyjson_mut_doc *d = typed(pod ? "PodMetrics" : "NodeMetrics", "List");
    _cleanup_field_selector_ struct field_selector *fields = NULL;
    _cleanup_selector_ struct selector *labels = NULL;
    _cleanup_store_list_ struct store_list list = {0};
    yyjson_mut_val *items = yyjson_mut_arr(d), *item = yyjson_mut_obj(d);
    int r = selector_parse(t->label_selector, &labels, err);

    r = r < 0 ? r : field_selector_parse(t->field_selector, NULL, &fields, err);
    r = r < 0 ? r : store_list(s->store, &(struct store_list_options){.prefix = prefix}, &list, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < list.len; i++) {
        const struct store_item *stored = &list.items[i];
        _cleanup_doc_ yyjson_doc *doc = NULL;
        yyjson_val *object;

        if (object_load("v1", kind->kind, stored->revision, stored->value->data, stored->value->len, &doc, NULL) < 0)
            continue;
        object = yyjson_doc_get_root(doc);
        if (selector_matches(labels, json_at(object, "/metadata/labels")) && field_selector_matches(fields, object) &&
            fill(s, d, item, object, pod)) {
            yyjson_mut_arr_append(items, item);
            item = yyjson_mut_obj(d);
        }
    }
    json_set(d, "/metadata", yyjson_mut_obj(d));
    json_set(d, "/items", items);
    answer(response, d);
    return 0;
}

static int handle(struct rest_server *s, const struct api_request *q, const struct rest_target *t,
                  struct api_response *response, struct gw_error *err)
{
    bool pod = streq(t->resource, "pods");
    const struct kind *kind = kinds_find(s->kinds, "", NULL, t->resource);

    if (streq(t->verb, "get"))
        return get_one(s, t, kind, pod, response, err);
    if (streq(t->verb, "list"))
        return list_all(s, t, kind, pod, response, err);
    return gw_error_set(err, GW_METHOD_NOT_ALLOWED, "the server does not allow this method on the requested resource");
}

const struct rest_extra metrics_extras[] = {
    {.group = GROUP, .resource = "nodes", .verbs = "get list", .version = VERSION, .handle = handle},
    {.group = GROUP, .resource = "pods", .verbs = "get list", .version = VERSION, .namespaced = true, .handle = handle},
    {.group = GROUP, .resource = "nodes", .subresource = "status", .version = VERSION, .handle = take_report},
    {0},
};
