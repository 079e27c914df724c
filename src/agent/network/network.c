/* The pods of a node: making, finding, removing. What happens to their addresses is in switch.c. */
#include "agent/network/network.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "agent/network/links.h"
#include "agent/network/netns.h"
#include "agent/network/node_setup.h"
#include "agent/network/pod_note.h"
#include "agent/network/pod_setup.h"
#include "base/clock.h"
#include "base/fs.h"

#define VXLAN_OVERHEAD 50 /* RFC 7348; ours needs less, without an inner Ethernet header */

DEFINE_CLEANUP(struct network *, network_close)
DEFINE_CLEANUP(DIR *, closedir)

bool network_has_vhost(void)
{
    _cleanup_close_ int fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);

    return fd >= 0;
}

static int read_config(struct network *n, const struct network_config *config, struct gw_error *err)
{
    if (!ipv4_parse(config->node_address, &n->node_address))
        return gw_error_set(err, GW_INVALID, "node address \"%s\" is no IPv4 address", config->node_address);
    if (!ipv4_parse_cidr(config->pod_cidr, &n->pod_cidr) || n->pod_cidr.len > 29)
        return gw_error_set(err, GW_INVALID, "podCIDR \"%s\" is no IPv4 range of at least 8 addresses",
                            config->pod_cidr);
    if (!ipv4_parse_cidr(config->cluster_cidr, &n->cluster) || !ipv4_contains(n->cluster, n->pod_cidr.address) ||
        n->cluster.len > n->pod_cidr.len)
        return gw_error_set(err, GW_INVALID, "cluster range \"%s\" does not hold the podCIDR %s", config->cluster_cidr,
                            config->pod_cidr);
    n->node = xstrdup(config->node);
    n->netns_dir = xasprintf("%s/netns", config->run_dir);
    n->notes_dir = xasprintf("%s/pods", config->run_dir);
    n->mtu = config->mtu;
    n->vxlan = config->vxlan;
    return 0;
}

static int open_node(struct network *n, struct gw_error *err)
{
    int mtu, r = netlink_open(&n->nl, err);

    if (r < 0 || (r = link_with_address(n->nl, n->node_address, &n->underlay, &n->subnet, err)) < 0 ||
        (r = link_name(n->nl, n->underlay, n->device, &mtu, err)) < 0)
        return r;
    if (!n->mtu)
        n->mtu = mtu - VXLAN_OVERHEAD;
    return node_setup_make(n->nl, n->device, n->cluster, n->vxlan ? NULL : &n->subnet, &n->notes, err);
}

/* Notes can be older than the kernel's state: after a reboot, with run_dir on a disk, there is neither namespace nor
 * link of the pod, and the monotonic clock began anew. */
static void keep_pod(void *data, struct pod_network *p)
{
    struct network *n = data;
    bool there = netns_exists(p->netns ? p->netns : "") || network_pod_link(n, p);

    if (!there && !p->destroyed) {
        (void)pod_note_remove(n->notes_dir, p->uid, NULL);
        pod_network_free(p);
        return;
    }
    p->forward_until = MIN(p->forward_until, clock_monotonic_ms() + NETWORK_FORWARD_MS);
    map_put(n->pods, p->uid, p);
}

static void free_pod(void *p)
{
    pod_network_free(p);
}

int network_open(const struct network_config *config, struct network **ret, struct gw_error *err)
{
    _cleanup_(network_closep) struct network *n = xnew(struct network);

    n->pods = map_new(free_pod);
    int r = read_config(n, config, err);
    if (r < 0 || (r = fs_mkdirs(n->netns_dir, 0711, err)) < 0 || (r = fs_mkdirs(n->notes_dir, 0700, err)) < 0 ||
        (r = open_node(n, err)) < 0 || (r = pod_note_each(n->notes_dir, keep_pod, n, err)) < 0)
        return r;
    network_changed(n, 0);
    *ret = TAKE_PTR(n);
    return 0;
}

struct network *network_close(struct network *n)
{
    if (!n)
        return NULL;
    map_free(n->pods);
    free(n->list);
    node_views_done(&n->peers);
    VEC_EACH(&n->observed, o)
        free(o->node);
    observed_vec_done(&n->observed);
    netlink_close(n->nl);
    str_done(&n->notes);
    free(n->node);
    free(n->netns_dir);
    free(n->notes_dir);
    free(n);
    return NULL;
}

static int remove_routes(struct network *n, struct gw_error *err)
{
    struct route_vec routes = {0};
    int r = route_list(n->nl, &routes, err);

    VEC_EACH(&routes, route)
        if (r == 0)
            r = route_delete(n->nl, route, err);
    route_vec_done(&routes);
    return r;
}

int network_teardown(struct network *n, struct gw_error *err)
{
    const char *uid;
    int r = 0;

    for (size_t c = 0; r == 0 && map_next(n->pods, &c, &uid, NULL);) {
        struct pod_network *p = network_pod(n, uid);
        p->state = ADDRESS_GONE;
        r = pod_network_destroy(n, p->uid, err);
        c = 0;
    }
    if (r < 0 || (r = remove_routes(n, err)) < 0)
        return r;
    return node_setup_remove(n->nl, err);
}

/* Each entry that pod_setup made under netns_dir, also of pods whose notes are lost. */
static int unmount_all(const char *netns_dir, struct gw_error *err)
{
    _cleanup_(closedirp) DIR *dir = opendir(netns_dir);
    int r = 0;

    if (!dir)
        return errno == ENOENT ? 0 : gw_error_errno(err, errno, "cannot read %s", netns_dir);
    for (struct dirent *e; r == 0 && (e = readdir(dir));) {
        _cleanup_free_ char *path = xasprintf("%s/%s", netns_dir, e->d_name);
        if (*e->d_name != '.')
            r = netns_remove(path, err);
    }
    return r;
}

int network_sweep(const char *run_dir, struct gw_error *err)
{
    _cleanup_free_ char *netns_dir = xasprintf("%s/netns", run_dir), *notes_dir = xasprintf("%s/pods", run_dir);
    int r = unmount_all(netns_dir, err);

    if (r < 0 || (r = fs_remove_tree(netns_dir, err)) < 0)
        return r;
    return fs_remove_tree(notes_dir, err);
}

const char *network_notes(const struct network *n)
{
    return str_text(&n->notes);
}

const struct pod_network *const *network_pods(struct network *n)
{
    size_t i = 0;
    void *p;

    free(n->list);
    n->list = xnew_n(const struct pod_network *, map_len(n->pods) + 1);
    for (size_t c = 0; map_next(n->pods, &c, NULL, &p);)
        n->list[i++] = p;
    return n->list;
}

struct pod_network *network_pod(const struct network *n, const char *uid)
{
    return map_get(n->pods, uid);
}

const struct pod_network *pod_network_find(struct network *n, const char *uid)
{
    return network_pod(n, uid);
}

unsigned network_pod_link(const struct network *n, const struct pod_network *p)
{
    struct link_info link;

    return p->host_link && link_find(n->nl, p->host_link, &link, NULL) == 0 ? link.index : 0;
}

void network_on_change(struct network *n, void (*fn)(void *data), void *data)
{
    n->on_change = fn;
    n->on_change_data = data;
}

int network_forget(struct network *n, const char *uid, struct gw_error *err)
{
    int r = pod_note_remove(n->notes_dir, uid, err);

    if (r == 0)
        map_remove(n->pods, uid);
    return r;
}

/* An address for migration traffic that neither a pod nor a VM uses. */
static uint32_t pick_address(const struct network *n)
{
    uint32_t *used = xnew_n(uint32_t, map_len(n->pods) * 2 + 1), picked;
    size_t count = 0;
    void *value;

    for (size_t c = 0; map_next(n->pods, &c, NULL, &value);) {
        const struct pod_network *p = value;
        count += ipv4_parse(p->pod_address, &used[count]);
        count += ipv4_parse(p->vm_address, &used[count]);
    }
    VEC_EACH(&n->peers, peer)
        VEC_EACH(&peer->addresses, a) {
            used = xrealloc(used, (count + 1) * sizeof(*used));
            used[count++] = a->address;
        }
    picked = routes_pick_address(n->pod_cidr, used, count);
    free(used);
    return picked;
}

/* Only a source that still forwards may share the address with a newcomer (the VM has come back). */
static int check_address(const struct network *n, const struct pod_network_spec *spec, struct gw_error *err)
{
    uint32_t address;
    uint8_t mac[6];
    void *value;

    if (!ipv4_parse(spec->vm_address, &address) || !ipv4_contains(n->cluster, address))
        return gw_error_set(err, GW_INVALID, "pod address \"%s\" is no IPv4 address of the cluster's range",
                            spec->vm_address ? spec->vm_address : "");
    if (!mac_parse(spec->guest_mac, mac))
        return gw_error_set(err, GW_INVALID, "macAddress \"%s\" is no unicast hardware address",
                            spec->guest_mac ? spec->guest_mac : "");
    for (size_t c = 0; map_next(n->pods, &c, NULL, &value);) {
        const struct pod_network *p = value;
        if (!streq(p->uid, spec->uid) && p->state != ADDRESS_FORWARDING && p->state != ADDRESS_GONE &&
            str_same(p->vm_address, spec->vm_address))
            return gw_error_set(err, GW_INVALID, "address %s is held by pod %s on this node", spec->vm_address, p->uid);
    }
    return 0;
}

static int set_guest_addresses(struct pod_network *p, struct gw_error *err)
{
    struct ipv4_cidr cidr;
    char text[IPV4_TEXT];

    if (!ipv4_parse_cidr(p->vm_cidr, &cidr) || cidr.len > 30)
        return gw_error_set(err, GW_INVALID, "vmNetworkCIDR \"%s\" is no IPv4 range of at least 4 addresses",
                            p->vm_cidr);
    p->prefix_len = cidr.len;
    p->gateway_address = xstrdup(ipv4_format(cidr.address + 1, text));
    p->guest_address = xstrdup(ipv4_format(cidr.address + 2, text));
    return 0;
}

/* Names and addresses of a new pod. */
static int plan_pod(struct network *n, const struct pod_network_spec *spec, struct pod_network **ret,
                    struct gw_error *err)
{
    _cleanup_(pod_network_freep) struct pod_network *p = xnew(struct pod_network);
    uint32_t address = pick_address(n);
    char text[IPV4_TEXT];

    if (!address)
        return gw_error_set(err, GW_SERVICE_UNAVAILABLE, "podCIDR %s of this node has no free address",
                            ipv4_format_cidr(n->pod_cidr, text));
    *p = (struct pod_network){
        .uid = xstrdup(spec->uid),
        .vmi = xstrdup(spec->vmi ? spec->vmi : ""),
        .vm_address = xstrdup(spec->vm_address),
        .vm_cidr = xstrdup(spec->vm_cidr ? spec->vm_cidr : POD_NETWORK_VM_CIDR),
        .guest_mac = xstrdup(spec->guest_mac),
        .netns = xasprintf("%s/%s", n->netns_dir, spec->uid),
        .host_link = pod_setup_link_name(spec->uid),
        .pod_address = xstrdup(ipv4_format(address, text)),
        .mtu = n->mtu,
        .tap_owner = spec->tap_owner,
        .ports = spec->n_ports ? xmemdup(spec->ports, spec->n_ports * sizeof(*spec->ports)) : NULL,
        .n_ports = spec->n_ports,
        .state = ADDRESS_HOLDING,
    };
    int r = set_guest_addresses(p, err);
    if (r == 0)
        *ret = TAKE_PTR(p);
    return r;
}

/* The pod as noted, or a new one; a note that could not be read, or whose pod was destroyed, gives way. */
static int find_or_plan(struct network *n, const struct pod_network_spec *spec, struct pod_network **ret,
                        struct gw_error *err)
{
    struct pod_network *p = network_pod(n, spec->uid);
    int r = 0;

    if (p && (p->destroyed || !p->pod_address || !p->vm_address)) {
        _cleanup_free_ char *netns = xasprintf("%s/%s", n->netns_dir, spec->uid),
                            *link = pod_setup_link_name(spec->uid);
        r = pod_setup_remove(n->nl, netns, link, err);
        r = r < 0 ? r : network_forget(n, spec->uid, err);
        p = NULL;
    }
    if (r == 0 && !p && (r = plan_pod(n, spec, &p, err)) == 0) {
        map_put(n->pods, p->uid, p);
        r = pod_note_write(n->notes_dir, p, err);
    }
    *ret = p;
    return r;
}

/* The uid becomes part of file names. */
static int check_uid(const char *uid, struct gw_error *err)
{
    if (!uid || !*uid || strchr(uid, '/') || *uid == '.' || strlen(uid) > 200)
        return gw_error_set(err, GW_INVALID, "pod uid \"%s\" cannot be used as a file name", uid ? uid : "");
    return 0;
}

int pod_network_create(struct network *n, const struct pod_network_spec *spec, const struct pod_network **ret,
                       struct gw_error *err)
{
    struct pod_network *p;
    unsigned link;
    int r = check_uid(spec->uid, err);

    if (r < 0 || (r = check_address(n, spec, err)) < 0 || (r = find_or_plan(n, spec, &p, err)) < 0)
        return r;
    if ((r = pod_setup_make(n->nl, p, &link, err)) < 0)
        return gw_error_wrap(err, r, "network of pod %s", spec->uid);
    if ((r = network_sync(n, clock_monotonic_ms(), err)) < 0)
        return r;
    *ret = p;
    return 0;
}

int pod_network_destroy(struct network *n, const char *uid, struct gw_error *err)
{
    int r = check_uid(uid, err);

    if (r < 0)
        return r;
    struct pod_network *p = network_pod(n, uid);
    bool forwards = p && p->state == ADDRESS_FORWARDING, announced = p && p->state == ADDRESS_ACTIVE;
    _cleanup_free_ char *name = xstrdup(uid), *netns = xasprintf("%s/%s", n->netns_dir, uid),
                        *host_link = pod_setup_link_name(uid);

    r = pod_setup_remove(n->nl, netns, host_link, err);
    if (r == 0 && forwards) {
        p->destroyed = true;
        return pod_note_write(n->notes_dir, p, err);
    }
    if (r < 0 || (r = network_forget(n, name, err)) < 0)
        return r;
    if (announced)
        network_changed(n, 0);
    return network_sync(n, clock_monotonic_ms(), err);
}
