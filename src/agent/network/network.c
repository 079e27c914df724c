/* The network of a node as a whole: opened with what an earlier life left, closed, torn down. */
#include "agent/network/network.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include "agent/network/links.h"
#include "agent/network/netns.h"
#include "agent/network/node_setup.h"
#include "agent/network/pod_note.h"
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
