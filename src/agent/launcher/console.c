#include "agent/launcher/console.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/launcher/rotated.h"
#include "agent/launcher/spec.h"
#include "base/alloc.h"
#include "base/str.h"
#include "base/unix.h"

#define CLIENTS_MAX 8
#define PENDING_MAX (256 * 1024)

struct client {
    int fd;
    struct str pending; /* what its socket did not take yet: a UART's bytes come one by one, and few of them fill it */
};

static struct {
    struct loop *loop;
    int guest, listener;
    struct rotated log;
    struct client clients[CLIENTS_MAX];
    unsigned n_clients;
} console;

static struct client *find(int fd)
{
    for (unsigned i = 0; i < console.n_clients; i++)
        if (console.clients[i].fd == fd)
            return &console.clients[i];
    return NULL;
}

static void drop_client(struct client *c)
{
    loop_remove(console.loop, c->fd);
    close(c->fd);
    str_done(&c->pending);
    *c = console.clients[--console.n_clients];
}

/* False when the client is gone. */
static bool flush_client(struct client *c)
{
    ssize_t n = send(c->fd, c->pending.data, c->pending.len, MSG_DONTWAIT | MSG_NOSIGNAL);

    if (n < 0 && errno != EAGAIN)
        return drop_client(c), false;
    if (n > 0) {
        c->pending.len -= (size_t)n;
        memmove(c->pending.data, c->pending.data + n, c->pending.len);
    }
    loop_events(console.loop, c->fd, POLLIN | (c->pending.len ? POLLOUT : 0));
    if (c->pending.len == 0)
        str_done(&c->pending);
    return true;
}

static void tell_clients(const char *data, size_t len)
{
    for (unsigned i = console.n_clients; i-- > 0;) {
        struct client *c = &console.clients[i];
        str_add(&c->pending, data, len);
        if (c->pending.len > PENDING_MAX)
            drop_client(c);
        else
            (void)flush_client(c);
    }
}

static void on_guest(void *userdata, int fd, short revents)
{
    char buf[4096];
    ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

    if (n > 0) {
        rotated_write(&console.log, buf, (size_t)n);
        tell_clients(buf, (size_t)n);
    } else if (n == 0 || errno != EAGAIN) {
        loop_remove(console.loop, fd); /* QEMU is going; its death is noticed elsewhere */
    }
}

static void on_client(void *userdata, int fd, short revents)
{
    struct client *c = find(fd);
    char buf[1024];

    if ((revents & POLLOUT) && !flush_client(c))
        return;
    ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
    if (n > 0)
        (void)!send(console.guest, buf, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL); /* a UART overruns as well */
    else if (n == 0 || errno != EAGAIN)
        drop_client(c);
}

/* In words, on the terminal of whoever comes: there is nothing else that all clients would show. */
static void turn_away(int fd)
{
    char text[80];
    int n =
        snprintf(text, sizeof(text), "\r\n%d consoles of this VM are open already: close one of them\r\n", CLIENTS_MAX);

    (void)!send(fd, text, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
    close(fd);
}

static void on_listener(void *userdata, int fd, short revents)
{
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (client < 0)
        return;
    if (console.n_clients == CLIENTS_MAX) {
        turn_away(client);
        return;
    }
    if (!loop_add(console.loop, client, POLLIN, on_client, NULL)) {
        close(client);
        return;
    }
    console.clients[console.n_clients++] = (struct client){.fd = client};
}

int console_start(struct loop *loop, int fd, const char *dir, int64_t log_max, struct gw_error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/" LAUNCHER_CONSOLE_SOCKET, dir);
    _cleanup_free_ char *log = xasprintf("%s/" LAUNCHER_CONSOLE_LOG, dir);

    console.loop = loop;
    console.guest = fd;
    int r = rotated_open(&console.log, log, log_max > 0 ? log_max : 1 << 20);
    if (r < 0)
        return gw_error_errno(err, r, "%s", log);
    console.listener = unix_listen(path, 0600, err);
    if (console.listener < 0)
        return console.listener;
    loop_add(loop, fd, POLLIN, on_guest, NULL);
    loop_add(loop, console.listener, POLLIN, on_listener, NULL);
    return 0;
}

void console_drain(void)
{
    char buf[4096];
    ssize_t n;

    while ((n = recv(console.guest, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
        rotated_write(&console.log, buf, (size_t)n);
        tell_clients(buf, (size_t)n);
    }
}
