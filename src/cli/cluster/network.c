#include "cli/cluster/network.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fs.h"
#include "base/process.h"

#define BRIDGE "br0"
#define MAX_WORDS 32

char *cluster_ns_path(const char *ns)
{
    return xasprintf("/run/netns/%s", ns);
}

/* Runs one command given as words separated by blanks; no name here has one. */
static _printf_(2, 3) int run(struct gw_error *err, const char *fmt, ...)
{
    const char *argv[MAX_WORDS + 1] = {0};
    char line[512], *save = NULL;
    size_t n = 0;
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    for (char *word = strtok_r(line, " ", &save); word && n < MAX_WORDS; word = strtok_r(NULL, " ", &save))
        argv[n++] = word;
    return process_run(argv, NULL, NULL, err);
}

static int ensure_ns(const char *ns, struct gw_error *err)
{
    _cleanup_free_ char *path = cluster_ns_path(ns);
    int r = fs_exists(path) ? 0 : run(err, "ip netns add %s", ns);

    return r < 0 ? r : run(err, "ip -n %s link set lo up", ns);
}

/* One end of a cable: ns NULL is the host's own namespace. */
struct end {
    const char *ns, *link;
};

static bool has_link(struct end e)
{
    return e.ns ? run(NULL, "ip -n %s link show dev %s", e.ns, e.link) == 0 : if_nametoindex(e.link) != 0;
}

static int in_ns(struct end e, struct gw_error *err, const char *rest)
{
    return e.ns ? run(err, "ip -n %s %s", e.ns, rest) : run(err, "ip %s", rest);
}

static int limit_rate(struct end e, const char *link_rate, struct gw_error *err)
{
    uint64_t rate = 0;

    if (!link_rate) {
        (void)run(NULL, "tc -n %s qdisc del dev %s root", e.ns, e.link); /* fails where there was no limit */
        return 0;
    }
    int r = cluster_rate_parse(link_rate, &rate, err);
    if (r < 0)
        return r;
    return run(err, "tc -n %s qdisc replace dev %s root tbf rate %s burst %llub latency 50ms", e.ns, e.link, link_rate,
               (unsigned long long)cluster_rate_burst(rate));
}

/* A cable from `own`, which gets the address, to a port of the bridge in `port`. */
static int ensure_cable(struct end own, struct end port, const char *address, struct gw_error *err)
{
    _cleanup_free_ char *set_address = xasprintf("addr replace %s/24 dev %s", address, own.link);
    /* IPv4 only: no addresses that appear by themselves, some time after the link. */
    _cleanup_free_ char *set_up = xasprintf("link set dev %s addrgenmode none up", own.link);
    int r = 0;

    if (!has_link(own)) {
        _cleanup_free_ char *add =
            xasprintf("link add %s type veth peer name %s netns %s", own.link, port.link, port.ns);
        r = in_ns(own, err, add);
    }
    if (r >= 0)
        r = run(err, "ip -n %s link set dev %s addrgenmode none master %s up", port.ns, port.link, BRIDGE);
    if (r >= 0)
        r = in_ns(own, err, set_address);
    return r < 0 ? r : in_ns(own, err, set_up);
}

static int ensure_fabric(const struct cluster_plan *p, struct gw_error *err)
{
    char fabric[CLUSTER_NAME_MAX], link[CLUSTER_NAME_MAX], address[CLUSTER_NAME_MAX];
    struct end bridge = {cluster_fabric_ns(p, fabric), BRIDGE};
    int r = ensure_ns(fabric, err);

    if (r >= 0 && !has_link(bridge))
        r = run(err, "ip -n %s link add %s type bridge", fabric, BRIDGE);
    if (r >= 0)
        r = run(err, "ip -n %s link set dev %s addrgenmode none up", fabric, BRIDGE);
    if (r < 0)
        return r;
    return ensure_cable((struct end){NULL, cluster_host_link(p, link)}, (struct end){fabric, "host"},
                        cluster_host_address(p, address), err);
}

static int ensure_node(const struct cluster_plan *p, unsigned node, struct gw_error *err)
{
    char ns[CLUSTER_NAME_MAX], fabric[CLUSTER_NAME_MAX], name[CLUSTER_NAME_MAX], address[CLUSTER_NAME_MAX];
    struct end own = {cluster_node_ns(p, node, ns), "eth0"};
    struct end port = {cluster_fabric_ns(p, fabric), cluster_node_name(node, name)};
    int r = ensure_ns(ns, err);

    if (r >= 0)
        r = ensure_cable(own, port, cluster_node_address(p, node, address), err);
    if (r >= 0)
        r = limit_rate(own, p->link_rate, err);
    return r < 0 ? r : limit_rate(port, p->link_rate, err);
}

int cluster_network_up(const struct cluster_plan *p, struct gw_error *err)
{
    int r = ensure_fabric(p, err);

    for (unsigned node = 1; r >= 0 && node <= p->nodes; node++)
        r = ensure_node(p, node, err);
    return r < 0 ? gw_error_wrap(err, r, "network of the cluster") : 0;
}

static int remove_ns(const char *ns, struct gw_error *err)
{
    _cleanup_free_ char *path = cluster_ns_path(ns);

    return fs_exists(path) ? run(err, "ip netns del %s", ns) : 0;
}

int cluster_network_down(const struct cluster_plan *p, struct gw_error *err)
{
    char name[CLUSTER_NAME_MAX];
    int r = 0, first = 0;

    for (unsigned node = 1; node <= p->nodes; node++)
        if ((r = remove_ns(cluster_node_ns(p, node, name), first ? NULL : err)) < 0 && first == 0)
            first = r;
    if (if_nametoindex(cluster_host_link(p, name)) != 0 && (r = run(first ? NULL : err, "ip link del %s", name)) < 0 &&
        first == 0)
        first = r;
    if ((r = remove_ns(cluster_fabric_ns(p, name), first ? NULL : err)) < 0 && first == 0)
        first = r;
    return first;
}

static bool address_taken(const char *address)
{
    struct ifaddrs *all = NULL;
    in_addr_t net = inet_addr(address) & htonl(0xffffff00);
    bool taken = false;

    if (getifaddrs(&all) < 0)
        return false;
    for (struct ifaddrs *a = all; a; a = a->ifa_next)
        if (a->ifa_addr && a->ifa_addr->sa_family == AF_INET)
            taken |= (((struct sockaddr_in *)a->ifa_addr)->sin_addr.s_addr & htonl(0xffffff00)) == net;
    freeifaddrs(all);
    return taken;
}

bool cluster_network_taken(const struct cluster_plan *p)
{
    char link[CLUSTER_NAME_MAX], fabric[CLUSTER_NAME_MAX], address[CLUSTER_NAME_MAX];
    _cleanup_free_ char *path = cluster_ns_path(cluster_fabric_ns(p, fabric));

    return if_nametoindex(cluster_host_link(p, link)) != 0 || fs_exists(path) ||
           address_taken(cluster_host_address(p, address));
}
