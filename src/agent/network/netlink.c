#include "agent/network/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "base/alloc.h"

#define ANSWER_SIZE 32768 /* what the kernel fills at most per read of a dump */
#define REQUEST_SIZE 4096

struct netlink {
    struct mnl_socket *socket;
    uint32_t seq;
    char request[REQUEST_SIZE];
    char answer[ANSWER_SIZE];
};

int netlink_open(struct netlink **ret, struct gw_error *err)
{
    _cleanup_netlink_ struct netlink *nl = xnew(struct netlink);

    nl->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    if (!nl->socket || mnl_socket_bind(nl->socket, 0, MNL_SOCKET_AUTOPID) < 0)
        return gw_error_errno(err, errno, "cannot open an rtnetlink socket");
    *ret = TAKE_PTR(nl);
    return 0;
}

struct netlink *netlink_close(struct netlink *nl)
{
    if (nl && nl->socket)
        mnl_socket_close(nl->socket);
    free(nl);
    return NULL;
}

struct nlmsghdr *netlink_request(struct netlink *nl, uint16_t type, uint16_t flags, size_t size, void **ret_header)
{
    struct nlmsghdr *request = mnl_nlmsg_put_header(nl->request);

    request->nlmsg_type = type;
    request->nlmsg_flags = NLM_F_REQUEST | flags;
    request->nlmsg_seq = ++nl->seq;
    *ret_header = mnl_nlmsg_put_extra_header(request, size);
    return request;
}

/* Reads answers to the request with the current sequence number until its end. An answer to an earlier request, one
 * whose reader gave up, is skipped (libmnl reports it as EPROTO). */
static int receive(struct netlink *nl, mnl_cb_t fn, void *data)
{
    unsigned port = mnl_socket_get_portid(nl->socket);

    for (;;) {
        ssize_t len = mnl_socket_recvfrom(nl->socket, nl->answer, sizeof(nl->answer));
        if (len < 0 && errno == EINTR)
            continue;
        if (len < 0)
            return -errno;
        int r = mnl_cb_run(nl->answer, (size_t)len, nl->seq, port, fn, data);
        if (r == MNL_CB_ERROR && errno == EPROTO)
            continue;
        if (r <= MNL_CB_STOP)
            return r == MNL_CB_ERROR ? -errno : 0;
    }
}

static int exchange(struct netlink *nl, struct nlmsghdr *request, mnl_cb_t fn, void *data)
{
    if (mnl_socket_sendto(nl->socket, request, request->nlmsg_len) < 0)
        return -errno;
    return receive(nl, fn, data);
}

int netlink_talk(struct netlink *nl, struct nlmsghdr *request)
{
    request->nlmsg_flags |= NLM_F_ACK;
    return exchange(nl, request, NULL, NULL);
}

int netlink_dump(struct netlink *nl, struct nlmsghdr *request, mnl_cb_t fn, void *data)
{
    request->nlmsg_flags |= NLM_F_DUMP;
    return exchange(nl, request, fn, data);
}

int netlink_get(struct netlink *nl, struct nlmsghdr *request, mnl_cb_t fn, void *data)
{
    request->nlmsg_flags |= NLM_F_ACK;
    return exchange(nl, request, fn, data);
}

void netlink_put_address(struct nlmsghdr *request, uint16_t type, uint32_t address)
{
    mnl_attr_put_u32(request, type, htonl(address));
}

void netlink_attributes(const struct nlmsghdr *answer, size_t size, const struct nlattr **data, uint16_t n)
{
    const struct nlattr *attribute;

    mnl_attr_for_each(attribute, answer, size)
    {
        uint16_t type = mnl_attr_get_type(attribute);
        if (type < n)
            data[type] = attribute;
    }
}

uint32_t netlink_address(const struct nlattr *attribute)
{
    return attribute && mnl_attr_get_payload_len(attribute) == 4 ? ntohl(mnl_attr_get_u32(attribute)) : 0;
}
