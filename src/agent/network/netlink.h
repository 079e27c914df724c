/* rtnetlink over libmnl: one socket, requests that are acknowledged, dumps. Synchronous: the kernel answers at once. */
#pragma once

#include <libmnl/libmnl.h>
#include <stdint.h>

#include "agent/network/ipv4.h"
#include "base/cleanup.h"
#include "base/error.h"

struct netlink;

/* A socket in the calling thread's network namespace, in which it stays. */
int netlink_open(struct netlink **ret, struct gw_error *err);
struct netlink *netlink_close(struct netlink *nl);

DEFINE_CLEANUP(struct netlink *, netlink_close)
#define _cleanup_netlink_ _cleanup_(netlink_closep)

/* A request under construction, in the socket's own buffer: one at a time. The fixed header of `size` bytes that
 * follows is zeroed and returned through ret_header. flags are added to NLM_F_REQUEST. */
struct nlmsghdr *netlink_request(struct netlink *nl, uint16_t type, uint16_t flags, size_t size, void **ret_header);

/* Sends the request and waits for its acknowledgement: 0, or the kernel's negative errno. */
int netlink_talk(struct netlink *nl, struct nlmsghdr *request);

/* Sends a dump request and calls fn for each answer; fn returns MNL_CB_OK, or MNL_CB_ERROR with errno set. */
int netlink_dump(struct netlink *nl, struct nlmsghdr *request, mnl_cb_t fn, void *data);

/* Sends a request for one object (RTM_GET...) and calls fn for the answer. */
int netlink_get(struct netlink *nl, struct nlmsghdr *request, mnl_cb_t fn, void *data);

/* An IPv4 address attribute. */
void netlink_put_address(struct nlmsghdr *request, uint16_t type, uint32_t address);

/* Fills data, indexed by attribute type (n entries, zeroed by the caller), from the attributes behind a header of size
 * bytes. */
void netlink_attributes(const struct nlmsghdr *answer, size_t size, const struct nlattr **data, uint16_t n);
uint32_t netlink_address(const struct nlattr *attribute);
