#include <stdio.h>
#include <string.h>

#include "api/meta.h"
#include "cli/api.h"
#include "cli/cluster/cluster.h"
#include "cli/cluster/daemons.h"

static bool say_process(const struct cluster_plan *p, const char *name, const char *address, const char *state)
{
    _cleanup_free_ char *pid_file = cluster_path(p, "run/%s.pid", name);
    pid_t pid = daemon_pid(pid_file);

    if (pid > 0)
        cluster_say(name, "%-15s pid %-7d %s", address, pid, state);
    else
        cluster_say(name, "%-15s does not run; see logs/%s.log, repair with: godwit cluster up --dir %s", address, name,
                    p->dir);
    return pid > 0;
}

static void say_vms(yyjson_val *items, const char *node)
{
    yyjson_val *item;

    json_each(items, item)
        if (streq(json_str_or(item, "/status/nodeName", ""), node))
            cluster_say("", "%s/%s  %s  %s", json_str_or(item, "/metadata/namespace", ""),
                        json_str_or(item, "/metadata/name", ""), json_str_or(item, "/status/phase", "Pending"),
                        json_str_or(item, "/status/interfaces/0/ipAddress", "no address yet"));
}

static yyjson_val *list(struct cli_api *api, const char *path, yyjson_doc **doc, struct gw_error *err)
{
    return api->client && cli_api_get(api, path, doc, err) >= 0 ? json_at(yyjson_doc_get_root(*doc), "/items") : NULL;
}

bool cluster_status(const struct cluster_plan *p)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_free_ char *kubeconfig = cluster_path(p, "kubeconfig");
    _cleanup_cli_api_ struct cli_api api = {0};
    _cleanup_doc_ yyjson_doc *nodes_doc = NULL, *vms_doc = NULL;
    char address[CLUSTER_NAME_MAX], name[CLUSTER_NAME_MAX];
    bool well = cli_api_open(&api, kubeconfig, &err) >= 0;

    yyjson_val *nodes = list(&api, "/api/v1/nodes", &nodes_doc, &err);
    yyjson_val *vms = list(&api, "/apis/kubevirt.io/v1/virtualmachineinstances", &vms_doc, &err);
    cluster_say("cluster", "gw%s in %s, links %s", p->id, p->dir, p->link_rate ? p->link_rate : "without limit");
    well &=
        say_process(p, CLUSTER_SERVER, cluster_host_address(p, address), nodes ? "answers" : gw_error_message(&err));
    for (unsigned i = 1; i <= p->nodes; i++) {
        yyjson_val *node = json_find(nodes, "/metadata/name", cluster_node_name(i, name));
        bool ready = condition_true(node, "Ready");
        well &= say_process(p, name, cluster_node_address(p, i, address), ready ? "Ready" : "not Ready") && ready;
        say_vms(vms, name);
    }
    return well;
}
