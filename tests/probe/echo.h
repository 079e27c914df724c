/* A TCP echo protocol that finds every lost, repeated or changed byte: fixed records with a session number, a sequence
 * number and a pattern made of both. The serving side checks each record before it sends it back, the driving side
 * checks that what comes back is what it sent, in order. A session has the numbers of both, so it survives nothing that
 * TCP would not: one missing byte shifts the records and is seen at once. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define ECHO_RECORD 64 /* bytes */
#define ECHO_PORT 7001

struct echo_stats {
    atomic_uint_fast64_t sent;   /* records */
    atomic_uint_fast64_t echoed; /* records that came back right, or on the serving side were right and sent back */
    atomic_uint_fast64_t bad;    /* records with a wrong byte or out of sequence: at most one, it ends the session */
    atomic_uint_fast64_t gap_us; /* longest time between two records received */
    atomic_int error;            /* 0 while open or ended on request, else errno */
    atomic_bool ended;
};

/* Serves one connection until it ends; closes fd. */
void echo_serve(int fd, struct echo_stats *stats);

/* Sends a record each interval_ms and checks what comes back until *stop; then waits up to 10 s for the records under
 * way. Closes fd. `session` should be unique. */
void echo_drive(int fd, uint64_t session, unsigned interval_ms, struct echo_stats *stats, const atomic_bool *stop);

/* Connects; returns the socket or a negative errno. Numeric IPv4 addresses only. */
int echo_connect(const char *address, int port);

/* A listening TCP socket on all addresses, or a negative errno. */
int echo_listen(int port);

uint64_t echo_now_us(void);
