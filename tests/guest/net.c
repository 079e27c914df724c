/* UDP ticks, and the echo services on TCP and UDP port 7001 (tests/probe/echo.h). */
#include "agent.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../probe/echo.h"
#include "../probe/udp.h"

#define MAX_SESSIONS 8

static struct session {
    char address[20];
    unsigned interval_ms;
    int fd;
    struct echo_stats stats;
} sessions[MAX_SESSIONS];
static size_t n_sessions;
static atomic_bool stop_sessions;
static struct echo_stats served; /* all connections that came in */

static struct ticker {
    struct sockaddr_in to;
    unsigned interval_ms;
    atomic_bool run;
} ticker;

static void *serve_session(void *arg)
{
    echo_serve((int)(intptr_t)arg, &served);
    return NULL;
}

static void *serve_tcp(void *arg)
{
    int listener = echo_listen(ECHO_PORT);

    while (listener >= 0) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        served.sent++;
        spawn(serve_session, (void *)(intptr_t)fd);
    }
    return NULL;
}

static void *serve_udp(void *arg)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(ECHO_PORT)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char buf[2048];

    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
        return NULL;
    for (;;) {
        struct sockaddr_in from;
        socklen_t len = sizeof(from);
        ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);
        if (n > 0)
            (void)sendto(fd, buf, (size_t)n, 0, (struct sockaddr *)&from, len);
    }
    return NULL;
}

void net_serve(void)
{
    spawn(serve_tcp, NULL);
    spawn(serve_udp, NULL);
}

static void *send_ticks(void *arg)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct udp_tick tick = {.magic = UDP_TICK_MAGIC, .sequence = 0};

    while (ticker.run) {
        tick.sent_us = echo_now_us();
        (void)sendto(fd, &tick, sizeof(tick), 0, (struct sockaddr *)&ticker.to, sizeof(ticker.to));
        tick.sequence++;
        usleep(ticker.interval_ms * 1000);
    }
    close(fd);
    return NULL;
}

void tick_start(char **args, FILE *answer)
{
    if (ticker.run) {
        fputs("error already ticking", answer);
        return;
    }
    ticker.to = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(args[0]),
                                     .sin_port = htons((uint16_t)atoi(args[1]))};
    ticker.interval_ms = (unsigned)atoi(args[2]);
    ticker.run = true;
    spawn(send_ticks, NULL);
    fputs("ok", answer);
}

void tick_stop(char **args, FILE *answer)
{
    ticker.run = false;
    fputs("ok", answer);
}

static void *drive_session(void *arg)
{
    struct session *s = arg;

    echo_drive(s->fd, (uint64_t)(s - sessions) + 1000, s->interval_ms, &s->stats, &stop_sessions);
    return NULL;
}

void echo_open(char **args, FILE *answer)
{
    if (n_sessions == MAX_SESSIONS || stop_sessions) {
        fputs("error no more sessions", answer);
        return;
    }
    int fd = echo_connect(args[0], atoi(args[1]));
    if (fd < 0) {
        fprintf(answer, "error connect: %s", strerror(-fd));
        return;
    }
    struct session *s = &sessions[n_sessions++];
    *s = (struct session){.fd = fd, .interval_ms = (unsigned)atoi(args[2])};
    snprintf(s->address, sizeof(s->address), "%s", args[0]);
    spawn(drive_session, s);
    fprintf(answer, "ok session=%zu", n_sessions);
}

static void report(const struct session *s, FILE *answer)
{
    fprintf(answer, " to=%s sent=%llu echoed=%llu bad=%llu gap_ms=%llu state=%s", s->address,
            (unsigned long long)s->stats.sent, (unsigned long long)s->stats.echoed, (unsigned long long)s->stats.bad,
            (unsigned long long)s->stats.gap_us / 1000,
            !s->stats.ended ? "open" : s->stats.error ? strerrorname_np(s->stats.error) : "closed");
}

void echo_status(char **args, FILE *answer)
{
    fprintf(answer, "ok served=%llu records=%llu bad=%llu sessions=%zu", (unsigned long long)served.sent,
            (unsigned long long)served.echoed, (unsigned long long)served.bad, n_sessions);
    for (size_t i = 0; i < n_sessions; i++)
        report(&sessions[i], answer);
}

/* Ends the driven sessions once all their records are back, and says how they went. */
void echo_close(char **args, FILE *answer)
{
    stop_sessions = true;
    for (size_t i = 0; i < n_sessions; i++)
        while (!sessions[i].stats.ended)
            usleep(10000);
    echo_status(args, answer);
    n_sessions = 0;
    stop_sessions = false;
}
