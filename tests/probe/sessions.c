/* TCP echo sessions from the host's side: `echo` opens them to a guest, `serve` takes those that guests open. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "echo.h"
#include "probe.h"

#define MAX_SESSIONS 64

static struct session {
    pthread_t thread;
    int fd;
    unsigned interval_ms;
    struct echo_stats stats;
} sessions[MAX_SESSIONS];
static size_t n_sessions;

/* One object for all sessions: their sum, the longest gap of any, and the first error. */
static int report(void)
{
    uint64_t sent = 0, echoed = 0, bad = 0, gap_us = 0;
    size_t open = 0;
    int error = 0;

    for (size_t i = 0; i < n_sessions; i++) {
        struct echo_stats *s = &sessions[i].stats;
        sent += s->sent;
        echoed += s->echoed;
        bad += s->bad;
        gap_us = s->gap_us > gap_us ? s->gap_us : gap_us;
        error = error ? error : s->error;
        open += !s->ended;
    }
    printf("{\"sessions\": %zu, \"open\": %zu, \"sent\": %llu, \"echoed\": %llu, \"bad\": %llu, \"gap_ms\": %.1f, "
           "\"error\": \"%s\"}\n",
           n_sessions, open, (unsigned long long)sent, (unsigned long long)echoed, (unsigned long long)bad,
           (double)gap_us / 1000, error ? strerror(error) : "");
    return error || bad ? 1 : 0;
}

static void *drive(void *arg)
{
    struct session *s = arg;

    echo_drive(s->fd, (uint64_t)getpid() * MAX_SESSIONS + (uint64_t)(s - sessions), s->interval_ms, &s->stats, &probe_stop);
    return NULL;
}

static void *serve(void *arg)
{
    struct session *s = arg;

    echo_serve(s->fd, &s->stats);
    return NULL;
}

static void begin(int fd, unsigned interval_ms, void *(*run)(void *))
{
    struct session *s = &sessions[n_sessions++];

    s->fd = fd;
    s->interval_ms = interval_ms;
    if (pthread_create(&s->thread, NULL, run, s) != 0)
        abort();
}

int probe_echo(const struct probe_options *o)
{
    for (unsigned i = 0; i < o->sessions && i < MAX_SESSIONS; i++) {
        int fd = echo_connect(o->address, o->port);
        if (fd < 0) {
            fprintf(stderr, "probe: connect %s:%d: %s\n", o->address, o->port, strerror(-fd));
            return 1;
        }
        begin(fd, o->interval_ms, drive);
    }
    fprintf(stderr, "probe: %zu sessions open\n", n_sessions);
    for (size_t i = 0; i < n_sessions; i++)
        pthread_join(sessions[i].thread, NULL);
    return report();
}

int probe_serve(const struct probe_options *o)
{
    int listener = echo_listen(o->port);

    if (listener < 0) {
        fprintf(stderr, "probe: listen on port %d: %s\n", o->port, strerror(-listener));
        return 1;
    }
    while (!probe_stop) {
        struct pollfd p = {.fd = listener, .events = POLLIN};
        if (poll(&p, 1, 100) <= 0 || n_sessions == MAX_SESSIONS)
            continue;
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            begin(fd, 0, serve);
    }
    return report();
}
