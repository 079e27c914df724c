/* Blackouts as a network sees them. Arrivals of numbered datagrams are noted; a blackout is the longest time between two
 * of them, of which one interval is normal. In `udp` the datagrams make a round trip through the guest's echo service;
 * in `ticks` the guest sends them by its own clock, which under TCG stands still while it is stopped. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "echo.h"
#include "probe.h"
#include "udp.h"

#define DRAIN_US 1000000

struct arrivals {
    uint64_t received, duplicates, reordered;
    uint64_t first, highest;      /* sequence numbers */
    uint64_t last_us, gap_us, gap_after; /* the longest gap, and the number that came before it */
    uint64_t rtt_us_max;
    unsigned char *seen;          /* one bit per sequence number since the first */
    size_t seen_bytes;
};

static bool seen_before(struct arrivals *a, uint64_t number)
{
    size_t byte = number / 8;
    unsigned char bit = (unsigned char)(1 << (number % 8));

    if (byte >= a->seen_bytes) {
        size_t bytes = (byte + 1) * 2;
        a->seen = realloc(a->seen, bytes);
        if (!a->seen)
            abort();
        memset(a->seen + a->seen_bytes, 0, bytes - a->seen_bytes);
        a->seen_bytes = bytes;
    }
    bool before = a->seen[byte] & bit;
    a->seen[byte] |= bit;
    return before;
}

static void arrived(struct arrivals *a, const struct udp_tick *tick)
{
    uint64_t now = echo_now_us();

    if (a->received == 0)
        a->first = a->highest = tick->sequence;
    if (tick->sequence < a->first || seen_before(a, tick->sequence - a->first)) {
        a->duplicates++;
        return;
    }
    if (a->received > 0 && now - a->last_us > a->gap_us) {
        a->gap_us = now - a->last_us;
        a->gap_after = a->highest;
    }
    a->last_us = now;
    a->received++;
    if (tick->sequence < a->highest)
        a->reordered++;
    else
        a->highest = tick->sequence;
}

/* expected: how many should have come, 0 = as many as the numbers say. */
static int report(const struct arrivals *a, uint64_t expected)
{
    if (expected == 0 && a->received > 0)
        expected = a->highest - a->first + 1;
    printf("{\"received\": %llu, \"lost\": %llu, \"duplicates\": %llu, \"reordered\": %llu, \"gap_ms\": %.1f, "
           "\"gap_after\": %llu, \"rtt_ms_max\": %.1f}\n",
           (unsigned long long)a->received, (unsigned long long)(expected - a->received),
           (unsigned long long)a->duplicates, (unsigned long long)a->reordered, (double)a->gap_us / 1000,
           (unsigned long long)a->gap_after, (double)a->rtt_us_max / 1000);
    free(a->seen);
    return a->received > 0 ? 0 : 1;
}

static bool receive(int fd, struct udp_tick *tick)
{
    return recv(fd, tick, sizeof(*tick), MSG_DONTWAIT) == sizeof(*tick) && tick->magic == UDP_TICK_MAGIC;
}

static struct sockaddr_in address_of(const struct probe_options *o)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_addr.s_addr = inet_addr(o->address), .sin_port = htons((uint16_t)o->port)};
}

int probe_udp(const struct probe_options *o)
{
    struct sockaddr_in to = address_of(o);
    struct udp_tick tick = {.magic = UDP_TICK_MAGIC}, back;
    struct arrivals a = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    uint64_t due = echo_now_us(), sent = 0, end = 0;

    while (end == 0 || (echo_now_us() < end && a.received < sent)) {
        uint64_t now = echo_now_us();
        if (probe_stop && end == 0)
            end = now + DRAIN_US;
        if (end == 0 && now >= due) {
            tick.sequence = sent++;
            tick.sent_us = now;
            (void)sendto(fd, &tick, sizeof(tick), 0, (struct sockaddr *)&to, sizeof(to));
            due += (uint64_t)o->interval_ms * 1000;
        }
        struct pollfd p = {.fd = fd, .events = POLLIN};
        poll(&p, 1, end ? 10 : due <= now ? 0 : (int)((due - now + 999) / 1000));
        while (receive(fd, &back)) {
            arrived(&a, &back);
            if (echo_now_us() - back.sent_us > a.rtt_us_max)
                a.rtt_us_max = echo_now_us() - back.sent_us;
        }
    }
    close(fd);
    return report(&a, sent);
}

int probe_ticks(const struct probe_options *o)
{
    struct sockaddr_in at = address_of(o);
    struct udp_tick tick;
    struct arrivals a = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0) {
        fprintf(stderr, "probe: bind %s:%d: %s\n", o->address, o->port, strerror(errno));
        return 1;
    }
    while (!probe_stop) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        poll(&p, 1, 100);
        while (receive(fd, &tick))
            arrived(&a, &tick);
    }
    close(fd);
    return report(&a, 0);
}
