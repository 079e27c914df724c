/* Verbs that concern the VM as a whole. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/meta.h"
#include "base/alloc.h"
#include "base/str.h"
#include "cli/virtctl/virtctl.h"

#define VMS "virtualmachines"

/* PUT virtualmachines/NAME/VERB; before: what a failure begins with. */
static int ask(struct virtctl *v, yyjson_mut_doc *body, const char *before, struct gw_error *err)
{
    int r = virtctl_sub(v, "PUT", VMS, v->args[0], v->verb, body, NULL, err);

    if (r < 0)
        return virtctl_fail(err, r, "%s", before);
    printf("VM %s was scheduled to %s\n", v->args[0], v->verb);
    return 0;
}

int virtctl_start(struct virtctl *v, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *body = virtctl_options(v);

    if (v->paused)
        json_set_bool(body, "/paused", true);
    return ask(v, body, "Error starting VirtualMachine ", err);
}

/* --force and --grace-period go together; key: where the latter stands in the body. */
static int set_grace(struct virtctl *v, yyjson_mut_doc *body, const char *key, struct gw_error *err)
{
    char *end = NULL;
    long long seconds = v->grace_period ? strtoll(v->grace_period, &end, 10) : 0;

    if (v->force != (v->grace_period != NULL))
        return gw_error_set(err, GW_BAD_REQUEST, "Must both use --force=true and set --grace-period.");
    if (end && (*end || end == v->grace_period))
        return gw_error_set(err, GW_BAD_REQUEST, "invalid argument \"%s\" for \"--grace-period\" flag: want a number",
                            v->grace_period);
    if (v->force)
        json_set_int(body, key, seconds);
    return 0;
}

int virtctl_stop(struct virtctl *v, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *body = virtctl_options(v);
    int r = set_grace(v, body, "/gracePeriod", err);

    return r < 0 ? r
                 : ask(v, body, v->force ? "error force stopping VirtualMachine: " : "error stopping VirtualMachine ",
                       err);
}

int virtctl_restart(struct virtctl *v, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *body = virtctl_options(v);
    int r = set_grace(v, body, "/gracePeriodSeconds", err);

    return r < 0 ? r
                 : ask(v, body,
                       v->force ? "error force restarting VirtualMachine: " : "error restarting VirtualMachine: ", err);
}

/* "a=b,c=d" */
static int set_selector(struct virtctl *v, yyjson_mut_doc *body, struct gw_error *err)
{
    for (const char *p = v->selector; p && *p;) {
        size_t len = strcspn(p, ",");
        _cleanup_free_ char *pair = xstrndup(p, len);
        char *equal = strchr(pair, '=');

        if (!equal)
            return gw_error_set(
                err, GW_BAD_REQUEST,
                "invalid argument \"%s\" for \"--addedNodeSelector\" flag: %s must be formatted as key=value",
                v->selector, pair);
        *equal = '\0';
        _cleanup_free_ char *path = json_path("/addedNodeSelector", pair);
        json_set_str(body, path, equal + 1);
        p += len + (p[len] == ',');
    }
    return 0;
}

int virtctl_migrate(struct virtctl *v, struct gw_error *err)
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

int virtctl_migrate_cancel(struct virtctl *v, struct gw_error *err)
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
    printf("VM %s was scheduled to %s\n", v->args[0], v->verb);
    return 0;
}

int virtctl_evacuate_cancel(struct virtctl *v, struct gw_error *err)
{
    int kind = virtctl_kind(v->args[0], err);
    const char *name = v->args[1], *what = kind == 0 ? "VM" : "VMI";
    _cleanup_free_ char *path = api_path(&API_VIRTUALMACHINEINSTANCES, v->ns, name, NULL, NULL);
    _cleanup_mut_doc_ yyjson_mut_doc *body = NULL;
    _cleanup_doc_ yyjson_doc *vmi = NULL;

    if (kind < 0)
        return kind;
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
