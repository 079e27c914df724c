/* What is known of a node's network: its pods, and what the node announces of them. */
#include "agent/network/network.h"

#include "agent/network/links.h"
#include "agent/network/pod_note.h"
#include "base/clock.h"

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

int64_t network_deadline(const struct network *n)
{
    int64_t first = -1;
    void *value;

    for (size_t c = 0; map_next(n->pods, &c, NULL, &value);) {
        const struct pod_network *p = value;
        if (p->state == ADDRESS_FORWARDING && (first < 0 || p->forward_until < first))
            first = p->forward_until;
    }
    return first;
}

/* Serials grow over restarts of the agent too: they follow the clock where that is ahead. */
void network_changed(struct network *n, int64_t at_least)
{
    int64_t next = MAX(n->serial, at_least) + 1;

    n->serial = MAX(next, clock_wall_ms());
    if (n->on_change)
        n->on_change(n->on_change_data);
}

void network_announcement(const struct network *n, struct node_view *ret)
{
    void *value;

    *ret = (struct node_view){.node = xstrdup(n->node),
                              .node_address = n->node_address,
                              .pod_cidr = n->pod_cidr,
                              .vxlan = n->vxlan,
                              .serial = n->serial};
    for (size_t c = 0; map_next(n->pods, &c, NULL, &value);) {
        const struct pod_network *p = value;
        struct announced_address a = {.epoch = p->epoch, .state = p->state};
        if ((p->state != ADDRESS_ACTIVE && p->state != ADDRESS_FORWARDING) || !ipv4_parse(p->vm_address, &a.address))
            continue;
        a.vmi = xstrdup(p->vmi);
        announced_vec_push(&ret->addresses, a);
    }
    VEC_EACH(&n->observed, o)
        observed_vec_push(&ret->observed, (struct observed_peer){xstrdup(o->node), o->serial});
}
