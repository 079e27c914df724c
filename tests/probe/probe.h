/* The host's side of the test guest's services: one subcommand each, which ends on SIGINT, SIGTERM or after --seconds and
 * then prints its findings as one line of JSON. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

struct probe_options {
    const char *address; /* peer, or where to listen */
    int port;
    unsigned interval_ms;
    unsigned sessions;
    unsigned seconds;    /* 0 = until a signal */
    const char *to;      /* the proxy's other side */
    int to_port;
    unsigned delay_ms;
    unsigned rate_kib;   /* KiB per second, 0 = unlimited */
};

/* Set by the signals and by the end of --seconds. */
extern atomic_bool probe_stop;

int probe_udp(const struct probe_options *o);    /* sends to a UDP echo service, waits for what comes back */
int probe_ticks(const struct probe_options *o);  /* receives ticks */
int probe_echo(const struct probe_options *o);   /* drives TCP echo sessions */
int probe_serve(const struct probe_options *o);  /* serves TCP echo sessions */
int probe_proxy(const struct probe_options *o);  /* a TCP proxy with delay, rate, stalls and cuts, commanded on stdin */
