/* UDP ticks: numbered datagrams at a fixed interval. Whoever receives them sees blackouts as gaps between arrivals. */
#pragma once

#include <stdint.h>

#define UDP_TICK_MAGIC 0x6b636974u /* "tick" */

struct udp_tick {
    uint32_t magic;
    uint32_t pad;
    uint64_t sequence;
    uint64_t sent_us; /* the sender's monotonic clock */
};
