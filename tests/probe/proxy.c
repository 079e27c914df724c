/* A TCP proxy that behaves badly on command: it delays, limits the rate, stalls, or cuts every connection and refuses new
 * ones until it is healed. What loss looks like to TCP is a stall, so that stands in for it.
 *
 * Each direction of each connection is one thread that reads, waits as the settings say, and writes; the delay is thus
 * per chunk, and a chunk's delay holds back those behind it as a slow link does. */
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

#define CHUNK 65536

static struct {
    atomic_uint delay_ms, rate_kib;
    atomic_uint_fast64_t stalled_until_us;
    atomic_bool cut;
    atomic_uint connections;
    atomic_uint_fast64_t bytes;
} link_state;

struct direction {
    int from, to;
};

static void hold_back(size_t bytes)
{
    uint64_t wait_us = (uint64_t)link_state.delay_ms * 1000, now;

    if (link_state.rate_kib > 0)
        wait_us += bytes * 1000000 / (link_state.rate_kib * 1024ULL);
    usleep((useconds_t)wait_us);
    while ((now = echo_now_us()) < link_state.stalled_until_us && !probe_stop && !link_state.cut)
        usleep(1000);
}

static void *pump(void *arg)
{
    struct direction d = *(struct direction *)arg;
    char *buf = malloc(CHUNK);

    free(arg);
    while (buf && !probe_stop && !link_state.cut) {
        struct pollfd p = {.fd = d.from, .events = POLLIN};
        if (poll(&p, 1, 50) <= 0)
            continue;
        ssize_t n = recv(d.from, buf, CHUNK, 0);
        if (n <= 0)
            break;
        hold_back((size_t)n);
        if (link_state.cut || send(d.to, buf, (size_t)n, MSG_NOSIGNAL) != n)
            break;
        link_state.bytes += (uint64_t)n;
    }
    free(buf);
    shutdown(d.from, SHUT_RDWR); /* the other direction notices and ends as well */
    shutdown(d.to, SHUT_RDWR);
    close(d.from);
    close(d.to);
    return NULL;
}

/* Each direction owns its own descriptors. */
static void start(int from, int to)
{
    struct direction *d = malloc(sizeof(*d));
    pthread_t thread;

    if (!d)
        abort();
    *d = (struct direction){.from = dup(from), .to = dup(to)};
    if (pthread_create(&thread, NULL, pump, d) != 0)
        abort();
    pthread_detach(thread);
}

static void join_up(int client, const struct probe_options *o)
{
    int server = link_state.cut ? -1 : echo_connect(o->to, o->to_port);

    if (server >= 0) {
        start(client, server);
        start(server, client);
        close(server);
        link_state.connections++;
    }
    close(client);
}

static void *obey(void *arg)
{
    char line[128], word[16];
    unsigned number;

    (void)arg;
    while (fgets(line, sizeof(line), stdin)) {
        number = 0;
        if (sscanf(line, "%15s %u", word, &number) < 1)
            continue;
        if (strcmp(word, "delay") == 0)
            link_state.delay_ms = number;
        else if (strcmp(word, "rate") == 0)
            link_state.rate_kib = number;
        else if (strcmp(word, "stall") == 0)
            link_state.stalled_until_us = echo_now_us() + number * 1000ULL;
        else if (strcmp(word, "cut") == 0)
            link_state.cut = true;
        else if (strcmp(word, "heal") == 0)
            link_state.cut = false;
        else
            fprintf(stderr, "probe: unknown command %s\n", word);
    }
    return NULL;
}

int probe_proxy(const struct probe_options *o)
{
    pthread_t commander;
    int listener = echo_listen(o->port);

    if (listener < 0 || !o->to) {
        fprintf(stderr, "probe: proxy: %s\n", o->to ? strerror(-listener) : "--to is missing");
        return 1;
    }
    link_state.delay_ms = o->delay_ms;
    link_state.rate_kib = o->rate_kib;
    if (pthread_create(&commander, NULL, obey, NULL) != 0)
        abort();
    while (!probe_stop) {
        struct pollfd p = {.fd = listener, .events = POLLIN};
        if (poll(&p, 1, 100) <= 0)
            continue;
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            join_up(fd, o);
    }
    printf("{\"connections\": %u, \"bytes\": %llu}\n", link_state.connections, (unsigned long long)link_state.bytes);
    return 0;
}
