#include "agent/launcher/dhcp_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/launcher/dhcp.h"
#include "base/alloc.h"

struct dhcp_server {
    struct dhcp_answers answers;
    char hostname[64];
    char search[201];
};

static void on_frame(void *userdata, int fd, short revents)
{
    struct dhcp_server *s = userdata;
    uint8_t frame[2048], out[DHCP_FRAME_MAX];
    ssize_t n = recv(fd, frame, sizeof(frame), MSG_DONTWAIT);

    if (n <= 0)
        return;
    size_t len = dhcp_answer(&s->answers, frame, (size_t)n, out);
    if (len)
        (void)!write(fd, out, len); /* a lost answer is asked for again */
}

/* Keeps everything but UDP to port 67 in the kernel: the guest's other traffic must not wake us. */
static int filter(int fd)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12), /* EtherType */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x0800, 0, 6),
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 23), /* protocol */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 17, 0, 4),
        BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 14), /* length of the IP header */
        BPF_STMT(BPF_LD | BPF_H | BPF_IND, 16),  /* destination port */
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 67, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 2048),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
}

/* A packet socket on the interface, whose MAC is returned: the server's. Frames that the host sends there are not ours.
 */
static int open_socket(const char *interface, uint8_t mac[6])
{
    struct sockaddr_ll at = {
        .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = (int)if_nametoindex(interface)};
    struct ifreq request = {0};
    int one = 1;

    if (!at.sll_ifindex)
        return -errno;
    /* Protocol 0 at first: nothing arrives before the filter is in place. */
    _cleanup_close_ int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    strncpy(request.ifr_name, interface, IFNAMSIZ - 1);
    if (fd < 0 || ioctl(fd, SIOCGIFHWADDR, &request) < 0 || filter(fd) < 0)
        return -errno;
    (void)setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
        return -errno;
    memcpy(mac, request.ifr_hwaddr.sa_data, 6);
    return TAKE_FD(fd);
}

static bool parse_address(const char *text, uint32_t *ret)
{
    struct in_addr a;

    if (!text || inet_pton(AF_INET, text, &a) != 1)
        return false;
    *ret = ntohl(a.s_addr);
    return true;
}

int dhcp_server_start(struct loop *loop, const struct dhcp_config *config, struct dhcp_server **ret,
                      struct gw_error *err)
{
    struct dhcp_server *s = xnew(struct dhcp_server);
    struct dhcp_answers *a = &s->answers;

    if (!dhcp_parse_mac(config->mac, a->guest_mac) || !parse_address(config->address, &a->address) ||
        !parse_address(config->gateway, &a->gateway)) {
        free(s);
        return gw_error_set(err, GW_INVALID, "DHCP: mac, address and gateway are needed");
    }
    a->prefix_len = config->prefix_len;
    a->mtu = config->mtu;
    for (size_t i = 0; i < config->dns.len && a->n_dns < DHCP_DNS_MAX; i++)
        a->n_dns += parse_address(config->dns.items[i], &a->dns[a->n_dns]);
    strncpy(s->hostname, config->hostname ? config->hostname : "", sizeof(s->hostname) - 1);
    strncpy(s->search, config->search ? config->search : "", sizeof(s->search) - 1);
    a->hostname = s->hostname;
    a->search = s->search;
    int fd = open_socket(config->interface, a->server_mac);
    if (fd < 0) {
        free(s);
        return gw_error_errno(err, fd, "DHCP on %s", config->interface);
    }
    loop_add(loop, fd, POLLIN, on_frame, s);
    *ret = s;
    return 0;
}
