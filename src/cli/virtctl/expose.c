/* expose: a Service for the ports of a VM (virtctl 1.8, pkg/virtctl/expose). Whether there are Services, and why not,
 * is the server's to say. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/str.h"
#include "cli/virtctl/virtctl.h"

#define ID_LABEL "vmi.kubevirt.io/id"

/* Puts the word of the list that value is, in the list's own spelling, at path; "" is left out. */
static int set_word(yyjson_mut_doc *service, const char *path, const char *value, const char *const *words,
                    const char *fault, struct gw_error *err)
{
    for (; *words; words++)
        if (strcasecmp(*words, value) == 0) {
            if (**words)
                json_set_str(service, path, *words);
            return 0;
        }
    return gw_error_set(err, GW_BAD_REQUEST, "%s: %s", fault, value);
}

static void add_item(yyjson_mut_doc *d, const char *path, yyjson_mut_val *item)
{
    if (!json_mut_at(d, path))
        json_set(d, path, yyjson_mut_arr(d));
    yyjson_mut_arr_append(json_mut_at(d, path), item);
}

/* "IPv4,IPv6", which is the policy PreferDualStack too if none is given. */
static int set_families(const struct virtctl *v, yyjson_mut_doc *service, struct gw_error *err)
{
    static const char *const policies[] = {"", "SingleStack", "PreferDualStack", "RequireDualStack", NULL};
    const char *all = flag_text(&v->line, "ip-family"), *policy = flag_text(&v->line, "ip-family-policy");

    for (const char *p = all; *p; p += strcspn(p, ",") + (strchr(p, ',') != NULL)) {
        size_t len = strcspn(p, ",");
        bool is_4 = len == 4 && strncasecmp(p, "IPv4", len) == 0, is_6 = len == 4 && strncasecmp(p, "IPv6", len) == 0;

        if (!is_4 && !is_6)
            return gw_error_set(err, GW_BAD_REQUEST, "unknown IPFamily/s: %s", all);
        add_item(service, "/spec/ipFamilies", yyjson_mut_str(service, is_4 ? "IPv4" : "IPv6"));
    }
    if (!*policy && strchr(all, ','))
        policy = "PreferDualStack";
    return set_word(service, "/spec/ipFamilyPolicy", policy, policies, "unknown IPFamilyPolicy/s", err);
}

static int set_options(const struct virtctl *v, yyjson_mut_doc *service, struct gw_error *err)
{
    static const char *const types[] = {"ClusterIP", "NodePort", "LoadBalancer", NULL};
    const char *cluster = flag_text(&v->line, "cluster-ip"), *external = flag_text(&v->line, "external-ip");
    int r = set_word(service, "/spec/type", flag_text(&v->line, "type"), types, "unknown service type", err);

    json_set_str(service, "/apiVersion", "v1");
    json_set_str(service, "/kind", "Service");
    json_set_str(service, "/metadata/name", flag_text(&v->line, "name"));
    json_set_str(service, "/metadata/namespace", v->ns);
    if (*cluster)
        json_set_str(service, "/spec/clusterIP", cluster);
    if (*external)
        add_item(service, "/spec/externalIPs", yyjson_mut_strcpy(service, external));
    return r < 0 ? r : set_families(v, service, err);
}

/* --- ports --- */

/* That of the options. */
static int add_named_port(const struct virtctl *v, yyjson_mut_doc *service, yyjson_mut_doc *port, struct gw_error *err)
{
    static const char *const protocols[] = {"TCP", "UDP", NULL};
    const char *name = flag_text(&v->line, "port-name"), *target = flag_text(&v->line, "target-port");
    int r = set_word(port, "/protocol", flag_text(&v->line, "protocol"), protocols, "unknown protocol", err);
    char *end;

    if (r < 0 || flag_int(&v->line, "port") == 0)
        return r;
    json_set_int(port, "/port", flag_int(&v->line, "port"));
    if (*name)
        json_set_str(port, "/name", name);
    long number = strtol(target, &end, 10);
    if (*target && *end)
        json_set_str(port, "/targetPort", target);
    else if (*target)
        json_set_int(port, "/targetPort", number);
    add_item(service, "/spec/ports", yyjson_mut_val_mut_copy(service, yyjson_mut_doc_get_root(port)));
    return 0;
}

/* Those that the VM's interface in the pod network names. */
static void add_own_ports(yyjson_val *spec, yyjson_mut_doc *service)
{
    yyjson_val *network, *port, *interface = NULL;
    size_t i;

    json_each(json_at(spec, "/networks"), network)
        if (!interface && json_at(network, "/pod"))
            interface = json_find(json_at(spec, "/domain/devices/interfaces"), "/name", json_str(network, "/name"));
    json_each_at(json_at(interface, "/ports"), i, port) {
        _cleanup_mut_doc_ yyjson_mut_doc *one = json_object();
        _cleanup_free_ char *name = xasprintf("port-%zu", i + 1);

        json_set_str(one, "/name", name);
        json_set_str(one, "/protocol", json_str_or(port, "/protocol", "TCP"));
        json_set_int(one, "/port", json_int(port, "/port", 0));
        add_item(service, "/spec/ports", yyjson_mut_val_mut_copy(service, yyjson_mut_doc_get_root(one)));
    }
}

static int set_ports(const struct virtctl *v, yyjson_val *spec, yyjson_mut_doc *service, struct gw_error *err)
{
    _cleanup_mut_doc_ yyjson_mut_doc *port = json_object();
    int r = add_named_port(v, service, port, err);

    if (r == 0 && !json_mut_at(service, "/spec/ports"))
        add_own_ports(spec, service);
    if (r == 0 && !json_mut_at(service, "/spec/ports"))
        return gw_error_set(err, GW_BAD_REQUEST, "couldn't find port via --port flag or introspection");
    return r;
}

/* --- the verb --- */

static int expose(struct virtctl *v, struct gw_error *err)
{
    int kind = virtctl_kind(v->args[0]);
    _cleanup_mut_doc_ yyjson_mut_doc *service = json_object();
    _cleanup_doc_ yyjson_doc *doc = NULL, *answer = NULL;
    _cleanup_free_ char *label = json_path("/spec/selector", ID_LABEL), *path = NULL, *services = NULL;
    int r = set_options(v, service, err);

    if (r < 0)
        return r;
    if (kind < 0)
        return gw_error_set(err, GW_BAD_REQUEST, "unsupported resource type: %s", v->args[0]);
    path = api_path(kind == 0 ? &API_VIRTUALMACHINES : &API_VIRTUALMACHINEINSTANCES, v->ns, v->args[1], NULL, NULL);
    r = cli_api_get(&v->api, path, &doc, err);
    if (r < 0)
        return virtctl_fail(err, r, "error fetching VirtualMachine%s: ", kind == 0 ? "" : "Instance");
    json_set_str(service, label, v->args[1]);
    r = set_ports(v, json_at(yyjson_doc_get_root(doc), kind == 0 ? "/spec/template/spec" : "/spec"), service, err);
    if (r < 0)
        return r;
    services = xasprintf("/api/v1/namespaces/%s/services", v->ns);
    r = cli_api_call(&v->api, "POST", services, service, &answer, err);
    if (r < 0)
        return virtctl_fail(err, r, "service creation failed: ");
    printf("Service %s successfully created for %s %s\n", flag_text(&v->line, "name"), v->args[0], v->args[1]);
    return 0;
}

/* --- the table --- */

static const struct flag expose_flags[] = {
    {.name = "cluster-ip", .fallback = "", .help = "address of the service; None for one without"},
    {.name = "external-ip", .fallback = "", .help = "further address, which the cluster does not care for"},
    {.name = "ip-family", .fallback = "", .help = "IPv4, IPv6, or both with a comma between them"},
    {.name = "ip-family-policy", .fallback = "", .help = "SingleStack, PreferDualStack or RequireDualStack"},
    {.name = "name", .required = true, .help = "name of the service"},
    {.name = "port", .kind = FLAG_INT, .help = "port of the service; else those that the VM's interface names"},
    {.name = "port-name", .fallback = "", .help = "name of that port"},
    {.name = "protocol", .fallback = "TCP", .help = "TCP or UDP"},
    {.name = "target-port", .fallback = "", .help = "the guest's port, if it is another one"},
    {.name = "type", .fallback = "ClusterIP", .help = "ClusterIP, NodePort or LoadBalancer"},
    {0},
};

const struct verb expose_verbs[] = {
    {.name = "expose",
     .args = "(TYPE NAME)",
     .n_args = 2,
     .help = "Make a Service for ports of a virtual machine.",
     .more = "The type is vm or vmi. Godwit's server refuses Services: VMs are reached at their own addresses,\n"
             "which they keep when they move, or by virtctl port-forward.",
     .examples = "  # The ssh server of the VM 'myvm':\n"
                 "  virtctl expose vm myvm --name=myvm-ssh --port=22\n",
     .flags = expose_flags,
     .run = expose},
    {0},
};
