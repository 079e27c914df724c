/* POST pods/NAME/binding: how a scheduler puts a pod on a node. One write sets spec.nodeName, which nothing else can,
 * and the condition that tells of it (Kubernetes: registry/core/pod/storage, BindingREST). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/meta.h"
#include "api/object.h"
#include "apiserver/pod_eviction.h"
#include "apiserver/rest_call.h"

static int parse_binding(struct rest_server *s, const struct api_request *q, const struct rest_target *t,
                         yyjson_doc **ret, struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;
    int r = rest_body(s, q, &doc, err);

    if (r < 0)
        return r;

    yyjson_val *binding = yyjson_doc_get_root(doc);

    if (!streq(json_str_or(binding, "/metadata/name", t->name), t->name))
        return gw_error_set(err, GW_BAD_REQUEST, "the name of the binding (%s) does not match the pod on the URL (%s)",
                            json_str(binding, "/metadata/name"), t->name);
    if (!*json_str_or(binding, "/target/name", "")) {
        gw_error_add_cause(err, CAUSE_REQUIRED, "target.name", "Required value: the node to put the pod on");
        return gw_error_set(err, GW_INVALID,
                            "Binding \"%s\" is invalid: target.name: Required value: the node to put the pod on",
                            t->name);
    }
    *ret = TAKE_PTR(doc);
    return 0;
}

static int conflict(const char *name, struct gw_error *err, const char *why)
{
    gw_error_set(err, GW_CONFLICT, "Operation cannot be fulfilled on pods/binding \"%s\": %s", name, why);
    return -ECANCELED;
}

static int check_pod(yyjson_val *pod, const char *name, yyjson_val *binding, struct gw_error *err)
{
    const char *node = json_str(pod, "/spec/nodeName"), *uid = json_str_or(binding, "/metadata/uid", "");

    if (*uid && !streq(uid, meta_uid(pod)))
        return conflict(name, err, "the pod is another one by now");
    if (meta_deleting(pod))
        return conflict(name, err, "the pod is being deleted, cannot be assigned to a host");
    if (node && *node) {
        _cleanup_free_ char *why = xasprintf("the pod is already assigned to node \"%s\"", node);

        return conflict(name, err, why);
    }
    return 0;
}

/* -ESTALE: the pod changed meanwhile. */
static int bind_once(struct rest_server *s, const struct rest_target *t, yyjson_val *binding, bool dry_run,
                     struct gw_error *err)
{
    _cleanup_free_ char *key = kind_key(t->kind, t->namespace, t->name);
    _cleanup_doc_ yyjson_doc *doc = NULL;
    int r = rest_read(s, t->kind, t->namespace, t->name, &doc, err);

    if (r == 0)
        r = check_pod(yyjson_doc_get_root(doc), t->name, binding, err);
    if (r < 0 || dry_run)
        return r;

    _cleanup_mut_doc_ yyjson_mut_doc *d = json_copy(yyjson_doc_get_root(doc));
    int64_t revision = atoll(meta_version(yyjson_doc_get_root(doc)));

    json_set_str(d, "/spec/nodeName", json_str(binding, "/target/name"));
    condition_set(d, "PodScheduled", "True", NULL, NULL, s->now(s->data));

    _cleanup_blob_ struct blob *stored = object_store(d);

    return store_put(s->store, key, stored, revision, NULL, err);
}

static int bind_pod(struct rest_server *s, const struct api_request *q, const struct rest_target *t,
                    struct api_response *response, struct gw_error *err)
{
    _cleanup_uri_ struct http_uri uri = {0};
    _cleanup_doc_ yyjson_doc *doc = NULL;
    int r = streq(t->verb, "create") ? http_uri_parse(q->target, &uri, err)
                                     : gw_error_set(err, GW_METHOD_NOT_ALLOWED, "a binding can only be created");

    if (r == 0)
        r = parse_binding(s, q, t, &doc, err);
    if (r < 0)
        return r;
    r = -ESTALE;
    for (int attempt = 0; r == -ESTALE && attempt < REST_ATTEMPTS; attempt++) {
        _cleanup_error_ struct gw_error fault = GW_ERROR_INIT;

        r = bind_once(s, t, yyjson_doc_get_root(doc), http_uri_param(&uri, "dryRun") != NULL, &fault);
        if (r < 0)
            gw_error_move(err, &fault);
    }
    if (r == 0)
        api_response_json(response, 201, api_status_success(NULL));
    return r;
}

#define NO_CONTAINER "it holds a virtual machine and no container: "
#define REFUSED(subresource_, kind_, verbs_, instead) \
    { \
        .group = "", .resource = "pods", .subresource = subresource_, .kind = kind_, .verbs = verbs_, \
        .refused = NO_CONTAINER instead \
    }
#define BY_CONSOLE "log in to the guest by virtctl console or virtctl ssh"

const struct rest_extra pod_extras[] = {
    REFUSED("attach", "PodAttachOptions", "create get", "use virtctl console to reach the guest's serial console"),
    REFUSED("ephemeralcontainers", "Pod", "get patch update", BY_CONSOLE),
    REFUSED("exec", "PodExecOptions", "create get", BY_CONSOLE),
    REFUSED("portforward", "PodPortForwardOptions", "create get", "use virtctl port-forward"),
    {.group = "",
     .resource = "pods",
     .subresource = "proxy",
     .kind = "PodProxyOptions",
     .verbs = "create delete get patch update",
     .takes_below = true,
     .refused = NO_CONTAINER "use virtctl port-forward"},
    {.group = "",
     .resource = "pods",
     .subresource = "binding",
     .kind = "Binding",
     .verbs = "create",
     .handle = bind_pod},
    {.group = "",
     .resource = "pods",
     .subresource = "eviction",
     .kind_group = "policy",
     .kind_version = "v1",
     .kind = "Eviction",
     .verbs = "create",
     .handle = pod_evict},
    /* kubectl before 1.22 drains by deleting pods, and so stops VMs, unless there is a group of this name. */
    {.group = "policy",
     .version = "v1",
     .resource = "pods",
     .subresource = "eviction",
     .namespaced = true,
     .kind = "Eviction",
     .verbs = "create",
     .handle = pod_evict},
    {0},
};
