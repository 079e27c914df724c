/* migrate, evacuate/cancel: a migration on a person's request, and the end of one that a drain asked for. */
#include <errno.h>
#include <string.h>

#include "api/meta.h"
#include "apiserver/local.h"
#include "apiserver/vm_subresources.h"
#include "base/alloc.h"
#include "base/str.h"
#include "migration/evacuation.h"

#define KUBEVIRT "kubevirt.io"

static int create_migration(struct vm_call *c, struct gw_error *err)
{
    const struct kind *kind = vm_kind(c, KUBEVIRT, "VirtualMachineInstanceMigration");
    _cleanup_free_ char *path = local_target(kind, c->target->namespace, NULL, NULL);
    _cleanup_free_ char *target = xasprintf("%s%s", path, vm_query(c));
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();
    _cleanup_error_ struct gw_error fault = GW_ERROR_INIT;
    yyjson_val *selector = json_at(options_of(c), "/addedNodeSelector");

    json_set_str(d, "/apiVersion", "kubevirt.io/v1");
    json_set_str(d, "/kind", "VirtualMachineInstanceMigration");
    json_set_str(d, "/metadata/generateName", "kubevirt-migrate-vm-");
    json_set_str(d, "/spec/vmiName", c->target->name);
    if (selector)
        json_set(d, "/spec/addedNodeSelector", yyjson_val_mut_copy(d, selector));
    _cleanup_blob_ struct blob *body = json_encode(d->root);
    if (local_call(c->server, "POST", target, JSON_BODY, body, NULL, &fault) == 0)
        return 0;
    return vm_internal(err, "%s", gw_error_message(&fault));
}

int vm_migrate(struct vm_call *c, struct gw_error *err)
{
    int r = vm_read(c, err);

    r = r < 0 ? r : vm_read_instance(c, true, err);
    if (r < 0)
        return r;
    if (!streq(json_str_or(vmi_of(c), "/status/phase", ""), "Running"))
        return vm_conflict(c, err, "VM is not running");
    return create_migration(c, err);
}

static int check_drain_taint(struct vm_call *c, const char *name, struct gw_error *err)
{
    const struct kind *nodes = vm_kind(c, "", "Node"), *settings = vm_kind(c, KUBEVIRT, "KubeVirt");
    _cleanup_doc_ yyjson_doc *node = NULL, *kubevirt = NULL;

    if (!*name || rest_read(c->server, nodes, NULL, name, &node, NULL) < 0)
        return 0;
    (void)rest_read(c->server, settings, "kubevirt", "kubevirt", &kubevirt, NULL);
    const char *key = evacuation_taint_key(yyjson_doc_get_root(kubevirt));
    if (!evacuation_is_tainted(yyjson_doc_get_root(node), key))
        return 0;
    return gw_error_set(err, GW_BAD_REQUEST, "Node \"%s\" has NodeDrainTaintKey \"%s:NoSchedule\"", name, key);
}

int vm_cancel_evacuation(struct vm_call *c, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *patch = json_object();
    int r = streq(c->target->resource, "virtualmachines") ? vm_read(c, err) : 0;

    r = r < 0 ? r : vm_read_instance(c, true, err);
    if (r < 0)
        return r;
    const char *mark = json_str_or(vmi_of(c), "/status/evacuationNodeName", "");
    const char *asked = json_str_or(options_of(c), "/evacuationNodeName", "");
    r = check_drain_taint(c, *mark ? mark : json_str_or(vmi_of(c), "/status/nodeName", ""), err);
    if (r < 0)
        return r;
    if (!*mark)
        return 0;
    if (!c->options)
        return gw_error_set(err, GW_BAD_REQUEST, "No body");
    if (!streq(mark, asked))
        return vm_internal(err, "the VMI is to leave node \"%s\", not \"%s\": evacuationNodeName must name the first",
                           mark, asked);
    json_set(patch, "/status/evacuationNodeName", yyjson_mut_null(patch));
    return vm_patch(c, vmi_of(c), NULL, patch, err);
}
