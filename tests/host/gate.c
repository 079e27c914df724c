#include "gate.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"
#include "base/unix.h"

#define PATIENCE_MS 10000

struct gate {
    char *qemu, *spare, *command, *run_state; /* sockets; the words looked for */
    int listener, stop;
    atomic_bool met;
    bool used;
    pthread_t thread;
};

static void await(int fd, short events, int ms)
{
    struct pollfd p = {.fd = fd, .events = events};

    (void)poll(&p, 1, ms);
}

/* False once one side is gone: a client that leaves in mid-answer must not keep the next one out. */
static bool pass(int from, int to)
{
    char buf[65536];
    ssize_t n = recv(from, buf, sizeof(buf), MSG_DONTWAIT), done = 0, w;

    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    while (done < n) {
        w = send(to, buf + done, (size_t)(n - done), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (w < 0 && errno != EAGAIN)
            return false;
        if (w < 0)
            await(to, POLLOUT, 100);
        done += w > 0 ? w : 0;
    }
    return true;
}

/* --- The second monitor --- */

static bool say(int fd, const char *command, const char *wanted)
{
    char buf[16384];
    int64_t end = clock_monotonic_ms() + 1000;
    size_t len = 0;
    ssize_t n;

    if (send(fd, command, strlen(command), MSG_NOSIGNAL) < 0)
        return false;
    do {
        await(fd, POLLIN, 50);
        n = recv(fd, buf + len, sizeof(buf) - 1 - len, MSG_DONTWAIT);
        len += n > 0 ? (size_t)n : 0;
        buf[len] = '\0';
    } while (!strstr(buf, "\"return\"") && clock_monotonic_ms() < end);
    return strstr(buf, wanted) != NULL;
}

/* What QEMU says goes on to the client meanwhile. */
static void hold(struct gate *g, int client, int qemu)
{
    int64_t end = clock_monotonic_ms() + PATIENCE_MS;
    int spare = unix_connect(g->spare);

    say(spare, "{\"execute\":\"qmp_capabilities\"}\n", "");
    say(spare, "{\"execute\":\"migrate-set-parameters\",\"arguments\":{\"max-bandwidth\":1073741824}}\n", "");
    while (!g->met && clock_monotonic_ms() < end) {
        g->met = say(spare, "{\"execute\":\"query-status\"}\n", g->run_state);
        pass(qemu, client);
    }
    close(spare);
}

/* Our client sends whole commands, one in each write; several may come together. */
static bool pass_commands(struct gate *g, int client, int qemu)
{
    char buf[65536];
    ssize_t n = recv(client, buf, sizeof(buf) - 1, MSG_PEEK | MSG_DONTWAIT);
    char *found;

    buf[MAX(n, 0)] = '\0';
    found = g->used ? NULL : strstr(buf, g->command);
    if (found) {
        while (found > buf && found[-1] != '\n')
            found--;
        n = recv(client, buf, (size_t)(found - buf), MSG_DONTWAIT); /* those before it */
        (void)send(qemu, buf, (size_t)MAX(n, 0), MSG_NOSIGNAL);
        g->used = true;
        hold(g, client, qemu);
    }
    return pass(client, qemu);
}

static void serve(struct gate *g, int client)
{
    int qemu = unix_connect(g->qemu);
    struct pollfd p[3] = {{client, POLLIN, 0}, {qemu, POLLIN, 0}, {g->stop, POLLIN, 0}};

    while (qemu >= 0 && poll(p, 3, -1) >= 0 && !p[2].revents)
        if ((p[0].revents && !pass_commands(g, client, qemu)) || (p[1].revents && !pass(qemu, client)))
            break;
    close(qemu);
    close(client);
}

static void *run(void *userdata)
{
    struct gate *g = userdata;
    struct pollfd p[2] = {{g->listener, POLLIN, 0}, {g->stop, POLLIN, 0}};

    while (poll(p, 2, -1) >= 0 && !p[1].revents) {
        int client = accept4(g->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (client >= 0)
            serve(g, client);
    }
    return NULL;
}

struct gate *gate_new(struct machine *m, const char *command, const char *run_state)
{
    struct gate *g = xnew(struct gate);

    m->door = xasprintf("%s/%s.gate", m->lab->dir, m->name);
    g->qemu = xasprintf("%s/%s.qmp", m->lab->dir, m->name);
    g->spare = xasprintf("%s/%s.spare", m->lab->dir, m->name);
    g->command = xasprintf("{\"execute\":\"%s\"", command);
    g->run_state = xasprintf("\"status\": \"%s\"", run_state);
    g->stop = eventfd(0, EFD_CLOEXEC);
    g->listener = unix_listen(m->door, 0600, NULL);
    assert_true(g->listener >= 0);
    assert_int_equal(pthread_create(&g->thread, NULL, run, g), 0);
    return g;
}

bool gate_was_met(struct gate *g)
{
    return g->met;
}

void gate_free(struct gate *g)
{
    (void)eventfd_write(g->stop, 1);
    pthread_join(g->thread, NULL);
    close(g->listener);
    close(g->stop);
    char *texts[] = {g->qemu, g->spare, g->command, g->run_state};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        free(texts[i]);
    free(g);
}
