/* Channels: the endpoint's connection is joined to a socket of the guest, and bytes are moved both ways through a small
 * buffer each. What does not fit stays in the sockets, so a slow end slows the other. When one end closes, the other
 * still gets what was under way, and the channel is over. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/guest/guest_internal.h"
#include "agent/launcher/spec.h"
#include "agent/network/pod_network.h"
#include "agent/qemu/command.h"
#include "base/alloc.h"
#include "base/unix.h"

#define FLOW_BYTES 8192
#define ROUNDS 8 /* per wake-up: one channel must not keep the agent busy */

/* From one end to the other. */
struct flow {
    char data[FLOW_BYTES];
    size_t start, len;
    bool ended; /* nothing more comes in */
};

/* End 0 is the endpoint's connection, end 1 the guest's socket. */
struct channel {
    struct guest_services *g;
    struct http_upgrade *upgrade;
    int guest;
    sd_event_source *io[2], *turn;
    struct flow flows[2]; /* flows[i] comes from end i */
};

static void channel_free(struct channel *c)
{
    for (int i = 0; i < 2; i++)
        sd_event_source_disable_unref(c->io[i]);
    sd_event_source_disable_unref(c->turn);
    if (c->upgrade)
        http_upgrade_end(c->upgrade);
    close(c->guest);
    c->g->channels--;
    free(c);
}

static ssize_t take(struct channel *c, int end, void *buf, size_t len)
{
    ssize_t n;

    if (end == 0)
        return http_upgrade_read(c->upgrade, buf, len);
    n = recv(c->guest, buf, len, MSG_DONTWAIT);
    return n < 0 ? -errno : n;
}

static ssize_t give(struct channel *c, int end, const void *data, size_t len)
{
    ssize_t n;

    if (end == 0)
        return http_upgrade_write(c->upgrade, data, len);
    n = send(c->guest, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    return n < 0 ? -errno : n;
}

/* From one end to the other. Returns whether something was moved; -errno when an end failed. */
static int move(struct channel *c, int from)
{
    struct flow *f = &c->flows[from];
    bool moved = false;
    ssize_t n;

    if (f->len == 0 && !f->ended) {
        n = take(c, from, f->data, sizeof(f->data));
        if (n < 0 && n != -EAGAIN)
            return (int)n;
        f->start = 0;
        f->len = n > 0 ? (size_t)n : 0;
        f->ended = n == 0;
        moved = n > 0;
    }
    if (f->len) {
        n = give(c, 1 - from, f->data + f->start, f->len);
        if (n < 0 && n != -EAGAIN)
            return (int)n;
        if (n > 0) {
            f->start += (size_t)n;
            f->len -= (size_t)n;
            moved = true;
        }
    }
    return moved;
}

static bool is_over(const struct channel *c)
{
    return (c->flows[0].ended && !c->flows[0].len) || (c->flows[1].ended && !c->flows[1].len);
}

static void set_interest(struct channel *c, int i)
{
    const struct flow *in = &c->flows[i], *out = &c->flows[1 - i];
    uint32_t events = (in->len || in->ended ? 0 : EPOLLIN) | (out->len ? EPOLLOUT : 0);

    /* Without interest it is switched off, since a hang-up would be told for ever. */
    (void)sd_event_source_set_io_events(c->io[i], events);
    (void)sd_event_source_set_enabled(c->io[i], events ? SD_EVENT_ON : SD_EVENT_OFF);
}

static void pump(struct channel *c)
{
    int one = 1, other = 1;

    for (int round = 0; round < ROUNDS && (one > 0 || other > 0); round++) {
        one = move(c, 0);
        other = move(c, 1);
        if (one < 0 || other < 0 || is_over(c)) {
            channel_free(c);
            return;
        }
    }
    set_interest(c, 0);
    set_interest(c, 1);
    /* More to do behind the others' turn, of which TLS may tell by no event. */
    (void)sd_event_source_set_enabled(c->turn, one > 0 || other > 0 ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static int on_turn(sd_event_source *s, void *userdata)
{
    pump(userdata);
    return 0;
}

static int on_io(sd_event_source *s, int fd, uint32_t events, void *userdata)
{
    pump(userdata);
    return 0;
}

static void on_open(void *userdata, struct http_upgrade *u)
{
    struct channel *c = userdata;
    sd_event *loop = c->g->agent->loop;

    c->upgrade = u;
    if (!u || sd_event_add_io(loop, &c->io[0], http_upgrade_fd(u), EPOLLIN, on_io, c) < 0 ||
        sd_event_add_io(loop, &c->io[1], c->guest, EPOLLIN, on_io, c) < 0 ||
        sd_event_add_defer(loop, &c->turn, on_turn, c) < 0) {
        channel_free(c);
        return;
    }
    pump(c);
}

static void on_cut(void *userdata)
{
    channel_free(userdata);
}

/* Takes the descriptor. */
static void join(struct guest_services *g, const struct endpoint_call *call, int fd)
{
    static const struct http_upgrade_handlers handlers = {on_open, on_cut};
    struct channel *c;

    if (!guest_channel_begin(g, call)) {
        close(fd);
        return;
    }
    c = xnew(struct channel);
    c->g = g;
    c->guest = fd;
    http_upgrade(call->request, "godwit", &handlers, c);
}

/* --- Where they lead --- */

static void join_socket(void *userdata, const struct endpoint_call *call, const struct pod *p, const char *folder,
                        const char *name)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", folder, name);
    int fd = unix_connect(path);

    if (fd < 0)
        endpoint_refuse(call->request, 503, "%s of %s/%s: %s", call->what, p->ns, p->vmi_name, strerror(-fd));
    else
        join(userdata, call, fd);
}

static void serve_console(void *userdata, const struct endpoint_call *call)
{
    struct pod *p = guest_pod(call);

    if (p)
        join_socket(userdata, call, p, p->dir, LAUNCHER_CONSOLE_SOCKET);
}

static void serve_vnc(void *userdata, const struct endpoint_call *call)
{
    struct pod *p = guest_pod(call);

    if (p)
        join_socket(userdata, call, p, p->run_dir, QEMU_VNC_SOCKET);
}

/* A connection under way, or a negative errno. */
static int connect_guest(const char *address, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    _cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1)
        return -EINVAL;
    http_tune(fd);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS)
        return -errno;
    return TAKE_FD(fd);
}

/* The channel opens before the guest has answered; where nobody listens it closes again. */
static void serve_port(void *userdata, const struct endpoint_call *call)
{
    struct pod *p = guest_pod(call);
    int port = atoi(call->rest);

    if (!p)
        return;
    const char *address = p->network ? p->network->vm_address : NULL;
    int fd = port > 0 && port < 65536 && address ? connect_guest(address, port) : -EINVAL;
    if (fd < 0)
        endpoint_refuse(call->request, 500, "port %s of %s/%s: %s", call->rest, p->ns, p->vmi_name, strerror(-fd));
    else
        join(userdata, call, fd);
}

const struct endpoint_route channel_routes[] = {
    {"GET", "vmis", "console", CALLER_SERVER, serve_console},
    {"GET", "vmis", "vnc", CALLER_SERVER, serve_vnc},
    {"GET", "vmis", "portforward", CALLER_SERVER, serve_port},
    {0},
};
