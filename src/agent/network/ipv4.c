#include "agent/network/ipv4.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool ipv4_parse(const char *text, uint32_t *ret)
{
    struct in_addr in;

    if (!text || inet_pton(AF_INET, text, &in) != 1)
        return false;
    *ret = ntohl(in.s_addr);
    return true;
}

uint32_t ipv4_mask(uint8_t len)
{
    return len ? UINT32_MAX << (32 - len) : 0;
}

bool ipv4_parse_cidr(const char *text, struct ipv4_cidr *ret)
{
    const char *slash = text ? strchr(text, '/') : NULL;
    char address[IPV4_TEXT];
    struct ipv4_cidr cidr;

    if (!slash || (size_t)(slash - text) >= sizeof(address) || !isdigit((unsigned char)slash[1]))
        return false;
    char *end;
    unsigned long len = strtoul(slash + 1, &end, 10);
    if (*end || end - slash > 3 || len > 32)
        return false;
    memcpy(address, text, (size_t)(slash - text));
    address[slash - text] = '\0';
    if (!ipv4_parse(address, &cidr.address) || cidr.address & ~ipv4_mask((uint8_t)len))
        return false;
    cidr.len = (uint8_t)len;
    *ret = cidr;
    return true;
}

char *ipv4_format(uint32_t address, char *buf)
{
    snprintf(buf, IPV4_TEXT, "%u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
    return buf;
}

char *ipv4_format_cidr(struct ipv4_cidr cidr, char *buf)
{
    ipv4_format(cidr.address, buf);
    snprintf(buf + strlen(buf), IPV4_TEXT - strlen(buf), "/%u", cidr.len);
    return buf;
}

bool ipv4_contains(struct ipv4_cidr cidr, uint32_t address)
{
    return (address & ipv4_mask(cidr.len)) == cidr.address;
}

uint32_t ipv4_last(struct ipv4_cidr cidr)
{
    return cidr.address | ~ipv4_mask(cidr.len);
}

bool mac_parse(const char *text, uint8_t ret[6])
{
    uint8_t mac[6];

    for (int i = 0; i < 6; i++, text += i < 6 ? 3 : 2) {
        if (!text || !isxdigit((unsigned char)text[0]) || !isxdigit((unsigned char)text[1]) ||
            text[2] != (i < 5 ? ':' : '\0'))
            return false;
        mac[i] = (uint8_t)strtoul((char[]){text[0], text[1], 0}, NULL, 16);
    }
    if (mac[0] & 1)
        return false;
    memcpy(ret, mac, 6);
    return true;
}
