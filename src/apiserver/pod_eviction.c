/* POST pods/NAME/eviction: what kubectl drain does to each pod of a node. A launcher's pod ends only if its VM's
 * eviction strategy lets it. Otherwise the VM is marked to leave the node, which the evacuation controller sees to, and
 * the request is denied with 429 until the pod is one that the guest has left; clients try again until then. Answers
 * and texts are those of KubeVirt's admission webhook, which descheduler and others match on. */
#include <errno.h>
#include <string.h>

#include "api/meta.h"
#include "api/rules/common.h"
#include "apiserver/local.h"
#include "apiserver/pod_eviction.h"
#include "http/uri.h"
#include "migration/evacuation.h"

#define WEBHOOK "virt-launcher-eviction-interceptor.kubevirt.io"
#define TRIGGERED "Eviction triggered evacuation of VMI \"%s/%s\""
#define VMI_RESOURCE "virtualmachineinstance.kubevirt.io"
/* How the descheduler marks its evictions (sigs.k8s.io/descheduler, pull request 1753). */
#define REQUESTED_BY "requested-by"
#define DESCHEDULER "sigs.k8s.io/descheduler"
#define JSON_PATCH "application/json-patch+json"

struct eviction {
    struct rest_server *server;
    const struct rest_target *target;
    const struct kind *pods;
    bool dry_run;
    yyjson_doc *body, *pod, *vmi;
};

static void eviction_done(struct eviction *e)
{
    yyjson_doc_free(e->body);
    yyjson_doc_free(e->pod);
    yyjson_doc_free(e->vmi);
}

static yyjson_val *options_of(const struct eviction *e)
{
    return json_at(yyjson_doc_get_root(e->body), "/deleteOptions");
}

/* --- The request --- */

static int check_body(const struct eviction *e, struct gw_error *err)
{
    yyjson_val *body = yyjson_doc_get_root(e->body), *dry_run = json_at(options_of(e), "/dryRun");
    const char *name = json_str_or(body, "/metadata/name", e->target->name);
    const char *version = json_str_or(body, "/apiVersion", "policy/v1"), *kind = json_str_or(body, "/kind", "Eviction");

    if (!streq(kind, "Eviction") || (!streq(version, "policy/v1") && !streq(version, "policy/v1beta1")))
        return gw_error_set(err, GW_BAD_REQUEST,
                            "the body of an eviction must be an Eviction of policy/v1, not %s of %s", kind, version);
    if (!streq(name, e->target->name))
        return gw_error_set(err, GW_BAD_REQUEST, "name in URL does not match name in Eviction object: \"%s\" != \"%s\"",
                            e->target->name, name);
    if (yyjson_arr_size(dry_run) > 0 && !yyjson_equals_str(yyjson_arr_get_first(dry_run), "All"))
        return gw_error_set(err, GW_BAD_REQUEST, "dryRun: supported values: \"All\"");
    return 0;
}

static int read_request(struct eviction *e, const struct api_request *q, struct gw_error *err)
{
    _cleanup_uri_ struct http_uri uri = {0};
    int r = streq(e->target->verb, "create")
                ? http_uri_parse(q->target, &uri, err)
                : gw_error_set(err, GW_METHOD_NOT_ALLOWED, "an eviction can only be created");

    r = r < 0 ? r : rest_body(e->server, q, &e->body, err);
    r = r < 0 ? r : check_body(e, err);
    e->dry_run = http_uri_param(&uri, "dryRun") != NULL || yyjson_arr_size(json_at(options_of(e), "/dryRun")) > 0;
    return r;
}

/* --- The VM's part --- */

static int deny(struct gw_error *err, const char *text)
{
    webhook_deny(err, GW_TOO_MANY_REQUESTS, WEBHOOK, "%s", text);
    return -EBUSY;
}

static int deny_blocked(yyjson_val *vmi, struct gw_error *err)
{
    yyjson_val *able = condition_find(vmi, "LiveMigratable");
    _cleanup_free_ char *why =
        able ? xasprintf(" (%s: %s)", json_str_or(able, "/reason", ""), json_str_or(able, "/message", "")) : NULL;
    _cleanup_free_ char *text = xasprintf("VMI %s is configured with an eviction strategy but is not live-migratable%s",
                                          meta_name(vmi), why ? why : " (it has not begun to run)");

    return deny(err, text);
}

static yyjson_mut_val *add_operation(yyjson_mut_doc *d, const char *op, const char *path)
{
    yyjson_mut_val *o = yyjson_mut_arr_add_obj(d, d->root);

    yyjson_mut_obj_add_str(d, o, "op", op);
    yyjson_mut_obj_add_str(d, o, "path", path);
    return o;
}

static void add_text(yyjson_mut_doc *d, const char *op, const char *path, const char *value)
{
    yyjson_mut_obj_add_strcpy(d, add_operation(d, op, path), "value", value);
}

/* Remembers a descheduler's request: its migration has a lower priority than a drain's. */
static void add_source(const struct eviction *e, yyjson_val *vmi, yyjson_mut_doc *d)
{
    if (!str_same(meta_annotation(yyjson_doc_get_root(e->body), REQUESTED_BY), DESCHEDULER))
        return;
    if (!json_at(vmi, "/metadata/annotations")) {
        add_text(d, "test", "/metadata/resourceVersion", meta_version(vmi));
        yyjson_mut_obj_add_obj(d, add_operation(d, "add", "/metadata/annotations"), "value");
    }
    add_text(d, "add", "/metadata/annotations/kubevirt.io~1eviction-source", EVICTION_BY_DESCHEDULER);
}

/* It must still be that VMI, on that node. */
static int mark(const struct eviction *e, yyjson_val *vmi, struct gw_error *err)
{
    const struct kind *kind = kinds_find_kind(e->server->kinds, "kubevirt.io", NULL, "VirtualMachineInstance");
    _cleanup_free_ char *path = local_target(kind, e->target->namespace, meta_name(vmi), NULL);
    _cleanup_free_ char *target = xasprintf("%s%s", path, e->dry_run ? "?dryRun=All" : "");
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    _cleanup_error_ struct gw_error fault = GW_ERROR_INIT;
    const char *node = json_str(vmi, "/status/nodeName");

    yyjson_mut_doc_set_root(d, yyjson_mut_arr(d));
    add_text(d, "test", "/metadata/uid", meta_uid(vmi));
    add_text(d, "test", "/status/nodeName", node);
    add_text(d, "add", "/status/evacuationNodeName", node);
    add_source(e, vmi, d);

    _cleanup_blob_ struct blob *body = json_encode(d->root);
    if (local_call(e->server, "PATCH", target, JSON_PATCH, body, NULL, &fault) == 0)
        return 0;
    _cleanup_free_ char *text = xasprintf("kubevirt failed marking the vmi for eviction: %s", gw_error_message(&fault));
    return deny(err, text);
}

static int mark_and_deny(const struct eviction *e, yyjson_val *vmi, struct gw_error *err)
{
    const char *node = json_str_or(yyjson_doc_get_root(e->pod), "/spec/nodeName", "");
    bool marked = evacuation_is_marked(vmi);
    _cleanup_free_ char *text =
        xasprintf(marked ? "Evacuation in progress: " TRIGGERED : TRIGGERED, e->target->namespace, meta_name(vmi));
    int r;

    if (!marked && !streq(node, json_str_or(vmi, "/status/nodeName", "")))
        return deny(err, "Eviction request for target Pod");
    r = marked ? 0 : mark(e, vmi, err);
    return r < 0 ? r : deny(err, text);
}

/* Whether the pod runs, or is to run, a guest that somebody might miss. */
static bool holds_guest(yyjson_val *pod)
{
    return str_same(meta_label(pod, "kubevirt.io"), "virt-launcher") && meta_annotation(pod, "kubevirt.io/domain") &&
           !meta_deleting(pod) && !is_final(pod);
}

static int ask_vm(struct eviction *e, struct gw_error *err)
{
    yyjson_val *pod = yyjson_doc_get_root(e->pod), *vmi;
    const char *name = meta_annotation(pod, "kubevirt.io/domain");
    const struct kind *kind = kinds_find_kind(e->server->kinds, "kubevirt.io", NULL, "VirtualMachineInstance");

    if (!holds_guest(pod) || !kind)
        return 0;
    if (rest_read(e->server, kind, e->target->namespace, name, &e->vmi, NULL) < 0) {
        _cleanup_free_ char *text =
            xasprintf("kubevirt failed getting the vmi: " VMI_RESOURCE " \"%s\" not found", name);
        return deny(err, text);
    }
    vmi = yyjson_doc_get_root(e->vmi);
    if (!meta_owned_by(pod, meta_uid(vmi))) /* a successor's of the same name */
        return 0;
    switch (eviction_verdict(eviction_strategy_of(vmi), condition_true(vmi, "LiveMigratable"))) {
    case EVICTION_MARKS:
        return mark_and_deny(e, vmi, err);
    case EVICTION_BLOCKED:
        return deny_blocked(vmi, err);
    default:
        return 0;
    }
}

/* --- The pod's part --- */

static int delete_pod(const struct eviction *e, struct gw_error *err)
{
    _cleanup_free_ char *target = local_target(e->pods, e->target->namespace, e->target->name, NULL);
    _cleanup_mut_doc_ yyjson_mut_doc *d = options_of(e) ? json_copy(options_of(e)) : json_object();

    json_set_str(d, "/apiVersion", "v1");
    json_set_str(d, "/kind", "DeleteOptions");
    if (!json_mut_str(d, "/preconditions/uid"))
        json_set_str(d, "/preconditions/uid", meta_uid(yyjson_doc_get_root(e->pod)));
    if (e->dry_run && !json_mut_at(d, "/dryRun")) {
        json_set(d, "/dryRun", yyjson_mut_arr(d));
        yyjson_mut_arr_add_str(d, json_mut_at(d, "/dryRun"), "All");
    }
    _cleanup_blob_ struct blob *body = json_encode(d->root);
    return local_call(e->server, "DELETE", target, JSON_BODY, body, NULL, err);
}

int pod_evict(struct rest_server *s, const struct api_request *q, const struct rest_target *t,
              struct api_response *response, struct gw_error *err)
{
    const struct kind *pods = kinds_find_kind(s->kinds, "", NULL, "Pod");
    __attribute__((cleanup(eviction_done))) struct eviction e = {.server = s, .target = t, .pods = pods};
    int r = read_request(&e, q, err);

    r = r < 0 ? r : rest_read(s, pods, t->namespace, t->name, &e.pod, err);
    r = r < 0 ? r : ask_vm(&e, err);
    r = r < 0 ? r : delete_pod(&e, err);
    if (r == 0)
        api_response_json(response, 201, api_status_success(NULL));
    return r;
}
