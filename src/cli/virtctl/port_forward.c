/* virtctl port-forward: each connection to a local port becomes a channel of its own to a port of the guest. With
 * --stdio the one connection is standard input and output, as ssh's ProxyCommand wants it. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/str.h"
#include "base/vec.h"
#include "cli/virtctl/forward.h"
#include "cli/virtctl/target.h"
#include "client/channel.h"

#define WAITING_MAX (64UL << 10)
#define CONNECTIONS_MAX 200

struct port {
    int local, remote;
    int fd; /* listens; -1 with --stdio */
};
VEC_DEFINE(port_vec, struct port);

struct connection {
    int in, out; /* the local end; the same socket, or standard input and output */
    struct api_channel *channel;
    struct str pending; /* for the local end */
    bool ended;         /* the local end has said all */
};
VEC_DEFINE(connection_vec, struct connection);
VEC_DEFINE(poll_vec, struct pollfd);

struct forward {
    struct virtctl *v;
    struct target target;
    struct port_vec ports;
    struct connection_vec connections;
};

/* --- Arguments --- */

static int read_number(const char *text, char end, int *ret)
{
    char *rest;
    long n = strtol(text, &rest, 10);

    *ret = (int)n;
    return rest != text && *rest == end && n > 0 && n < 65536 ? 0 : -EINVAL;
}

/* "[tcp/][LOCAL:]PORT" */
static int read_port(const char *word, struct port *ret, struct gw_error *err)
{
    const char *text = str_starts(word, "tcp/") ? word + strlen("tcp/") : word, *colon = strchr(text, ':');
    int r = read_number(colon ? colon + 1 : text, '\0', &ret->remote);

    ret->local = ret->remote;
    ret->fd = -1;
    if (r == 0 && colon)
        r = read_number(text, ':', &ret->local);
    return r < 0 ? gw_error_set(err, GW_BAD_REQUEST, "port \"%s\": want [tcp/][LOCAL:]PORT", word) : 0;
}

int forward_listen(const char *address, int *port, int *ret_fd, struct gw_error *err)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)};
    socklen_t len = sizeof(at);
    _cleanup_close_ int fd = -1;
    int on = 1;

    if (inet_pton(AF_INET, address, &at.sin_addr) != 1)
        return gw_error_set(err, GW_BAD_REQUEST, "--address: \"%s\" is no IPv4 address", address);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 16) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) < 0)
        return gw_error_errno(err, errno, "cannot listen on %s port %d", address, *port);
    *port = ntohs(at.sin_port);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static int listen_on(const char *address, struct port *p, struct gw_error *err)
{
    int r = forward_listen(address, &p->local, &p->fd, err);

    if (r == 0)
        fprintf(stderr, "forwarding tcp %s:%d to %d\n", address, p->local, p->remote);
    return r;
}

/* --- Connections --- */

static void drop(struct forward *f, size_t i)
{
    struct connection *c = &f->connections.items[i];

    api_channel_free(c->channel);
    str_done(&c->pending);
    close(c->in);
    if (c->out != c->in)
        close(c->out);
    *c = f->connections.items[--f->connections.len];
}

static void join(struct forward *f, int in, int out, struct api_channel *ch)
{
    (void)fcntl(in, F_SETFL, fcntl(in, F_GETFL) | O_NONBLOCK);
    (void)fcntl(out, F_SETFL, fcntl(out, F_GETFL) | O_NONBLOCK);
    connection_vec_push(&f->connections, (struct connection){.in = in, .out = out, .channel = ch});
}

static int add(struct forward *f, int in, int out, int remote, struct gw_error *err)
{
    const struct target *t = &f->target;
    _cleanup_free_ char *path =
        xasprintf("/apis/subresources.kubevirt.io/v1/namespaces/%s/virtualmachine%s/%s/"
                  "portforward/%d/tcp",
                  t->ns ? t->ns : f->v->ns, streq(t->kind, "vm") ? "s" : "instances", t->name, remote);
    struct api_channel *ch = NULL;
    int r = api_channel_open(f->v->api.client, path, &ch, err);

    if (r == 0)
        join(f, in, out, ch);
    return r;
}

/* What cannot be connected is closed: the others go on. */
static void take_caller(struct forward *f, const struct port *p)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    int fd = accept4(p->fd, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    if (f->connections.len < CONNECTIONS_MAX && add(f, fd, fd, p->remote, &err) == 0)
        return;
    fprintf(stderr, "can't forward to port %d: %s\n", p->remote, gw_error_message(&err));
    close(fd);
}

/* False when it is over. */
static bool move(struct connection *c)
{
    char buf[8192];
    bool open = true;
    ssize_t n;

    if (c->pending.len == 0)
        open = api_channel_turn(c->channel, &c->pending);
    n = c->pending.len ? write(c->out, c->pending.data, c->pending.len) : 0;
    if (n < 0 && errno != EAGAIN)
        return false;
    if (n > 0) {
        c->pending.len -= (size_t)n;
        memmove(c->pending.data, c->pending.data + n, c->pending.len);
    }
    if (!open)
        return c->pending.len > 0;
    while (!c->ended && api_channel_waiting(c->channel) < WAITING_MAX && (n = read(c->in, buf, sizeof(buf))) != -1) {
        if (n > 0)
            api_channel_send(c->channel, buf, (size_t)n);
        c->ended = n == 0;
    }
    /* A channel has no half that could be closed; what a pipe has asked for is still answered. */
    return !c->ended || c->in != c->out || api_channel_waiting(c->channel) > 0;
}

/* --- Turns --- */

static void add_interest(const struct connection *c, struct poll_vec *fds, int *timeout_ms)
{
    size_t waiting = api_channel_waiting(c->channel);

    poll_vec_push(fds, (struct pollfd){.fd = waiting < WAITING_MAX && !c->ended ? c->in : -1, .events = POLLIN});
    poll_vec_push(fds, (struct pollfd){.fd = c->pending.len ? c->out : -1, .events = POLLOUT});
    poll_vec_push(fds, (struct pollfd){.fd = c->pending.len && !waiting ? -1 : api_channel_fd(c->channel),
                                       .events = (short)((c->pending.len ? 0 : POLLIN) | (waiting ? POLLOUT : 0))});
    if (api_channel_more(c->channel) && !c->pending.len)
        *timeout_ms = 0;
}

static void turn(struct forward *f)
{
    struct poll_vec fds = {0};
    int timeout_ms = -1;

    VEC_EACH(&f->ports, p)
        poll_vec_push(&fds, (struct pollfd){.fd = p->fd, .events = POLLIN});
    VEC_EACH(&f->connections, c)
        add_interest(c, &fds, &timeout_ms);
    (void)poll(fds.items, fds.len, timeout_ms);
    for (size_t i = f->connections.len; i-- > 0;)
        if (!move(&f->connections.items[i]))
            drop(f, i);
    for (size_t i = 0; i < f->ports.len; i++)
        if (fds.items[i].revents)
            take_caller(f, &f->ports.items[i]);
    poll_vec_done(&fds);
}

void forward_join(int fd, struct api_channel *ch)
{
    struct forward f = {0};

    join(&f, fd, fd, ch);
    while (f.connections.len)
        turn(&f);
    connection_vec_done(&f.connections);
}

static int run(struct forward *f, struct gw_error *err)
{
    if (!flag_bool(&f->v->line, "stdio")) {
        for (;;)
            turn(f);
    }
    if (f->ports.len != 1)
        return gw_error_set(err, GW_BAD_REQUEST, "only one port supported when forwarding to stdout");
    int r = add(f, STDIN_FILENO, STDOUT_FILENO, f->ports.items[0].remote, err);
    while (r == 0 && f->connections.len)
        turn(f);
    return r;
}

static int port_forward(struct virtctl *v, struct gw_error *err)
{
    struct forward f = {.v = v};
    int r = target_read(v->args[0], &f.target, err);

    for (size_t i = 1; i < v->n_args && r == 0; i++) {
        struct port p;

        r = read_port(v->args[i], &p, err);
        if (r == 0 && !flag_bool(&v->line, "stdio"))
            r = listen_on(flag_text(&v->line, "address"), &p, err);
        port_vec_push(&f.ports, p);
    }
    r = r < 0 ? r : run(&f, err);
    VEC_EACH(&f.ports, p)
        close_p(&p->fd);
    port_vec_done(&f.ports);
    connection_vec_done(&f.connections);
    return r;
}

/* --- the table --- */

static const struct flag port_forward_flags[] = {
    {.name = "address", .fallback = "127.0.0.1", .help = "address of this host that takes the connections"},
    {.name = "stdio", .kind = FLAG_BOOL, .help = "standard input and output are the one connection; for one port"},
    {0},
};

const struct verb port_forward_verbs[] = {
    {.name = "port-forward",
     .args = "type/name[/namespace] [tcp/]localPort[:targetPort]...",
     .n_args = 2,
     .at_least = true,
     .help = "Make TCP ports of a guest ports of this host.",
     .more = "The type is vm or vmi, in any of their spellings. Each connection goes through the API server to the\n"
             "node where the guest is then.",
     .examples = "  # Port 8080 of this host is that of the VMI 'myvmi':\n"
                 "  virtctl port-forward vmi/myvmi 8080\n\n"
                 "  # Port 8080 of this host is port 80 of the VM 'myvm' in the namespace 'web':\n"
                 "  virtctl port-forward vm/myvm/web 8080:80\n\n"
                 "  # As ssh's ProxyCommand:\n"
                 "  ssh -o 'ProxyCommand=virtctl port-forward --stdio vm/myvm 22' user@myvm\n",
     .flags = port_forward_flags,
     .run = port_forward},
    {0},
};
