#include "agent/network/links.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

static int on_link(const struct nlmsghdr *answer, void *data)
{
    const struct ifinfomsg *info = mnl_nlmsg_get_payload(answer);
    const struct nlattr *at[IFLA_MTU + 1] = {0};
    struct link_info *ret = data;

    netlink_attributes(answer, sizeof(*info), at, ARRAY_SIZE(at));
    ret->index = (unsigned)info->ifi_index;
    ret->up = info->ifi_flags & IFF_UP;
    ret->mtu = at[IFLA_MTU] ? (int)mnl_attr_get_u32(at[IFLA_MTU]) : 0;
    return MNL_CB_OK;
}

int link_find(struct netlink *nl, const char *name, struct link_info *ret, struct gw_error *err)
{
    struct ifinfomsg *info;
    struct link_info found = {0};
    struct nlmsghdr *request = netlink_request(nl, RTM_GETLINK, 0, sizeof(*info), (void **)&info);

    mnl_attr_put_strz(request, IFLA_IFNAME, name);
    int r = netlink_get(nl, request, on_link, &found);
    if (r < 0)
        return gw_error_errno(err, r, "cannot find network device %s", name);
    *ret = found;
    return 0;
}

static int on_name(const struct nlmsghdr *answer, void *data)
{
    const struct nlattr *at[IFLA_MTU + 1] = {0};
    struct {
        char *name;
        int mtu;
    } *ret = data;

    netlink_attributes(answer, sizeof(struct ifinfomsg), at, ARRAY_SIZE(at));
    if (at[IFLA_IFNAME])
        snprintf(ret->name, IF_NAMESIZE, "%s", mnl_attr_get_str(at[IFLA_IFNAME]));
    ret->mtu = at[IFLA_MTU] ? (int)mnl_attr_get_u32(at[IFLA_MTU]) : 0;
    return MNL_CB_OK;
}

int link_name(struct netlink *nl, unsigned index, char *buf, int *ret_mtu, struct gw_error *err)
{
    struct ifinfomsg *info;
    struct {
        char *name;
        int mtu;
    } found = {.name = buf};
    struct nlmsghdr *request = netlink_request(nl, RTM_GETLINK, 0, sizeof(*info), (void **)&info);

    info->ifi_index = (int)index;
    int r = netlink_get(nl, request, on_name, &found);
    if (r < 0)
        return gw_error_errno(err, r, "cannot find network device %u", index);
    *ret_mtu = found.mtu;
    return 0;
}

struct name_list {
    const char *prefix;
    char **names;
    size_t n;
};

static int on_listed(const struct nlmsghdr *answer, void *data)
{
    const struct nlattr *at[IFLA_IFNAME + 1] = {0};
    struct name_list *list = data;

    netlink_attributes(answer, sizeof(struct ifinfomsg), at, ARRAY_SIZE(at));
    if (!at[IFLA_IFNAME] || !str_starts(mnl_attr_get_str(at[IFLA_IFNAME]), list->prefix))
        return MNL_CB_OK;
    list->names = xrealloc(list->names, (list->n + 2) * sizeof(*list->names));
    list->names[list->n++] = xstrdup(mnl_attr_get_str(at[IFLA_IFNAME]));
    list->names[list->n] = NULL;
    return MNL_CB_OK;
}

int link_list(struct netlink *nl, const char *prefix, char ***ret, struct gw_error *err)
{
    struct ifinfomsg *info;
    struct name_list list = {.prefix = prefix, .names = xnew(char *)};
    struct nlmsghdr *request = netlink_request(nl, RTM_GETLINK, 0, sizeof(*info), (void **)&info);

    int r = netlink_dump(nl, request, on_listed, &list);
    *ret = list.names;
    return r < 0 ? gw_error_errno(err, r, "cannot list network devices") : 0;
}

/* What both ends of a pair have in common. */
static void put_veth_end(struct nlmsghdr *request, struct ifinfomsg *info, const char *name, const uint8_t mac[6],
                         int mtu)
{
    info->ifi_flags = IFF_NOARP;
    info->ifi_change = IFF_NOARP;
    mnl_attr_put_strz(request, IFLA_IFNAME, name);
    mnl_attr_put(request, IFLA_ADDRESS, 6, mac);
    mnl_attr_put_u32(request, IFLA_MTU, (uint32_t)mtu);
}

int link_add_veth(struct netlink *nl, const char *name, const char *peer_name, int netns_fd, const uint8_t mac[6],
                  int mtu, struct gw_error *err)
{
    struct ifinfomsg *info;
    struct nlmsghdr *request =
        netlink_request(nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(*info), (void **)&info);

    put_veth_end(request, info, name, mac, mtu);
    struct nlattr *link = mnl_attr_nest_start(request, IFLA_LINKINFO);
    mnl_attr_put_str(request, IFLA_INFO_KIND, "veth");
    struct nlattr *data = mnl_attr_nest_start(request, IFLA_INFO_DATA);
    struct nlattr *peer = mnl_attr_nest_start(request, VETH_INFO_PEER);
    struct ifinfomsg *peer_info = mnl_nlmsg_put_extra_header(request, sizeof(*peer_info));
    put_veth_end(request, peer_info, peer_name, mac, mtu);
    mnl_attr_put_u32(request, IFLA_NET_NS_FD, (uint32_t)netns_fd);
    mnl_attr_nest_end(request, peer);
    mnl_attr_nest_end(request, data);
    mnl_attr_nest_end(request, link);
    int r = netlink_talk(nl, request);
    return r < 0 ? gw_error_errno(err, r, "cannot create veth pair %s", name) : 0;
}

int link_add_vxlan(struct netlink *nl, const char *name, uint16_t udp_port, int mtu, struct gw_error *err)
{
    struct ifinfomsg *info;
    struct nlmsghdr *request =
        netlink_request(nl, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(*info), (void **)&info);

    mnl_attr_put_strz(request, IFLA_IFNAME, name);
    mnl_attr_put_u32(request, IFLA_MTU, (uint32_t)mtu);
    struct nlattr *link = mnl_attr_nest_start(request, IFLA_LINKINFO);
    mnl_attr_put_str(request, IFLA_INFO_KIND, "vxlan");
    struct nlattr *data = mnl_attr_nest_start(request, IFLA_INFO_DATA);
    mnl_attr_put_u8(request, IFLA_VXLAN_COLLECT_METADATA, 1);
    mnl_attr_put(request, IFLA_VXLAN_GPE, 0, NULL);
    mnl_attr_put_u8(request, IFLA_VXLAN_LEARNING, 0);
    mnl_attr_put_u16(request, IFLA_VXLAN_PORT, htons(udp_port));
    mnl_attr_nest_end(request, data);
    mnl_attr_nest_end(request, link);
    int r = netlink_talk(nl, request);
    return r < 0 ? gw_error_errno(err, r, "cannot create VXLAN device %s", name) : 0;
}

int link_up(struct netlink *nl, unsigned index, const uint8_t *mac, int mtu, struct gw_error *err)
{
    struct ifinfomsg *info;
    struct nlmsghdr *request = netlink_request(nl, RTM_NEWLINK, 0, sizeof(*info), (void **)&info);

    info->ifi_index = (int)index;
    info->ifi_flags = IFF_UP;
    info->ifi_change = IFF_UP;
    if (mac)
        mnl_attr_put(request, IFLA_ADDRESS, 6, mac);
    if (mtu)
        mnl_attr_put_u32(request, IFLA_MTU, (uint32_t)mtu);
    int r = netlink_talk(nl, request);
    return r < 0 ? gw_error_errno(err, r, "cannot set network device %u up", index) : 0;
}

int link_delete(struct netlink *nl, const char *name, struct gw_error *err)
{
    struct ifinfomsg *info;
    struct nlmsghdr *request = netlink_request(nl, RTM_DELLINK, 0, sizeof(*info), (void **)&info);

    mnl_attr_put_strz(request, IFLA_IFNAME, name);
    int r = netlink_talk(nl, request);
    return r < 0 && r != -ENODEV ? gw_error_errno(err, r, "cannot delete network device %s", name) : 0;
}

int link_add_address(struct netlink *nl, unsigned index, uint32_t address, uint8_t len, struct gw_error *err)
{
    struct ifaddrmsg *info;
    char text[IPV4_TEXT];
    struct nlmsghdr *request =
        netlink_request(nl, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*info), (void **)&info);

    info->ifa_family = AF_INET;
    info->ifa_prefixlen = len;
    info->ifa_index = index;
    netlink_put_address(request, IFA_LOCAL, address);
    netlink_put_address(request, IFA_ADDRESS, address);
    int r = netlink_talk(nl, request);
    return r < 0 ? gw_error_errno(err, r, "cannot give a device the address %s", ipv4_format(address, text)) : 0;
}

struct address_search {
    uint32_t address;
    unsigned index;
    struct ipv4_cidr subnet;
};

static int on_address(const struct nlmsghdr *answer, void *data)
{
    const struct ifaddrmsg *info = mnl_nlmsg_get_payload(answer);
    const struct nlattr *at[IFA_LOCAL + 1] = {0};
    struct address_search *search = data;

    netlink_attributes(answer, sizeof(*info), at, ARRAY_SIZE(at));
    if (info->ifa_family != AF_INET || netlink_address(at[IFA_LOCAL]) != search->address)
        return MNL_CB_OK;
    search->index = info->ifa_index;
    search->subnet = (struct ipv4_cidr){search->address & ipv4_mask(info->ifa_prefixlen), info->ifa_prefixlen};
    return MNL_CB_OK;
}

int link_with_address(struct netlink *nl, uint32_t address, unsigned *ret_index, struct ipv4_cidr *ret_subnet,
                      struct gw_error *err)
{
    struct address_search search = {.address = address};
    struct ifaddrmsg *info;
    char text[IPV4_TEXT];
    struct nlmsghdr *request = netlink_request(nl, RTM_GETADDR, 0, sizeof(*info), (void **)&info);

    info->ifa_family = AF_INET;
    int r = netlink_dump(nl, request, on_address, &search);
    if (r == 0 && !search.index)
        r = -EADDRNOTAVAIL;
    if (r < 0)
        return gw_error_errno(err, r, "no network device of this node has its address %s", ipv4_format(address, text));
    *ret_index = search.index;
    *ret_subnet = search.subnet;
    return 0;
}

int neighbour_put(struct netlink *nl, unsigned index, uint32_t address, const uint8_t mac[6], struct gw_error *err)
{
    struct ndmsg *info;
    char text[IPV4_TEXT];
    struct nlmsghdr *request =
        netlink_request(nl, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*info), (void **)&info);

    info->ndm_family = AF_INET;
    info->ndm_ifindex = (int)index;
    info->ndm_state = NUD_PERMANENT;
    netlink_put_address(request, NDA_DST, address);
    mnl_attr_put(request, NDA_LLADDR, 6, mac);
    int r = netlink_talk(nl, request);
    return r < 0 ? gw_error_errno(err, r, "cannot set the neighbour %s", ipv4_format(address, text)) : 0;
}
