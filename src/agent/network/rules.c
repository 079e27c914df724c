/* Theory of operation. The rewrite happens in the netdev ingress hooks of the pod's two devices, before the pod's own
 * IP stack sees a packet: what comes for the VM's address is already addressed to the guest, what comes from the guest
 * already bears the VM's address. So no packet is ever addressed to the pod itself, nothing is tracked, no state exists
 * that would have to move with the VM, and nothing in the pod can answer (RST, port unreachable) in the guest's name.
 * nftables corrects the checksums of IP, TCP and UDP incrementally.
 *
 * ICMP errors carry the head of the packet that they are about, with an address of its own to rewrite. nftables can
 * write there but not correct the ICMP checksum. Unused bits of the ICMP header (RFC 792, RFC 1191: zero) take up the
 * difference, a constant of the two addresses, so that the checksum stays true. An error from guest to guest is
 * rewritten twice: the second time finds the first 16 bits used and takes the other 16, which are unused but in
 * "fragmentation needed", and that comes from routers. The checksum of the quoted IP header is not corrected; receivers
 * do not verify it. Errors without unused bits (RFC 4884 extensions, parameter problem) pass with the quote as it is.
 */
#include "agent/network/rules.h"

#include <netinet/in.h>

#include "base/str.h"

uint16_t rules_compensation(uint32_t before, uint32_t after)
{
    uint32_t sum = (before >> 16) + (before & 0xffff) + (~after >> 16) + (~after & 0xffff);

    sum = (sum >> 16) + (sum & 0xffff);
    sum = (sum >> 16) + (sum & 0xffff);
    return sum == 0xffff ? 0 : (uint16_t)sum;
}

#define UNUSED_FIRST 32 /* bit offsets in the ICMP header */
#define UNUSED_SECOND 48
#define QUOTED_SOURCE 160
#define QUOTED_DESTINATION 192

/* Rewrites a quoted address where the 16 bits at `unused` are free. */
static void add_icmp_quote(struct str *s, unsigned unused, unsigned quoted, uint32_t before, uint32_t after)
{
    str_printf(s,
               "    icmp type { destination-unreachable, time-exceeded } @th,%u,16 0 @th,%u,32 0x%08x"
               " @th,%u,32 set 0x%08x @th,%u,16 set 0x%04x\n",
               unused, quoted, before, quoted, after, unused, rules_compensation(before, after));
}

/* " tcp dport != { 22, 80 }", or nothing when the protocol has no ports: then the rule is for all of them. */
static void add_port_match(struct str *s, const struct pod_rules *r, uint8_t protocol, const char *name)
{
    const char *separator = "";
    struct str list = {0};

    for (size_t i = 0; i < r->n_ports; i++)
        if (r->ports[i].protocol == protocol) {
            str_printf(&list, "%s%u", separator, r->ports[i].port);
            separator = ", ";
        }
    if (list.len)
        str_printf(s, " %s dport != { %s }", name, str_text(&list));
    str_done(&list);
}

/* Only what opens something new is refused: a TCP SYN, and UDP that answers nothing the guest has sent. */
static void add_port_filter(struct str *s, const struct pod_rules *r)
{
    if (!r->n_ports)
        return;
    str_puts(s, "    tcp flags & (fin | syn | rst | ack) == syn");
    add_port_match(s, r, IPPROTO_TCP, "tcp");
    str_puts(s, " reject with tcp reset\n    ip protocol udp");
    add_port_match(s, r, IPPROTO_UDP, "udp");
    str_puts(s, " ip saddr . udp sport . udp dport != @asked drop\n");
}

static void add_to_guest(struct str *s, const struct pod_rules *r, const char *guest)
{
    str_puts(s, "  chain to_guest {\n");
    add_port_filter(s, r);
    add_icmp_quote(s, UNUSED_FIRST, QUOTED_SOURCE, r->vm, r->guest);
    add_icmp_quote(s, UNUSED_SECOND, QUOTED_SOURCE, r->vm, r->guest);
    str_printf(s, "    ip daddr set %s accept\n  }\n", guest);
}

static void add_from_guest(struct str *s, const struct pod_rules *r, const char *guest, const char *vm)
{
    char gateway[IPV4_TEXT], cidr[IPV4_TEXT], pod[IPV4_TEXT];

    str_puts(s, "  chain from_guest {\n    type filter hook ingress device \"" POD_NETWORK_TAP
                "\" priority 0; policy drop;\n"
                "    ether type arp accept\n"
                "    udp sport 68 udp dport 67 accept\n");
    str_printf(s, "    ip saddr != %s drop\n", guest);
    str_printf(s, "    ip daddr %s icmp type echo-request accept\n", ipv4_format(r->gateway, gateway));
    str_printf(s, "    ip daddr { %s, %s, 224.0.0.0/4, 255.255.255.255 } drop\n", ipv4_format_cidr(r->vm_cidr, cidr),
               ipv4_format(r->pod, pod));
    if (r->n_ports)
        str_puts(s, "    udp dport != 0 update @asked { ip daddr . udp dport . udp sport }\n");
    add_icmp_quote(s, UNUSED_FIRST, QUOTED_DESTINATION, r->guest, r->vm);
    str_printf(s, "    ip saddr %s ip saddr set %s accept\n  }\n", guest, vm);
}

static void add_arriving(struct str *s, const char *vm, const char *pod)
{
    str_puts(s, "  chain arriving {\n    type filter hook ingress device \"eth0\" priority 0; policy drop;\n");
    str_printf(s, "    ip daddr %s goto to_guest\n", vm);
    str_printf(
        s, "    ip daddr %s tcp flags & (fin | syn | rst | ack) == syn tcp dport != { %d, %d } reject with tcp reset\n",
        pod, POD_NETWORK_MIGRATION_PORT, POD_NETWORK_BLOCK_PORT);
    str_printf(s, "    ip daddr %s ip protocol { tcp, icmp } accept\n  }\n", pod);
}

char *rules_pod(const struct pod_rules *r)
{
    char vm[IPV4_TEXT], guest[IPV4_TEXT], pod[IPV4_TEXT];
    struct str s = {0};

    ipv4_format(r->vm, vm);
    ipv4_format(r->guest, guest);
    ipv4_format(r->pod, pod);
    str_puts(&s, "table " RULES_POD_TABLE " {\n");
    if (r->n_ports)
        str_puts(&s, "  set asked {\n    type ipv4_addr . inet_service . inet_service\n    size 4096\n"
                     "    flags dynamic,timeout\n    timeout 2m\n  }\n");
    add_to_guest(&s, r, guest);
    add_arriving(&s, vm, pod);
    add_from_guest(&s, r, guest, vm);
    str_puts(&s, "}\n");
    return str_take(&s);
}

char *rules_node(struct ipv4_cidr cluster, const struct ipv4_cidr *node_subnet)
{
    char inside[IPV4_TEXT], subnet[IPV4_TEXT];
    struct str s = {0};

    ipv4_format_cidr(cluster, inside);
    str_puts(&s, "table " RULES_NODE_TABLE "\ndelete table " RULES_NODE_TABLE "\ntable " RULES_NODE_TABLE " {\n"
                 "  chain leaving {\n    type nat hook postrouting priority srcnat; policy accept;\n");
    str_printf(&s, "    ip saddr %s ip daddr != { %s, 224.0.0.0/4", inside, inside);
    if (node_subnet)
        str_printf(&s, ", %s", ipv4_format_cidr(*node_subnet, subnet));
    str_puts(&s, " } masquerade\n  }\n}\n");
    return str_take(&s);
}
