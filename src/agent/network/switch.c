/* Addresses and routes of a node: the moves between states, and agreement with what the peers announce.
 *
 * The two calls on the blackout path, activate and forward, change the kernel first, by one message per table, and
 * write the note and tell the listener afterwards. What they set is what routes_decide would say from then on, so the
 * next network_sync finds nothing to do. */
#include "agent/network/network.h"

#include <errno.h>
#include <string.h>

#include "agent/network/node_setup.h"
#include "agent/network/pod_note.h"
#include "base/clock.h"

static struct local_address local_of(const struct network *n, const struct pod_network *p)
{
    struct local_address l = {.state = p->state, .epoch = p->epoch, .target_node = p->target_node};

    l.link = p->destroyed ? 0 : network_pod_link(n, p);
    (void)ipv4_parse(p->vm_address, &l.address);
    if (l.link)
        (void)ipv4_parse(p->pod_address, &l.pod_address);
    return l;
}

/* Without the locals, each of which costs a question to the kernel. */
static struct routes_input surroundings(const struct network *n)
{
    return (struct routes_input){
        .node = n->node,
        .node_address = n->node_address,
        .subnet = n->subnet,
        .pod_cidr = n->pod_cidr,
        .underlay = n->underlay,
        .tunnel = n->tunnel,
        .vxlan = n->vxlan,
        .peers = &n->peers,
    };
}

/* Before the peers are known nothing is removed: a new life of the agent takes over the routes of the former one, and
 * traffic goes on even if the API server cannot be reached. */
static int apply(struct network *n, struct routes_input *in, struct gw_error *err)
{
    struct route_vec have = {0}, want = {0}, put = {0}, remove = {0};
    int r = route_list(n->nl, &have, err);

    routes_decide(in, &want);
    routes_diff(&have, &want, &put, &remove);
    VEC_EACH(&put, route)
        if (r == 0)
            r = route_put(n->nl, route, err);
    VEC_EACH(&remove, route)
        if (r == 0 && n->followed)
            r = route_delete(n->nl, route, err);
    route_vec_done(&have);
    route_vec_done(&want);
    route_vec_done(&put);
    route_vec_done(&remove);
    return r;
}

static bool is_over(const struct network *n, const struct pod_network *p, int64_t now)
{
    uint32_t address;

    return p->state == ADDRESS_FORWARDING && (now >= p->forward_until || !ipv4_parse(p->vm_address, &address) ||
                                              routes_all_know(&n->peers, p->target_node, address, p->epoch));
}

/* Forwarding that has done its service ends; the pod's note goes with it if the pod is gone. */
static int end_forwarding(struct network *n, int64_t now, struct gw_error *err)
{
    void *value;
    bool ended = false;
    int r = 0;

    for (size_t c = 0; r == 0 && map_next(n->pods, &c, NULL, &value);) {
        struct pod_network *p = value;
        if (!is_over(n, p, now))
            continue;
        ended = true;
        p->state = ADDRESS_GONE;
        r = p->destroyed ? network_forget(n, p->uid, err) : pod_note_write(n->notes_dir, p, err);
    }
    if (ended)
        network_changed(n, 0);
    return r;
}

static int open_tunnel_if_needed(struct network *n, const struct routes_input *in, struct gw_error *err)
{
    if (n->tunnel || !routes_need_tunnel(in))
        return 0;
    return node_setup_tunnel(n->nl, routes_tunnel_address(n->pod_cidr), n->mtu, n->cluster, &n->tunnel, err);
}

int network_sync(struct network *n, int64_t now, struct gw_error *err)
{
    int r = end_forwarding(n, now, err);
    struct routes_input in = surroundings(n);
    void *p;

    for (size_t c = 0; map_next(n->pods, &c, NULL, &p);)
        local_vec_push(&in.locals, local_of(n, p));
    if (r == 0 && (r = open_tunnel_if_needed(n, &in, err)) == 0) {
        in.tunnel = n->tunnel;
        r = apply(n, &in, err);
    }
    local_vec_done(&in.locals);
    return r;
}

/* Notes up to which serial each peer was followed. */
static void record_observed(struct network *n)
{
    VEC_EACH(&n->observed, o)
        free(o->node);
    n->observed.len = 0;
    VEC_EACH(&n->peers, peer)
        observed_vec_push(&n->observed, (struct observed_peer){xstrdup(peer->node), peer->serial});
}

static void drop_self(const struct network *n, struct node_view_vec *views)
{
    for (size_t i = 0; i < views->len; i++)
        if (streq(views->items[i].node, n->node)) {
            node_view_done(&views->items[i]);
            node_view_vec_remove(views, i--);
        }
}

int network_update(struct network *n, struct node_view_vec *views, int64_t now, struct gw_error *err)
{
    node_views_done(&n->peers);
    n->peers = *views;
    *views = (struct node_view_vec){0};
    n->followed = true;
    drop_self(n, &n->peers);
    int r = network_sync(n, now, err);
    if (r == 0)
        record_observed(n);
    return r;
}

static int find_living(struct network *n, const char *uid, struct pod_network **ret, struct gw_error *err)
{
    *ret = network_pod(n, uid);
    if (!*ret || (*ret)->destroyed)
        return gw_error_set(err, GW_NOT_FOUND, "pod %s has no network on this node", uid);
    return 0;
}

/* An earlier pod of the same VM on this node, left forwarding, is superseded when the VM is back. */
static int end_earlier(struct network *n, const struct pod_network *newcomer, struct gw_error *err)
{
    void *value;
    int r = 0;

    for (size_t c = 0; r == 0 && map_next(n->pods, &c, NULL, &value);) {
        struct pod_network *p = value;
        if (p == newcomer || p->state != ADDRESS_FORWARDING || !str_same(p->vm_address, newcomer->vm_address))
            continue;
        p->state = ADDRESS_GONE;
        r = p->destroyed ? network_forget(n, p->uid, err) : pod_note_write(n->notes_dir, p, err);
    }
    return r;
}

int pod_network_activate(struct network *n, const char *uid, int64_t epoch, struct gw_error *err)
{
    struct pod_network *p;
    int r = find_living(n, uid, &p, err);

    if (r < 0)
        return r;
    struct routes_input in = surroundings(n);
    struct local_address l = local_of(n, p);
    struct route in_main = routes_to_pod(&in, l.link, l.address, ROUTE_TABLE_MAIN);
    struct route arriving = routes_to_pod(&in, l.link, l.address, ROUTE_TABLE_ARRIVING);
    if (!l.link)
        return gw_error_set(err, GW_NOT_FOUND, "pod %s: network device %s is gone", uid, p->host_link);
    if ((r = route_put(n->nl, &in_main, err)) < 0)
        return r;
    if (p->state != ADDRESS_HOLDING && (r = route_put(n->nl, &arriving, err)) < 0)
        return r;
    p->state = ADDRESS_ACTIVE;
    p->epoch = epoch;
    network_changed(n, 0);
    return (r = pod_note_write(n->notes_dir, p, err)) < 0 ? r : end_earlier(n, p, err);
}

int pod_network_forward(struct network *n, const char *uid, const char *target_node, struct gw_error *err)
{
    const struct node_view *target = node_view_find(&n->peers, target_node);
    struct pod_network *p;
    int r = find_living(n, uid, &p, err);

    if (r < 0)
        return r;
    if (!target)
        return gw_error_set(err, GW_NOT_FOUND, "node %s has not announced how to reach it (NodeNetwork)", target_node);
    struct routes_input in = surroundings(n);
    struct local_address l = local_of(n, p);
    struct route there = routes_to_peer(&in, target, ipv4_host(l.address), ROUTE_TABLE_MAIN);
    struct route arriving = routes_to_pod(&in, l.link, l.address, ROUTE_TABLE_ARRIVING);
    if ((r = route_put(n->nl, &there, err)) < 0 || (r = route_delete(n->nl, &arriving, err)) < 0)
        return r;
    free(p->target_node);
    p->target_node = xstrdup(target_node);
    p->state = ADDRESS_FORWARDING;
    p->forward_until = clock_monotonic_ms() + NETWORK_FORWARD_MS;
    network_changed(n, 0);
    return pod_note_write(n->notes_dir, p, err);
}
