/* Verbs that reach into the guest or its machine. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "cli/virtctl/virtctl.h"

#define VMIS "virtualmachineinstances"

/* The form with "vm" asks for the VM first, so that a wrong name is told as one. */
static int find_vm(struct virtctl *v, const char *name, yyjson_doc **ret, struct gw_error *err)
{
    _cleanup_free_ char *path = api_path(&API_VIRTUALMACHINES, v->ns, name, NULL, NULL);
    int r = cli_api_get(&v->api, path, ret, err);

    return r < 0 ? virtctl_fail(err, r, "Error getting VirtualMachine %s: ", name) : 0;
}

static bool is_halted(yyjson_val *vm)
{
    const char *strategy = json_str(vm, "/spec/runStrategy");

    return strategy ? streq(strategy, "Halted") : !json_bool(vm, "/spec/running", false);
}

static int hold(struct virtctl *v, const char *doing, struct gw_error *err)
{
    int kind = virtctl_kind(v->args[0], err);
    const char *name = v->args[1];
    _cleanup_mut_doc_ yyjson_mut_doc *body = NULL;
    _cleanup_doc_ yyjson_doc *vm = NULL;
    int r = kind == 0 ? find_vm(v, name, &vm, err) : kind < 0 ? kind : 0;

    if (r < 0)
        return r;
    body = virtctl_options(v);
    r = virtctl_sub(v, "PUT", VMIS, name, v->verb, body, NULL, err);
    if (r < 0 && err->reason == GW_NOT_FOUND && vm && is_halted(yyjson_doc_get_root(vm)))
        return gw_error_set(err, GW_NOT_FOUND,
                            "Error %s VirtualMachineInstance %s. VirtualMachine %s is not set to run", doing, name,
                            name);
    if (r < 0)
        return virtctl_fail(err, r, "Error %s VirtualMachineInstance %s: ", doing, name);
    printf("VMI %s was scheduled to %s\n", name, v->verb);
    return 0;
}

int virtctl_pause(struct virtctl *v, struct gw_error *err)
{
    return hold(v, "pausing", err);
}

int virtctl_unpause(struct virtctl *v, struct gw_error *err)
{
    return hold(v, "unpausing", err);
}

static int push(struct virtctl *v, const char *sub, const char *doing, struct gw_error *err)
{
    int r = virtctl_sub(v, "PUT", VMIS, v->args[0], sub, NULL, NULL, err);

    if (r < 0)
        return virtctl_fail(err, r, "Error %s VirtualMachineInstance %s: ", doing, v->args[0]);
    printf("VMI %s was scheduled to %s\n", v->args[0], v->verb);
    return 0;
}

int virtctl_soft_reboot(struct virtctl *v, struct gw_error *err)
{
    return push(v, "softreboot", "soft rebooting", err);
}

int virtctl_reset(struct virtctl *v, struct gw_error *err)
{
    return push(v, "reset", "reseting", err);
}

int virtctl_guest_info(struct virtctl *v, struct gw_error *err)
{
    static const struct {
        const char *verb, *sub, *doing;
    } rows[] = {
        {"guestosinfo", "guestosinfo", "getting guestosinfo of"},
        {"userlist", "userlist", "listing users of"},
        {"fslist", "filesystemlist", "listing filesystems of"},
    };
    _cleanup_doc_ yyjson_doc *doc = NULL;
    size_t i = 0;

    while (!streq(rows[i].verb, v->verb))
        i++;
    int r = virtctl_sub(v, "GET", VMIS, v->args[0], rows[i].sub, NULL, &doc, err);
    if (r < 0)
        return virtctl_fail(err, r, "Error %s VirtualMachineInstance %s, ", rows[i].doing, v->args[0]);
    _cleanup_free_ char *text = doc ? yyjson_write(doc, YYJSON_WRITE_PRETTY_TWO_SPACES, NULL) : NULL;
    printf("%s\n", text ? text : "null");
    return 0;
}
