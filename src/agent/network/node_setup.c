#include "agent/network/node_setup.h"

#include <errno.h>
#include <string.h>

#include "agent/network/links.h"
#include "agent/network/netns.h"
#include "agent/network/nft.h"
#include "agent/network/routing.h"
#include "agent/network/rules.h"
#include "base/alloc.h"

/* Sets one value and notes the change. */
static int set(const char *name, const char *value, struct str *notes, struct gw_error *err)
{
    int r = netns_sysctl(name, value, err);

    if (r > 0)
        str_printf(notes, "set net/%s = %s\n", name, value);
    return r == -ENOENT ? 0 : r;
}

/* A strict source check (1) of a device drops a VM's packets that come another way than its address is routed, which is
 * normal while it moves; a loose one (2) does not. Of the device's and the general value the kernel takes the greater
 * one, so 2 on the device is enough. */
static int loosen_source_check(const char *device, struct str *notes, struct gw_error *err)
{
    _cleanup_free_ char *name = xasprintf("ipv4/conf/%s/rp_filter", device);

    if (netns_sysctl_get("ipv4/conf/all/rp_filter", 0) != 1 && netns_sysctl_get(name, 0) != 1)
        return 0;
    return set(name, "2", notes, err);
}

/* Redirects (RFC 1122) would tell peers to go to the target directly while this node forwards; they would then keep
 * that beside their routes. Both values must be 0. */
static int stop_redirects(const char *device, struct str *notes, struct gw_error *err)
{
    _cleanup_free_ char *name = xasprintf("ipv4/conf/%s/send_redirects", device);
    int r = set("ipv4/conf/all/send_redirects", "0", notes, err);

    return r < 0 ? r : set(name, "0", notes, err);
}

/* A base chain of somebody else that drops what we forward cannot be overruled by ours. */
static void look_for_firewall(struct str *notes)
{
    static const char *const chains[] = {"ip filter FORWARD", "inet filter forward", "inet firewalld filter_FORWARD"};

    for (size_t i = 0; i < ARRAY_SIZE(chains); i++) {
        _cleanup_free_ char *command = xasprintf("list chain %s", chains[i]);
        _cleanup_free_ char *text = nft_list(command);
        if (text && strstr(text, "policy drop"))
            str_printf(
                notes,
                "nftables chain \"%s\" drops forwarded packets by policy: allow those of the pod network there\n",
                chains[i]);
    }
}

int node_setup_make(struct netlink *nl, const char *device, struct ipv4_cidr cluster,
                    const struct ipv4_cidr *node_subnet, struct str *notes, struct gw_error *err)
{
    int r = set("ipv4/ip_forward", "1", notes, err);

    if (r < 0 || (r = loosen_source_check(device, notes, err)) < 0 || (r = stop_redirects(device, notes, err)) < 0 ||
        (r = rule_prune(nl, (const char *const[]){device, NODE_SETUP_TUNNEL, NULL}, err)) < 0 ||
        (r = rule_put(nl, device, cluster, err)) < 0)
        return r;
    _cleanup_free_ char *rules = rules_node(cluster, node_subnet);
    r = nft_apply(rules, err);
    look_for_firewall(notes);
    return r;
}

static int open_tunnel(struct netlink *nl, unsigned index, uint32_t address, struct ipv4_cidr cluster,
                       struct gw_error *err)
{
    _cleanup_str_ struct str unused = {0};
    int r = netns_sysctl("ipv6/conf/" NODE_SETUP_TUNNEL "/disable_ipv6", "1", err);

    if (r == -ENOENT)
        r = 0;
    if (r < 0 || (r = loosen_source_check(NODE_SETUP_TUNNEL, &unused, err)) < 0 ||
        (r = stop_redirects(NODE_SETUP_TUNNEL, &unused, err)) < 0 || (r = link_up(nl, index, NULL, 0, err)) < 0 ||
        (r = link_add_address(nl, index, address, 32, err)) < 0)
        return r;
    return rule_put(nl, NODE_SETUP_TUNNEL, cluster, err);
}

int node_setup_tunnel(struct netlink *nl, uint32_t address, int mtu, struct ipv4_cidr cluster, unsigned *ret_index,
                      struct gw_error *err)
{
    struct link_info link;
    int r = link_find(nl, NODE_SETUP_TUNNEL, &link, NULL);

    if (r == -ENODEV && (r = link_add_vxlan(nl, NODE_SETUP_TUNNEL, NODE_SETUP_TUNNEL_PORT, mtu, err)) == 0)
        r = link_find(nl, NODE_SETUP_TUNNEL, &link, err);
    if (r < 0 || (r = open_tunnel(nl, link.index, address, cluster, err)) < 0)
        return r;
    *ret_index = link.index;
    return 0;
}

int node_setup_remove(struct netlink *nl, struct gw_error *err)
{
    int r = rule_prune(nl, (const char *const[]){NULL}, err);

    if (r < 0 || (r = link_delete(nl, NODE_SETUP_TUNNEL, err)) < 0)
        return r;
    return nft_apply("table " RULES_NODE_TABLE "\ndelete table " RULES_NODE_TABLE "\n", err);
}
