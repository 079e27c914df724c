/* The network of a pod is made and removed. What happens to its address in between is in switch.c. */
#include "agent/network/network.h"

#include <string.h>

#include "agent/network/pod_note.h"
#include "agent/network/pod_setup.h"
#include "base/clock.h"

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
