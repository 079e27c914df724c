/* GET pods/NAME/log: what the launcher and its QEMU said, from the node that has the pod. */
#include <errno.h>
#include <string.h>

#include "api/meta.h"
#include "base/alloc.h"
#include "base/str.h"
#include "http/uri.h"
#include "server/guest.h"

#define CONTAINER "compute"

static int check(yyjson_val *pod, const char *name, const struct http_uri *uri, struct gw_error *err)
{
    const char *container = http_uri_param(uri, "container");

    if (!json_key_str(pod, "/metadata/labels", "kubevirt.io/created-by"))
        return gw_error_set(err, GW_BAD_REQUEST,
                            "pod %s is no launcher of a virtual machine: no other pods are run here, so it has no log",
                            name);
    if (container && *container && !streq(container, CONTAINER))
        return gw_error_set(err, GW_BAD_REQUEST, "container %s is not valid for pod %s", container, name);
    if (http_uri_flag(uri, "previous"))
        return gw_error_set(err, GW_BAD_REQUEST,
                            "previous terminated container \"" CONTAINER "\" in pod \"%s\" not found", name);
    if (!*json_str_or(pod, "/spec/nodeName", ""))
        return gw_error_set(err, GW_BAD_REQUEST,
                            "container \"" CONTAINER "\" in pod \"%s\" is waiting to start: it is not scheduled yet",
                            name);
    return 0;
}

/* What the agent understands of the query (agent/guest/lines.h); it checks the values. */
static char *agent_path(yyjson_val *pod, const struct http_uri *uri)
{
    static const char *const options[] = {"follow",    "sinceSeconds", "sinceTime",
                                          "tailLines", "timestamps",   "limitBytes"};
    struct str path = {0};
    char mark = '?';

    str_printf(&path, "/pods/%s/log", meta_uid(pod));
    for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
        const char *value = http_uri_param(uri, options[i]);

        if (!value)
            continue;
        str_printf(&path, "%c%s=", mark, options[i]);
        for (const char *c = value; *c; c++)
            str_printf(&path, "%%%02X", (unsigned char)*c);
        mark = '&';
    }
    return str_take(&path);
}

static int handle(struct rest_server *s, const struct api_request *q, const struct rest_target *t,
                  struct api_response *response, struct gw_error *err)
{
    _cleanup_uri_ struct http_uri uri = {0};
    _cleanup_doc_ yyjson_doc *doc = NULL, *node = NULL;
    _cleanup_free_ char *path = NULL;
    _cleanup_answer_ struct agent_answer answer = {0};
    int r = streq(t->verb, "get") ? http_uri_parse(q->target, &uri, err)
                                  : gw_error_set(err, GW_METHOD_NOT_ALLOWED,
                                                 "the server does not allow this method on the requested resource");

    r = r < 0 ? r : guest_read(s, "", "pods", t->namespace, t->name, &doc, err);
    r = r < 0 ? r : check(yyjson_doc_get_root(doc), t->name, &uri, err);
    if (r < 0)
        return r;
    if (!s->agents)
        return gw_error_set(err, GW_SERVICE_UNAVAILABLE, "this server reaches no agents");

    const char *node_name = json_str(yyjson_doc_get_root(doc), "/spec/nodeName");

    r = guest_read(s, "", "nodes", NULL, node_name, &node, err);
    path = agent_path(yyjson_doc_get_root(doc), &uri);
    r = r < 0 ? r : agents_ask(s->agents, yyjson_doc_get_root(node), "GET", path, true, &answer, err);
    if (r < 0)
        return r;
    if (answer.status != 101)
        return guest_refused(&answer, err);
    log_feed_offer(s->agents, TAKE_PTR(answer.link), response);
    return 0;
}

const struct rest_extra pod_log_extras[] = {
    {.group = "", .resource = "pods", .subresource = "log", .kind = "Pod", .verbs = "get", .handle = handle},
    {0},
};
