/* Verbs that concern the VM as a whole. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/meta.h"
#include "base/alloc.h"
#include "base/str.h"
#include "cli/virtctl/virtctl.h"

#define VMS "virtualmachines"
#define SELECTOR "addedNodeSelector"

/* PUT virtualmachines/NAME/VERB; before: what a failure begins with. */
static int ask(struct virtctl *v, yyjson_mut_doc *body, const char *before, struct gw_error *err)
{
    int r = virtctl_sub(v, "PUT", VMS, v->args[0], v->verb->name, body, NULL, err);

    if (r < 0)
        return virtctl_fail(err, r, "%s", before);
    printf("VM %s was scheduled to %s\n", v->args[0], v->verb->name);
    return 0;
}

static int start(struct virtctl *v, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *body = virtctl_options(v);

    if (flag_bool(&v->line, "paused"))
        json_set_bool(body, "/paused", true);
    return ask(v, body, "Error starting VirtualMachine ", err);
}

/* --force and --grace-period go together; key: where the latter stands in the body. */
static int set_grace(struct virtctl *v, yyjson_mut_doc *body, const char *key, struct gw_error *err)
{
    bool force = flag_bool(&v->line, "force");

    if (force != flag_given(&v->line, "grace-period"))
        return gw_error_set(err, GW_BAD_REQUEST, "Must both use --force=true and set --grace-period.");
    if (force)
        json_set_int(body, key, flag_int(&v->line, "grace-period"));
    return 0;
}

static int stop(struct virtctl *v, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *body = virtctl_options(v);
    int r = set_grace(v, body, "/gracePeriod", err);

    return r < 0 ? r
                 : ask(v, body,
                       flag_bool(&v->line, "force") ? "error force stopping VirtualMachine: "
                                                    : "error stopping VirtualMachine ",
                       err);
}

static int restart(struct virtctl *v, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *body = virtctl_options(v);
    int r = set_grace(v, body, "/gracePeriodSeconds", err);

    return r < 0 ? r
                 : ask(v, body,
                       flag_bool(&v->line, "force") ? "error force restarting VirtualMachine: "
                                                    : "error restarting VirtualMachine: ",
                       err);
}

/* "a=b,c=d" */
static int set_selector(struct virtctl *v, yyjson_mut_doc *body, struct gw_error *err)
{
    const char *selector = flag_text(&v->line, SELECTOR);

    for (const char *p = selector; p && *p;) {
        size_t len = strcspn(p, ",");
        _cleanup_free_ char *pair = xstrndup(p, len);
        char *equal = strchr(pair, '=');

        if (!equal)
            return gw_error_set(err, GW_BAD_REQUEST,
                                "invalid argument \"%s\" for \"--" SELECTOR
                                "\" flag: %s must be formatted as key=value",
                                selector, pair);
        *equal = '\0';
        _cleanup_free_ char *path = json_path("/addedNodeSelector", pair);
        json_set_str(body, path, equal + 1);
        p += len + (p[len] == ',');
    }
    return 0;
}

static int migrate(struct virtctl *v, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *body = virtctl_options(v);
    int r = set_selector(v, body, err);

    return r < 0 ? r : ask(v, body, "Error migrating VirtualMachine ", err);
}

/* --- what is taken back --- */

static yyjson_val *find_active(yyjson_val *items)
{
    yyjson_val *item;

    json_each(items, item)
        if (!is_final(item))
            return item;
    return NULL;
}

static int migrate_cancel(struct virtctl *v, struct gw_error *err)
{
    _cleanup_free_ char *query = xasprintf("labelSelector=kubevirt.io%%2Fvmi-name%%3D%%3D%s", v->args[0]);
    _cleanup_free_ char *list_path = api_path(&API_MIGRATIONS, v->ns, NULL, NULL, query);
    _cleanup_mut_doc_ yyjson_mut_doc *body = virtctl_options(v);
    _cleanup_doc_ yyjson_doc *list = NULL, *answer = NULL;
    int r = cli_api_get(&v->api, list_path, &list, err);

    if (r < 0)
        return virtctl_fail(err, r, "Error fetching virtual machine instance migration list  ");
    const char *name = meta_name(find_active(json_at(yyjson_doc_get_root(list), "/items")));
    if (!*name)
        return gw_error_set(err, GW_NOT_FOUND, "Found no migration to cancel for %s", v->args[0]);
    _cleanup_free_ char *path = api_path(&API_MIGRATIONS, v->ns, name, NULL, NULL);
    json_set_str(body, "/kind", "DeleteOptions");
    json_set_str(body, "/apiVersion", "v1");
    r = cli_api_call(&v->api, "DELETE", path, body, &answer, err);
    if (r < 0)
        return virtctl_fail(err, r, "Error canceling migration %s of a VirtualMachine %s: ", name, v->args[0]);
    printf("VM %s was scheduled to %s\n", v->args[0], v->verb->name);
    return 0;
}

static int evacuate_cancel(struct virtctl *v, struct gw_error *err)
{
    int kind = virtctl_kind(v->args[0]);
    const char *name = v->args[1], *what = kind == 0 ? "VM" : "VMI";
    _cleanup_free_ char *path = api_path(&API_VIRTUALMACHINEINSTANCES, v->ns, name, NULL, NULL);
    _cleanup_mut_doc_ yyjson_mut_doc *body = NULL;
    _cleanup_doc_ yyjson_doc *vmi = NULL;

    if (kind < 0)
        return gw_error_set(err, GW_BAD_REQUEST, "unsupported resource type \"%s\"", v->args[0]);
    body = virtctl_options(v);
    int r = cli_api_get(&v->api, path, &vmi, err);
    if (r == 0) {
        yyjson_val *status = json_at(yyjson_doc_get_root(vmi), "/status");
        const char *node = json_str_or(status, "/nodeName", "");
        json_set_str(body, "/evacuationNodeName", json_str_or(status, "/evacuationNodeName", node));
        r = virtctl_sub(v, "PUT", kind == 0 ? VMS : "virtualmachineinstances", name, "evacuate/cancel", body, NULL,
                        err);
    }
    if (r < 0)
        return virtctl_fail(err, r, "error canceling evacuation for %s %s/%s: ", what, v->ns, name);
    printf("%s %s/%s was canceled evacuation\n", what, v->ns, name);
    return 0;
}

/* --- the table --- */

static const struct flag only_dry_run[] = {DRY_RUN, {0}};

static const struct flag start_flags[] = {
    DRY_RUN,
    {.name = "paused", .kind = FLAG_BOOL, .help = "let it stand still before its first instruction"},
    {0},
};

static const struct flag stop_flags[] = {
    DRY_RUN,
    {.name = "force", .kind = FLAG_BOOL, .help = "do not wait longer for the guest than --grace-period says"},
    {.name = "grace-period", .kind = FLAG_INT, .fallback = "-1", .help = "seconds for the guest to end; with --force"},
    {0},
};

static const struct flag migrate_flags[] = {
    {.name = SELECTOR, .help = "labels key=value,... that the target node must have, besides what the VM asks for"},
    DRY_RUN,
    {0},
};

const struct verb vm_verbs[] = {
    {.name = "start",
     .args = "(VM)",
     .n_args = 1,
     .help = "Start a virtual machine.",
     .examples = "  # Start the VM 'myvm':\n"
                 "  virtctl start myvm\n\n"
                 "  # Have it ready, to be let go by virtctl unpause:\n"
                 "  virtctl start myvm --paused\n",
     .flags = start_flags,
     .run = start},
    {.name = "stop",
     .args = "(VM)",
     .n_args = 1,
     .help = "Stop a virtual machine.",
     .examples = "  # Ask the guest of 'myvm' to shut down:\n"
                 "  virtctl stop myvm\n\n"
                 "  # Pull the plug:\n"
                 "  virtctl stop myvm --force --grace-period=0\n",
     .flags = stop_flags,
     .run = stop},
    {.name = "restart",
     .args = "(VM)",
     .n_args = 1,
     .help = "Stop a virtual machine and start it again, with the spec that it has now.",
     .examples = "  # Restart the VM 'myvm':\n"
                 "  virtctl restart myvm\n",
     .flags = stop_flags,
     .run = restart},
    {.name = "migrate",
     .args = "(VM)",
     .n_args = 1,
     .help = "Move a running virtual machine to another node.",
     .examples = "  # Move the VM 'myvm' wherever it fits:\n"
                 "  virtctl migrate myvm\n\n"
                 "  # Move it to a node of this zone:\n"
                 "  virtctl migrate myvm --addedNodeSelector=topology.kubernetes.io/zone=east\n",
     .flags = migrate_flags,
     .run = migrate},
    {.name = "migrate-cancel",
     .args = "(VM)",
     .n_args = 1,
     .help = "Cancel the migration of a virtual machine.",
     .examples = "  # Let the VM 'myvm' stay where it is:\n"
                 "  virtctl migrate-cancel myvm\n",
     .flags = only_dry_run,
     .run = migrate_cancel},
    {.name = "evacuate-cancel",
     .args = "vm|vmi (VM)|(VMI)",
     .n_args = 2,
     .help = "Cancel the evacuation of a virtual machine from its node.",
     .examples = "  # Let the VM 'myvm' stay on the node that is being drained:\n"
                 "  virtctl evacuate-cancel vm myvm\n",
     .flags = only_dry_run,
     .run = evacuate_cancel},
    {0},
};
