/* IPv4 addresses and CIDR blocks as plain values. Addresses are in host byte order, so that they compare and count. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define IPV4_TEXT 20 /* "255.255.255.255/32" and NUL */

struct ipv4_cidr {
    uint32_t address;
    uint8_t len;
};

/* "10.0.2.2". Only the dotted form with four decimal parts. */
bool ipv4_parse(const char *text, uint32_t *ret);
/* "10.0.2.0/24": bits below the prefix must be zero. */
bool ipv4_parse_cidr(const char *text, struct ipv4_cidr *ret);

/* buf holds IPV4_TEXT; both return buf. */
char *ipv4_format(uint32_t address, char *buf);
char *ipv4_format_cidr(struct ipv4_cidr cidr, char *buf);

uint32_t ipv4_mask(uint8_t len);
bool ipv4_contains(struct ipv4_cidr cidr, uint32_t address);
/* The highest address of the block. */
uint32_t ipv4_last(struct ipv4_cidr cidr);

static inline struct ipv4_cidr ipv4_host(uint32_t address)
{
    return (struct ipv4_cidr){address, 32};
}

static inline bool ipv4_same(struct ipv4_cidr a, struct ipv4_cidr b)
{
    return a.address == b.address && a.len == b.len;
}

/* "52:54:00:ab:cd:ef", a unicast address. */
bool mac_parse(const char *text, uint8_t ret[6]);
