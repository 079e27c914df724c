/* DHCP for the one guest behind one interface (RFC 2131, 2132): always the same address, for ever. Because the answer
 * follows from the VM alone, it is the same on every node, and a lease survives a migration without anything being
 * moved.
 *
 * Pure: a frame in, a frame out. Frames come from the guest and are not to be trusted in any byte. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DHCP_FRAME_MAX 1514
#define DHCP_DNS_MAX 3

struct dhcp_answers {
    uint8_t server_mac[6];
    uint8_t guest_mac[6];      /* others get no answer */
    uint32_t address, gateway; /* host byte order; the gateway is the server too */
    int prefix_len;
    int mtu; /* 0: not said */
    uint32_t dns[DHCP_DNS_MAX];
    size_t n_dns;
    const char *hostname; /* NULL: not said; at most 63 characters are */
    const char *search;   /* domain name, or NULL */
};

/* Answers a whole Ethernet frame. Returns the length of the answer in out (DHCP_FRAME_MAX bytes), 0 when none is due.
 */
size_t dhcp_answer(const struct dhcp_answers *a, const uint8_t *frame, size_t len, uint8_t *out);

/* "52:54:00:ab:cd:ef". False if it is none. */
bool dhcp_parse_mac(const char *text, uint8_t ret[6]);
