#include "agent/network/routing.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/lwtunnel.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

#include "base/alloc.h"

bool route_same(const struct route *a, const struct route *b)
{
    return ipv4_same(a->to, b->to) && a->table == b->table && a->kind == b->kind && a->link == b->link &&
           a->gateway == b->gateway && a->source == b->source && a->tunnel_source == b->tunnel_source;
}

/* The encapsulation of one route; with it a move of an address is one route here too, and needs no forwarding database.
 */
static void put_tunnel(struct nlmsghdr *request, const struct route *r)
{
    mnl_attr_put_u16(request, RTA_ENCAP_TYPE, LWTUNNEL_ENCAP_IP);
    struct nlattr *encap = mnl_attr_nest_start(request, RTA_ENCAP);
    mnl_attr_put_u64(request, LWTUNNEL_IP_ID, htobe64(ROUTE_TUNNEL_ID));
    netlink_put_address(request, LWTUNNEL_IP_DST, r->gateway);
    netlink_put_address(request, LWTUNNEL_IP_SRC, r->tunnel_source);
    mnl_attr_put_u8(request, LWTUNNEL_IP_TTL, 64);
    mnl_attr_nest_end(request, encap);
}

static struct nlmsghdr *route_request(struct netlink *nl, uint16_t type, uint16_t flags, const struct route *r)
{
    struct rtmsg *info;
    struct nlmsghdr *request = netlink_request(nl, type, flags, sizeof(*info), (void **)&info);

    info->rtm_family = AF_INET;
    info->rtm_dst_len = r->to.len;
    info->rtm_protocol = ROUTE_PROTOCOL;
    info->rtm_type = r->kind == ROUTE_BLACKHOLE ? RTN_BLACKHOLE : RTN_UNICAST;
    info->rtm_scope = r->kind == ROUTE_LINK ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
    netlink_put_address(request, RTA_DST, r->to.address);
    mnl_attr_put_u32(request, RTA_TABLE, r->table);
    if (r->link)
        mnl_attr_put_u32(request, RTA_OIF, r->link);
    if (r->source)
        netlink_put_address(request, RTA_PREFSRC, r->source);
    if (r->kind == ROUTE_VIA || r->kind == ROUTE_TUNNEL) {
        info->rtm_flags = RTNH_F_ONLINK;
        netlink_put_address(request, RTA_GATEWAY, r->gateway);
    }
    if (r->kind == ROUTE_TUNNEL)
        put_tunnel(request, r);
    return request;
}

int route_put(struct netlink *nl, const struct route *r, struct gw_error *err)
{
    char text[IPV4_TEXT];
    int n = netlink_talk(nl, route_request(nl, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, r));

    return n < 0 ? gw_error_errno(err, n, "cannot set the route to %s", ipv4_format_cidr(r->to, text)) : 0;
}

int route_delete(struct netlink *nl, const struct route *r, struct gw_error *err)
{
    char text[IPV4_TEXT];
    int n = netlink_talk(nl, route_request(nl, RTM_DELROUTE, 0, r));

    return n < 0 && n != -ESRCH && n != -ENODEV
               ? gw_error_errno(err, n, "cannot delete the route to %s", ipv4_format_cidr(r->to, text))
               : 0;
}

static uint32_t tunnel_source(const struct nlattr *encap)
{
    const struct nlattr *attribute;

    mnl_attr_for_each_nested(attribute, encap) if (mnl_attr_get_type(attribute) ==
                                                   LWTUNNEL_IP_SRC) return netlink_address(attribute);
    return 0;
}

static enum route_kind route_kind(const struct rtmsg *info, const struct nlattr **at)
{
    if (info->rtm_type == RTN_BLACKHOLE)
        return ROUTE_BLACKHOLE;
    if (at[RTA_ENCAP])
        return ROUTE_TUNNEL;
    return at[RTA_GATEWAY] ? ROUTE_VIA : ROUTE_LINK;
}

static int on_route(const struct nlmsghdr *answer, void *data)
{
    const struct rtmsg *info = mnl_nlmsg_get_payload(answer);
    const struct nlattr *at[RTA_ENCAP + 1] = {0};

    netlink_attributes(answer, sizeof(*info), at, ARRAY_SIZE(at));
    if (info->rtm_family != AF_INET || info->rtm_protocol != ROUTE_PROTOCOL)
        return MNL_CB_OK;
    route_vec_push(data, (struct route){
                             .to = {netlink_address(at[RTA_DST]), info->rtm_dst_len},
                             .table = at[RTA_TABLE] ? mnl_attr_get_u32(at[RTA_TABLE]) : info->rtm_table,
                             .kind = route_kind(info, at),
                             .link = at[RTA_OIF] ? mnl_attr_get_u32(at[RTA_OIF]) : 0,
                             .gateway = netlink_address(at[RTA_GATEWAY]),
                             .source = netlink_address(at[RTA_PREFSRC]),
                             .tunnel_source = at[RTA_ENCAP] ? tunnel_source(at[RTA_ENCAP]) : 0,
                         });
    return MNL_CB_OK;
}

int route_list(struct netlink *nl, struct route_vec *ret, struct gw_error *err)
{
    struct rtmsg *info;
    struct nlmsghdr *request = netlink_request(nl, RTM_GETROUTE, 0, sizeof(*info), (void **)&info);

    info->rtm_family = AF_INET;
    int r = netlink_dump(nl, request, on_route, ret);
    return r < 0 ? gw_error_errno(err, r, "cannot list routes") : 0;
}

struct rule {
    char device[IF_NAMESIZE];
    struct ipv4_cidr to;
};

VEC_DEFINE(rule_vec, struct rule);

static int rule_talk(struct netlink *nl, uint16_t type, uint16_t flags, const struct rule *rule)
{
    struct fib_rule_hdr *info;
    struct nlmsghdr *request = netlink_request(nl, type, flags, sizeof(*info), (void **)&info);

    info->family = AF_INET;
    info->dst_len = rule->to.len;
    info->action = FR_ACT_TO_TBL;
    mnl_attr_put_u32(request, FRA_TABLE, ROUTE_TABLE_ARRIVING);
    mnl_attr_put_u32(request, FRA_PRIORITY, ROUTE_RULE_PRIORITY);
    mnl_attr_put_u8(request, FRA_PROTOCOL, ROUTE_PROTOCOL);
    mnl_attr_put_strz(request, FRA_IIFNAME, rule->device);
    netlink_put_address(request, FRA_DST, rule->to.address);
    return netlink_talk(nl, request);
}

int rule_put(struct netlink *nl, const char *device, struct ipv4_cidr cidr, struct gw_error *err)
{
    struct rule rule = {.to = cidr};

    snprintf(rule.device, sizeof(rule.device), "%s", device);
    int r = rule_talk(nl, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, &rule);
    return r < 0 && r != -EEXIST ? gw_error_errno(err, r, "cannot set the routing rule for device %s", device) : 0;
}

static int on_rule(const struct nlmsghdr *answer, void *data)
{
    const struct fib_rule_hdr *info = mnl_nlmsg_get_payload(answer);
    const struct nlattr *at[FRA_PROTOCOL + 1] = {0};
    struct rule rule = {0};

    netlink_attributes(answer, sizeof(*info), at, ARRAY_SIZE(at));
    if (!at[FRA_PROTOCOL] || mnl_attr_get_u8(at[FRA_PROTOCOL]) != ROUTE_PROTOCOL || !at[FRA_IIFNAME])
        return MNL_CB_OK;
    snprintf(rule.device, sizeof(rule.device), "%s", mnl_attr_get_str(at[FRA_IIFNAME]));
    rule.to = (struct ipv4_cidr){netlink_address(at[FRA_DST]), info->dst_len};
    rule_vec_push(data, rule);
    return MNL_CB_OK;
}

static bool is_kept(const struct rule *rule, const char *const *keep)
{
    for (; *keep; keep++)
        if (streq(rule->device, *keep))
            return true;
    return false;
}

int rule_prune(struct netlink *nl, const char *const *keep, struct gw_error *err)
{
    struct fib_rule_hdr *info;
    struct rule_vec rules = {0};
    struct nlmsghdr *request = netlink_request(nl, RTM_GETRULE, 0, sizeof(*info), (void **)&info);

    info->family = AF_INET;
    int r = netlink_dump(nl, request, on_rule, &rules);
    VEC_EACH(&rules, rule)
        if (r == 0 && !is_kept(rule, keep))
            r = rule_talk(nl, RTM_DELRULE, 0, rule);
    rule_vec_done(&rules);
    return r < 0 ? gw_error_errno(err, r, "cannot remove stale routing rules") : 0;
}
