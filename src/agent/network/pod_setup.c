/* Theory of operation.
 *
 *   node's namespace                  pod's namespace                                   guest
 *   routes --- gw-<hash> ===veth=== eth0 [rewrite] forwarding [rewrite] tap0 --- virtio-net 10.0.2.2
 *                                   pod's own address          10.0.2.1
 *
 * Nothing here has to be learnt or announced after a migration, because nothing differs between nodes: both ends of the
 * veth pair have one and the same hardware address and no ARP (each frame is for "me" on the other side), the pod's
 * default route names a gateway that nobody has to be, tap0 has the same address on every node, and the guest's own
 * hardware address is a permanent neighbour entry.
 *
 * Crashes: each step is repeatable. The veth pair is made in one message with both ends in their places, after the
 * namespace and removed before it: a pair without a visible namespace is that of a running pod whose namespace was
 * mounted where this process does not see it, and is left alone. The rule set is applied whole or not at all, so that
 * its presence means that it is complete; it is never replaced, because it remembers UDP dialogues. */
#include "agent/network/pod_setup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>

#include "agent/network/links.h"
#include "agent/network/netns.h"
#include "agent/network/nft.h"
#include "agent/network/routing.h"
#include "agent/network/rules.h"
#include "base/alloc.h"

#define GATEWAY_OF_POD 0xa9fe0101U /* 169.254.1.1: link-local (RFC 3927), never looked up */

static const uint8_t veth_mac[6] = {0xee, 0xee, 0xee, 0xee, 0xee, 0xee};
static const uint8_t tap_mac[6] = {0x02, 0x00, 0x0a, 0x00, 0x02, 0x01};

/* FNV-1a: short device names (15 characters) from long uids. */
char *pod_setup_link_name(const char *uid)
{
    uint64_t hash = 0xcbf29ce484222325ULL;

    for (const char *c = uid; *c; c++)
        hash = (hash ^ (uint8_t)*c) * 0x100000001b3ULL;
    return xasprintf(POD_SETUP_LINK_PREFIX "%012llx", (unsigned long long)(hash >> 16));
}

struct setting {
    const char *name, *value;
};

/* Settings that a kernel without IPv6 lacks are no loss. */
static int apply_settings(const struct setting *settings, size_t n, struct gw_error *err)
{
    for (size_t i = 0; i < n; i++) {
        int r = netns_sysctl(settings[i].name, settings[i].value, err);
        if (r < 0 && r != -ENOENT)
            return r;
    }
    return 0;
}

/* Before the devices come, so that they take these from the defaults. No source check: the rewrite precedes it, so the
 * addresses never fit the routes. The migration ports lie among those that the kernel gives to clients: without the
 * reservation a connection of the pod's own could hold one when it has to be listened on. What a migration has sent and
 * its target not yet taken in is waited for while the guest stands still: so little may wait in the sockets. (The
 * kernel's limits are for far places: with them, 50 of 60 ms were this. A window of half a MiB fills 10 GbE at up to
 * 0.4 ms.) */
static int prepare_namespace(void *data, struct gw_error *err)
{
    static const struct setting settings[] = {
        {"ipv6/conf/all/disable_ipv6", "1"},
        {"ipv6/conf/default/disable_ipv6", "1"},
        {"ipv4/ip_forward", "1"},
        {"ipv4/tcp_rmem", "4096 131072 1048576"},
        {"ipv4/tcp_notsent_lowat", "131072"},
        {"ipv4/ip_local_reserved_ports", POD_NETWORK_PORTS},
        {"ipv4/conf/all/rp_filter", "0"},
        {"ipv4/conf/default/rp_filter", "0"},
        {"ipv4/conf/all/send_redirects", "0"},
        {"ipv4/conf/default/send_redirects", "0"},
    };

    return apply_settings(settings, ARRAY_SIZE(settings), err);
}

/* The tap stays when its last user closes it (persistent); its owner may open it by name. */
static int make_tap(uid_t owner, struct gw_error *err)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
    _cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return gw_error_errno(err, errno, "cannot open /dev/net/tun");
    snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", POD_NETWORK_TAP);
    if (ioctl(fd, TUNSETIFF, &request) < 0 || ioctl(fd, TUNSETOWNER, (unsigned long)owner) < 0 ||
        ioctl(fd, TUNSETPERSIST, 1UL) < 0)
        return gw_error_errno(err, errno, "cannot create the tap device " POD_NETWORK_TAP);
    return 0;
}

struct inside {
    const struct pod_network *pod;
    struct netlink *nl;
    uint32_t vm, guest, gateway, own;
    struct ipv4_cidr vm_cidr;
};

static int set_tap(struct inside *in, struct gw_error *err)
{
    struct link_info tap, lo;
    uint8_t guest_mac[6];
    int r = link_find(in->nl, POD_NETWORK_TAP, &tap, NULL);

    if (r == -ENODEV && (r = make_tap(in->pod->tap_owner, err)) == 0)
        r = link_find(in->nl, POD_NETWORK_TAP, &tap, err);
    if (r < 0)
        return r;
    if (!mac_parse(in->pod->guest_mac, guest_mac))
        return gw_error_set(err, GW_INVALID, "macAddress \"%s\" is no hardware address", in->pod->guest_mac);
    if ((r = link_up(in->nl, tap.index, tap_mac, in->pod->mtu, err)) < 0 ||
        (r = link_add_address(in->nl, tap.index, in->gateway, in->vm_cidr.len, err)) < 0 ||
        (r = neighbour_put(in->nl, tap.index, in->guest, guest_mac, err)) < 0 ||
        (r = link_find(in->nl, "lo", &lo, err)) < 0)
        return r;
    return link_up(in->nl, lo.index, NULL, 0, err);
}

static int set_eth(struct inside *in, struct gw_error *err)
{
    struct link_info eth;
    int r = link_find(in->nl, "eth0", &eth, err);

    if (r < 0 || (r = link_up(in->nl, eth.index, NULL, 0, err)) < 0 ||
        (r = link_add_address(in->nl, eth.index, in->own, 32, err)) < 0)
        return r;
    return route_put(in->nl,
                     &(struct route){.to = {0, 0},
                                     .table = ROUTE_TABLE_MAIN,
                                     .kind = ROUTE_VIA,
                                     .link = eth.index,
                                     .gateway = GATEWAY_OF_POD,
                                     .source = in->own},
                     err);
}

static int set_rules(const struct inside *in, struct gw_error *err)
{
    _cleanup_free_ char *present = nft_list("list table " RULES_POD_TABLE);

    if (present)
        return 0;
    _cleanup_free_ char *text = rules_pod(&(struct pod_rules){.vm = in->vm,
                                                              .guest = in->guest,
                                                              .gateway = in->gateway,
                                                              .pod = in->own,
                                                              .vm_cidr = in->vm_cidr,
                                                              .ports = in->pod->ports,
                                                              .n_ports = in->pod->n_ports});
    return nft_apply(text, err);
}

/* The rules come before addresses and routes: at no instant does a packet pass without them. */
static int furnish(void *data, struct gw_error *err)
{
    struct inside *in = data;
    _cleanup_netlink_ struct netlink *nl = NULL;
    int r = netlink_open(&nl, err);

    in->nl = nl;
    if (r < 0 || (r = set_tap(in, err)) < 0 || (r = set_rules(in, err)) < 0)
        return r;
    return set_eth(in, err);
}

static int make_pair(struct netlink *nl, const struct pod_network *p, unsigned *ret_link, struct gw_error *err)
{
    struct link_info link;

    if (link_find(nl, p->host_link, &link, NULL) == 0) {
        *ret_link = link.index;
        return 0;
    }
    _cleanup_close_ int netns = netns_open(p->netns, err);
    if (netns < 0)
        return netns;
    int r = link_add_veth(nl, p->host_link, "eth0", netns, veth_mac, p->mtu, err);
    if (r == 0 && (r = link_find(nl, p->host_link, &link, err)) == 0)
        *ret_link = link.index;
    return r;
}

/* The node's end: a guest's packets must pass the source check although the address may be routed elsewhere just now,
 * and a guest that calls its own address must not be told of a shorter way. */
static int set_host_link(struct netlink *nl, const struct pod_network *p, unsigned link, struct gw_error *err)
{
    _cleanup_free_ char *ipv6 = xasprintf("ipv6/conf/%s/disable_ipv6", p->host_link);
    _cleanup_free_ char *filter = xasprintf("ipv4/conf/%s/rp_filter", p->host_link);
    _cleanup_free_ char *redirects = xasprintf("ipv4/conf/%s/send_redirects", p->host_link);
    struct setting settings[] = {{ipv6, "1"}, {filter, "2"}, {redirects, "0"}};
    int r = apply_settings(settings, ARRAY_SIZE(settings), err);

    return r < 0 ? r : link_up(nl, link, NULL, 0, err);
}

static int read_addresses(const struct pod_network *p, struct inside *ret)
{
    *ret = (struct inside){.pod = p};
    return ipv4_parse(p->vm_address, &ret->vm) && ipv4_parse(p->guest_address, &ret->guest) &&
                   ipv4_parse(p->gateway_address, &ret->gateway) && ipv4_parse(p->pod_address, &ret->own) &&
                   ipv4_parse_cidr(p->vm_cidr, &ret->vm_cidr)
               ? 0
               : -EINVAL;
}

int pod_setup_make(struct netlink *nl, const struct pod_network *p, unsigned *ret_link, struct gw_error *err)
{
    struct link_info link;
    struct inside in;

    if (read_addresses(p, &in) < 0)
        return gw_error_set(err, GW_INVALID, "pod %s: unreadable addresses", p->uid);
    if (!netns_exists(p->netns) && link_find(nl, p->host_link, &link, NULL) == 0)
        return gw_error_set(err, GW_SERVICE_UNAVAILABLE,
                            "namespace %s of a running pod is not mounted here: start the agent "
                            "in the mount namespace that it was started in before",
                            p->netns);
    int r = netns_create(p->netns, err);
    if (r < 0 || (r = netns_run(p->netns, prepare_namespace, NULL, err)) < 0 ||
        (r = make_pair(nl, p, ret_link, err)) < 0 || (r = set_host_link(nl, p, *ret_link, err)) < 0)
        return r;
    return netns_run(p->netns, furnish, &in, err);
}

int pod_setup_remove(struct netlink *nl, const char *netns, const char *host_link, struct gw_error *err)
{
    int r = link_delete(nl, host_link, err);

    return r < 0 ? r : netns_remove(netns, err);
}
