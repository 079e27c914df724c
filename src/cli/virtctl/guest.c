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
    int kind = virtctl_kind(v->args[0]);
    const char *name = v->args[1];
    _cleanup_mut_doc_ yyjson_mut_doc *body = NULL;
    _cleanup_doc_ yyjson_doc *vm = NULL;
    int r;

    if (kind < 0)
        return gw_error_set(err, GW_BAD_REQUEST, "unsupported resource type \"%s\"", v->args[0]);
    r = kind == 0 ? find_vm(v, name, &vm, err) : 0;
    if (r < 0)
        return r;
    body = virtctl_options(v);
    r = virtctl_sub(v, "PUT", VMIS, name, v->verb->name, body, NULL, err);
    if (r < 0 && err->reason == GW_NOT_FOUND && vm && is_halted(yyjson_doc_get_root(vm)))
        return gw_error_set(err, GW_NOT_FOUND,
                            "Error %s VirtualMachineInstance %s. VirtualMachine %s is not set to run", doing, name,
                            name);
    if (r < 0)
        return virtctl_fail(err, r, "Error %s VirtualMachineInstance %s: ", doing, name);
    printf("VMI %s was scheduled to %s\n", name, v->verb->name);
    return 0;
}

static int pause_guest(struct virtctl *v, struct gw_error *err)
{
    return hold(v, "pausing", err);
}

static int unpause(struct virtctl *v, struct gw_error *err)
{
    return hold(v, "unpausing", err);
}

static int push(struct virtctl *v, const char *sub, const char *doing, struct gw_error *err)
{
    int r = virtctl_sub(v, "PUT", VMIS, v->args[0], sub, NULL, NULL, err);

    if (r < 0)
        return virtctl_fail(err, r, "Error %s VirtualMachineInstance %s: ", doing, v->args[0]);
    printf("VMI %s was scheduled to %s\n", v->args[0], v->verb->name);
    return 0;
}

static int soft_reboot(struct virtctl *v, struct gw_error *err)
{
    return push(v, "softreboot", "soft rebooting", err);
}

static int reset(struct virtctl *v, struct gw_error *err)
{
    return push(v, "reset", "reseting", err);
}

static int guest_info(struct virtctl *v, struct gw_error *err)
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

    while (!streq(rows[i].verb, v->verb->name))
        i++;
    int r = virtctl_sub(v, "GET", VMIS, v->args[0], rows[i].sub, NULL, &doc, err);
    if (r < 0)
        return virtctl_fail(err, r, "Error %s VirtualMachineInstance %s, ", rows[i].doing, v->args[0]);
    _cleanup_free_ char *text = doc ? yyjson_write(doc, YYJSON_WRITE_PRETTY_TWO_SPACES, NULL) : NULL;
    printf("%s\n", text ? text : "null");
    return 0;
}

/* --- the table --- */

static const struct flag only_dry_run[] = {DRY_RUN, {0}};

#define HOLD_VERB(verb, text, function) \
    { \
        .name = (verb), .args = "vm|vmi (VM)|(VMI)", .n_args = 2, .help = (text), \
        .more = "The first argument is the kind: vm or vmi, in any of their spellings. The second is the name.", \
        .examples = "  # The guest of the VM 'myvm':\n" \
                    "  virtctl " verb " vm myvm\n", \
        .flags = only_dry_run, .run = (function) \
    }

#define VMI_VERB(verb, text, function) \
    { \
        .name = (verb), .args = "(VMI)", .n_args = 1, .help = (text), \
        .examples = "  # Of the VMI 'myvmi':\n" \
                    "  virtctl " verb " myvmi\n", \
        .run = (function) \
    }

const struct verb guest_verbs[] = {
    HOLD_VERB("pause", "Let a guest stand still; what it has in memory stays there.", pause_guest),
    HOLD_VERB("unpause", "Let a paused guest run again.", unpause),
    VMI_VERB("soft-reboot", "Ask the guest to reboot: by its agent, or else by the power button.", soft_reboot),
    VMI_VERB("reset", "Reset the machine at once, as its button would.", reset),
    VMI_VERB("guestosinfo", "Print what the guest's agent tells of its operating system.", guest_info),
    VMI_VERB("userlist", "Print who is logged in to the guest, as its agent tells.", guest_info),
    VMI_VERB("fslist", "Print the guest's mounted file systems, as its agent tells.", guest_info),
    {0},
};
