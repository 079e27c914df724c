#include "agent/launcher/dhcp.h"

#include <stdio.h>
#include <string.h>

#define ETHER_HEADER 14
#define UDP_HEADER 8
#define BOOTP_FIXED 236 /* up to the magic cookie */
#define SERVER_PORT 67
#define CLIENT_PORT 68
#define MAGIC 0x63825363u
#define FLAG_BROADCAST 0x8000

enum { DISCOVER = 1, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM };
enum {
    OPT_PAD = 0,
    OPT_MASK = 1,
    OPT_ROUTER = 3,
    OPT_DNS = 6,
    OPT_HOSTNAME = 12,
    OPT_DOMAIN = 15,
    OPT_MTU = 26,
    OPT_REQUESTED = 50,
    OPT_LEASE = 51,
    OPT_TYPE = 53,
    OPT_SERVER = 54,
    OPT_END = 255,
};

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, (uint16_t)(v >> 16));
    put16(p + 2, (uint16_t)v);
}

struct request {
    const uint8_t *bootp; /* at least BOOTP_FIXED + 4 bytes */
    int type;
    uint32_t client;    /* ciaddr: the address it has already, 0 if none */
    uint32_t requested; /* option 50, 0 if absent */
    uint32_t server;    /* option 54, 0 if absent */
};

/* Options are type, length, value; a length beyond the end ends the list. */
static void read_options(const uint8_t *p, size_t len, struct request *r)
{
    size_t at = 0;

    while (at < len && p[at] != OPT_END) {
        if (p[at] == OPT_PAD) {
            at++;
            continue;
        }
        if (at + 2 > len || at + 2 + p[at + 1] > len)
            return;
        const uint8_t *value = p + at + 2;
        if (p[at] == OPT_TYPE && p[at + 1] == 1)
            r->type = *value;
        else if (p[at] == OPT_REQUESTED && p[at + 1] == 4)
            r->requested = get32(value);
        else if (p[at] == OPT_SERVER && p[at + 1] == 4)
            r->server = get32(value);
        at += 2u + p[at + 1];
    }
}

/* The UDP payload of an unfragmented IPv4 packet to the server's port; NULL if the frame is anything else. */
static const uint8_t *udp_payload(const uint8_t *frame, size_t len, size_t *ret_len)
{
    if (len < ETHER_HEADER + 20 || get16(frame + 12) != 0x0800)
        return NULL;
    const uint8_t *ip = frame + ETHER_HEADER;
    size_t header = (size_t)(ip[0] & 15) * 4, total = get16(ip + 2);
    if (ip[0] >> 4 != 4 || header < 20 || total > len - ETHER_HEADER || total < header + UDP_HEADER)
        return NULL;
    if (ip[9] != 17 || (get16(ip + 6) & 0x3fff) != 0)
        return NULL;
    const uint8_t *udp = ip + header;
    size_t udp_len = get16(udp + 4);
    if (get16(udp + 2) != SERVER_PORT || udp_len < UDP_HEADER || udp_len > total - header)
        return NULL;
    *ret_len = udp_len - UDP_HEADER;
    return udp + UDP_HEADER;
}

static bool read_request(const struct dhcp_answers *a, const uint8_t *frame, size_t len, struct request *ret)
{
    size_t n;
    const uint8_t *b = udp_payload(frame, len, &n);

    if (!b || n < BOOTP_FIXED + 4 || b[0] != 1 || b[1] != 1 || b[2] != 6 || get32(b + BOOTP_FIXED) != MAGIC)
        return false;
    if (memcmp(b + 28, a->guest_mac, 6) != 0)
        return false;
    *ret = (struct request){.bootp = b, .client = get32(b + 12)};
    read_options(b + BOOTP_FIXED + 4, n - BOOTP_FIXED - 4, ret);
    return ret->type != 0;
}

/* What to send, 0 for nothing. A request for another address is refused at once, so that a guest that was somebody else
 * before (a copied disk) does not wait for its old lease. */
static int reply_type(const struct dhcp_answers *a, const struct request *r)
{
    uint32_t wanted = r->requested ? r->requested : r->client;

    if (r->server && r->server != a->gateway)
        return 0;
    if (r->type == DISCOVER)
        return OFFER;
    if (r->type == REQUEST)
        return wanted == a->address ? ACK : NAK;
    return r->type == INFORM ? ACK : 0;
}

struct options {
    uint8_t *at;
};

static void option(struct options *o, uint8_t type, const void *value, size_t len)
{
    *o->at++ = type;
    *o->at++ = (uint8_t)len;
    memcpy(o->at, value, len);
    o->at += len;
}

static void option32(struct options *o, uint8_t type, uint32_t value)
{
    uint8_t bytes[4];

    put32(bytes, value);
    option(o, type, bytes, 4);
}

static void option_text(struct options *o, uint8_t type, const char *text, size_t max)
{
    if (text && *text)
        option(o, type, text, strnlen(text, max));
}

static void write_settings(const struct dhcp_answers *a, struct options *o)
{
    uint8_t dns[4 * DHCP_DNS_MAX], mtu[2];

    option32(o, OPT_MASK, a->prefix_len > 0 ? ~0u << (32 - a->prefix_len) : 0);
    option32(o, OPT_ROUTER, a->gateway);
    for (size_t i = 0; i < a->n_dns; i++)
        put32(dns + 4 * i, a->dns[i]);
    if (a->n_dns)
        option(o, OPT_DNS, dns, 4 * a->n_dns);
    option_text(o, OPT_HOSTNAME, a->hostname, 63);
    option_text(o, OPT_DOMAIN, a->search, 200);
    if (a->mtu >= 576) {
        put16(mtu, (uint16_t)a->mtu);
        option(o, OPT_MTU, mtu, 2);
    }
}

/* Fixed part and options; returns the length. */
static size_t write_bootp(const struct dhcp_answers *a, const struct request *r, int type, uint8_t *b)
{
    struct options o = {b + BOOTP_FIXED + 4};
    uint8_t said = (uint8_t)type;

    memset(b, 0, BOOTP_FIXED + 4);
    b[0] = 2;
    b[1] = 1;
    b[2] = 6;
    memcpy(b + 4, r->bootp + 4, 4);   /* xid */
    memcpy(b + 10, r->bootp + 10, 2); /* flags */
    if (type == ACK)
        memcpy(b + 12, r->bootp + 12, 4); /* ciaddr */
    if (type != NAK && r->type != INFORM)
        put32(b + 16, a->address); /* yiaddr */
    memcpy(b + 28, r->bootp + 28, 16);
    put32(b + BOOTP_FIXED, MAGIC);
    option(&o, OPT_TYPE, &said, 1);
    option32(&o, OPT_SERVER, a->gateway);
    if (type != NAK) {
        if (r->type != INFORM)
            option32(&o, OPT_LEASE, 0xffffffff); /* infinite: RFC 2131, section 3.3 */
        write_settings(a, &o);
    }
    *o.at++ = OPT_END;
    size_t len = (size_t)(o.at - b);
    if (len < 300) { /* BOOTP's least size, which some relays and clients expect */
        memset(b + len, 0, 300 - len);
        len = 300;
    }
    return len;
}

static uint16_t checksum(const uint8_t *p, size_t len)
{
    uint32_t sum = 0;

    for (size_t i = 0; i + 1 < len; i += 2)
        sum += get16(p + i);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

size_t dhcp_answer(const struct dhcp_answers *a, const uint8_t *frame, size_t len, uint8_t *out)
{
    struct request r;

    if (!read_request(a, frame, len, &r))
        return 0;
    int type = reply_type(a, &r);
    if (!type)
        return 0;
    /* RFC 2131, section 4.1: to the client's address if it has one, else by broadcast if it asks for that (and for a
     * refusal), else to its new address, which its interface accepts by the MAC. */
    bool broadcast = type == NAK || (r.client == 0 && (get16(r.bootp + 10) & FLAG_BROADCAST));
    uint32_t to = broadcast ? 0xffffffff : r.client ? r.client : a->address;
    uint8_t *ip = out + ETHER_HEADER, *udp = ip + 20;
    size_t n = write_bootp(a, &r, type, udp + UDP_HEADER);
    memset(out, 0xff, 6);
    if (!broadcast)
        memcpy(out, a->guest_mac, 6);
    memcpy(out + 6, a->server_mac, 6);
    put16(out + 12, 0x0800);
    memset(ip, 0, 20 + UDP_HEADER);
    ip[0] = 0x45;
    put16(ip + 2, (uint16_t)(20 + UDP_HEADER + n));
    ip[8] = 64;
    ip[9] = 17;
    put32(ip + 12, a->gateway);
    put32(ip + 16, to);
    put16(ip + 10, checksum(ip, 20));
    put16(udp, SERVER_PORT);
    put16(udp + 2, CLIENT_PORT);
    put16(udp + 4, (uint16_t)(UDP_HEADER + n)); /* no UDP checksum: allowed for IPv4 */
    return ETHER_HEADER + 20 + UDP_HEADER + n;
}

bool dhcp_parse_mac(const char *text, uint8_t ret[6])
{
    unsigned b[6];
    char rest;

    if (!text || sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%c", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &rest) != 6)
        return false;
    for (int i = 0; i < 6; i++)
        ret[i] = (uint8_t)b[i];
    return true;
}
