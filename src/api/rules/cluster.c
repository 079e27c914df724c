/* Namespace, Node, Event, Lease. */
#include <string.h>

#include "api/meta.h"
#include "api/names.h"
#include "api/rules/common.h"
#include "api/rules/kinds.h"
#include "base/map.h"

static void namespace_defaults(struct rule_ctx *ctx, yyjson_mut_doc *d, yyjson_val *old)
{
    const char *name = json_mut_str(d, "/metadata/name");

    if (name && *name)
        meta_set_label(d, "kubernetes.io/metadata.name", name);
    if (old)
        return;
    json_set_str(d, "/status/phase", "Active");
    /* Taken off by the namespace controller when nothing is left inside. */
    if (!json_mut_at(d, "/spec/finalizers")) {
        json_set(d, "/spec/finalizers", yyjson_mut_arr(d));
        yyjson_mut_arr_add_str(d, json_mut_at(d, "/spec/finalizers"), "kubernetes");
    }
}

static int keep_namespace(struct rule_ctx *ctx, yyjson_val *object, struct gw_error *err)
{
    static const char *const kept[] = {"default", "kube-system", "kube-node-lease", "kubevirt", "openshift-cnv"};
    const char *name = meta_name(object);

    for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
        if (streq(name, kept[i]))
            return gw_error_set(err, GW_FORBIDDEN, "namespaces \"%s\" is forbidden: this namespace may not be deleted",
                                name);
    return 0;
}

static void check_taint(struct where *w, size_t i, yyjson_val *taint, struct map *seen)
{
    const char *key = json_str_or(taint, "/key", ""), *value = json_str_or(taint, "/value", "");
    const char *key_fault = qualified_name_fault(key), *value_fault = label_value_fault(value);
    _cleanup_free_ char *key_text = xasprintf("\"%s\"", key), *value_text = xasprintf("\"%s\"", value);
    _cleanup_free_ char *identity = xasprintf("%s:%s", key, json_str_or(taint, "/effect", ""));

    if (key_fault)
        field_invalid(w->err, at(w, "taints[%zu].key", i), key_text, "%s", key_fault);
    if (value_fault)
        field_invalid(w->err, at(w, "taints[%zu].value", i), value_text, "%s", value_fault);
    if (map_has(seen, identity))
        field_duplicate(w->err, at(w, "taints[%zu]", i), key_text);
    map_put(seen, identity, seen);
}

static void validate_node(struct rule_ctx *ctx, yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    struct where w = {.base = "spec", .err = err};
    _cleanup_(map_freep) struct map *seen = map_new(NULL);
    const char *before = json_str(old, "/spec/podCIDR");
    yyjson_val *taint;
    size_t i;

    json_each_at(json_at(object, "/spec/taints"), i, taint)
        check_taint(&w, i, taint, seen);
    if (before && *before && !str_same(before, json_str(object, "/spec/podCIDR")))
        field_forbidden(err, at(&w, "podCIDR"), "may not be changed once it is set: VMs keep addresses of this range");
}

static void validate_event(struct rule_ctx *ctx, yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    const char *namespace = json_str_or(object, "/involvedObject/namespace", "");
    _cleanup_free_ char *text = xasprintf("\"%s\"", namespace);

    if (*namespace ? !streq(namespace, ctx->namespace) : !streq(ctx->namespace, "default"))
        field_invalid(err, "involvedObject.namespace", text, "does not match event.namespace");
}

static void validate_lease(struct rule_ctx *ctx, yyjson_val *object, yyjson_val *old, struct gw_error *err)
{
    yyjson_val *seconds = json_at(object, "/spec/leaseDurationSeconds");
    _cleanup_free_ char *text = field_quote(seconds);

    if (seconds && yyjson_get_sint(seconds) <= 0)
        field_invalid(err, "spec.leaseDurationSeconds", text, "must be greater than 0");
}

const struct rules namespace_rules = {
    .group = "", .kind = "Namespace", .set_defaults = namespace_defaults, .before_delete = keep_namespace};
const struct rules node_rules = {.group = "", .kind = "Node", .validate = validate_node};
const struct rules event_rules = {.group = "", .kind = "Event", .validate = validate_event};
const struct rules lease_rules = {.group = "coordination.k8s.io", .kind = "Lease", .validate = validate_lease};
