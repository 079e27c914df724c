/* Theory of operation. A VM's address is a /32 route in the main table of every node: into the pod where the address is
 * Active, towards the announcing node elsewhere. Of several that name one address the highest epoch wins; at equal
 * epochs Active wins over Forwarding, then the greater node name (that is never needed, and yet all nodes agree).
 *
 * Packets that come from other nodes look into the arriving table first. There an address has its route into the pod
 * from the moment it is Holding: a source that has stopped the guest may forward at once, and what it forwards waits in
 * the tap of the target for the guest, while processes and VMs of the target node itself still reach the source's side.
 * It also means that source and target can switch in any order without a packet bouncing between them.
 *
 * The podCIDR of the own node ends in a blackhole: an address that nobody has is dropped in silence, not sent in
 * circles. */
#include "agent/network/routes.h"

#include "base/map.h"

uint32_t routes_tunnel_address(struct ipv4_cidr pod_cidr)
{
    return pod_cidr.address + 1;
}

bool routes_is_tunnelled(const struct routes_input *in, const struct node_view *peer)
{
    return in->vxlan || peer->vxlan || !ipv4_contains(in->subnet, peer->node_address);
}

bool routes_need_tunnel(const struct routes_input *in)
{
    VEC_EACH(in->peers, peer)
        if (routes_is_tunnelled(in, peer))
            return true;
    return false;
}

struct route routes_to_peer(const struct routes_input *in, const struct node_view *peer, struct ipv4_cidr to,
                            uint32_t table)
{
    struct route r = {.to = to, .table = table, .gateway = peer->node_address};

    if (routes_is_tunnelled(in, peer)) {
        r.kind = ROUTE_TUNNEL;
        r.link = in->tunnel;
        r.source = routes_tunnel_address(in->pod_cidr);
        r.tunnel_source = in->node_address;
    } else {
        r.kind = ROUTE_VIA;
        r.link = in->underlay;
        r.source = in->node_address;
    }
    return r;
}

struct route routes_to_pod(const struct routes_input *in, unsigned link, uint32_t address, uint32_t table)
{
    return (struct route){
        .to = ipv4_host(address), .table = table, .kind = ROUTE_LINK, .link = link, .source = in->node_address};
}

/* Who is believed to have an address: a peer, or (peer NULL) this node. */
struct claim {
    const struct node_view *peer;
    const struct local_address *local;
    int64_t epoch;
    enum address_state state;
    const char *node;
};

static bool is_stronger(const struct claim *a, const struct claim *b)
{
    if (a->epoch != b->epoch)
        return a->epoch > b->epoch;
    if (a->state != b->state)
        return a->state == ADDRESS_ACTIVE;
    return strcmp(a->node, b->node) > 0;
}

static void add_claim(struct map *claims, uint32_t address, struct claim claim)
{
    char key[IPV4_TEXT];
    const struct claim *held = map_get(claims, ipv4_format(address, key));

    if (!held || is_stronger(&claim, held))
        map_put(claims, key, xmemdup(&claim, sizeof(claim)));
}

static struct map *collect_claims(const struct routes_input *in)
{
    struct map *claims = map_new(free);

    VEC_EACH(&in->locals, l)
        if (l->state == ADDRESS_ACTIVE || l->state == ADDRESS_FORWARDING)
            add_claim(claims, l->address, (struct claim){NULL, l, l->epoch, l->state, in->node});
    VEC_EACH(in->peers, peer)
        VEC_EACH(&peer->addresses, a)
            add_claim(claims, a->address, (struct claim){peer, NULL, a->epoch, a->state, peer->node});
    return claims;
}

static bool is_reachable(const struct routes_input *in, const struct node_view *peer)
{
    return peer && (in->tunnel || !routes_is_tunnelled(in, peer));
}

/* A local claim that forwards to a node of which nothing is known (any more), or whose pod's link has just gone, has no
 * route: the blackhole takes it. */
static void add_winner(const struct routes_input *in, uint32_t address, const struct claim *c, struct route_vec *ret)
{
    const struct node_view *peer = c->peer;

    if (c->local && c->state == ADDRESS_ACTIVE && !c->local->link)
        return;
    if (c->local && c->state == ADDRESS_ACTIVE) {
        route_vec_push(ret, routes_to_pod(in, c->local->link, address, ROUTE_TABLE_MAIN));
        route_vec_push(ret, routes_to_pod(in, c->local->link, address, ROUTE_TABLE_ARRIVING));
        return;
    }
    if (c->local)
        peer = node_view_find(in->peers, c->local->target_node);
    if (is_reachable(in, peer))
        route_vec_push(ret, routes_to_peer(in, peer, ipv4_host(address), ROUTE_TABLE_MAIN));
}

static void add_locals(const struct routes_input *in, struct route_vec *ret)
{
    VEC_EACH(&in->locals, l) {
        if (l->pod_address && l->link)
            route_vec_push(ret, routes_to_pod(in, l->link, l->pod_address, ROUTE_TABLE_MAIN));
        if (l->state == ADDRESS_HOLDING && l->link)
            route_vec_push(ret, routes_to_pod(in, l->link, l->address, ROUTE_TABLE_ARRIVING));
    }
}

void routes_decide(const struct routes_input *in, struct route_vec *ret)
{
    struct map *claims = collect_claims(in);
    const char *key;
    void *claim;
    uint32_t address;

    for (size_t c = 0; map_next(claims, &c, &key, &claim);)
        if (ipv4_parse(key, &address))
            add_winner(in, address, claim, ret);
    map_free(claims);
    add_locals(in, ret);
    VEC_EACH(in->peers, peer)
        if (peer->pod_cidr.len && !ipv4_same(peer->pod_cidr, in->pod_cidr) && is_reachable(in, peer))
            route_vec_push(ret, routes_to_peer(in, peer, peer->pod_cidr, ROUTE_TABLE_MAIN));
    route_vec_push(ret, (struct route){.to = in->pod_cidr, .table = ROUTE_TABLE_MAIN, .kind = ROUTE_BLACKHOLE});
}

bool routes_all_know(const struct node_view_vec *peers, const char *target_node, uint32_t address, int64_t epoch)
{
    const struct node_view *target = node_view_find(peers, target_node);
    const struct announced_address *there = target ? node_view_address(target, address) : NULL;

    if (!there || there->epoch <= epoch)
        return false;
    VEC_EACH(peers, peer)
        if (peer != target && node_view_observed(peer, target_node) < target->serial)
            return false;
    return true;
}

static int by_place(const void *x, const void *y)
{
    const struct route *a = x, *b = y;

    if (a->table != b->table)
        return a->table < b->table ? -1 : 1;
    if (a->to.address != b->to.address)
        return a->to.address < b->to.address ? -1 : 1;
    return a->to.len - b->to.len;
}

static void sort(struct route_vec *v)
{
    if (v->len)
        qsort(v->items, v->len, sizeof(*v->items), by_place);
}

void routes_diff(struct route_vec *have, struct route_vec *want, struct route_vec *put, struct route_vec *remove)
{
    size_t h = 0;

    sort(have);
    sort(want);
    VEC_EACH(want, r) {
        bool present = false;
        for (; h < have->len && by_place(&have->items[h], r) < 0; h++)
            route_vec_push(remove, have->items[h]);
        for (; h < have->len && by_place(&have->items[h], r) == 0; h++)
            present |= route_same(&have->items[h], r);
        if (!present)
            route_vec_push(put, *r);
    }
    for (; h < have->len; h++)
        route_vec_push(remove, have->items[h]);
}

uint32_t routes_pick_address(struct ipv4_cidr pod_cidr, const uint32_t *used, size_t n)
{
    for (uint32_t a = routes_tunnel_address(pod_cidr) + 1; a < ipv4_last(pod_cidr); a++) {
        size_t i = 0;
        while (i < n && used[i] != a)
            i++;
        if (i == n)
            return a;
    }
    return 0;
}
