#include "agent/launcher/control.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/launcher/spec.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/unix.h"
#include "qmp/frames.h"

#define CLIENTS_MAX 8
#define REQUEST_MAX 4096

struct client {
    int fd;
    struct frames frames;
};

static struct {
    struct loop *loop;
    const struct control_actions *actions;
    pid_t qemu_pid;
    struct client clients[CLIENTS_MAX];
    unsigned n_clients;
} control;

static void drop(struct client *c)
{
    loop_remove(control.loop, c->fd);
    close(c->fd);
    frames_done(&c->frames);
    *c = control.clients[--control.n_clients];
}

static struct client *find(int fd)
{
    for (unsigned i = 0; i < control.n_clients; i++)
        if (control.clients[i].fd == fd)
            return &control.clients[i];
    return NULL;
}

/* The answer as text. */
static char *answer(const char *line, size_t len)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;

    if (json_parse(line, len, &doc, NULL) < 0)
        return xstrdup("{\"error\":\"not JSON\"}\n");
    yyjson_val *v = yyjson_doc_get_root(doc);
    const char *what = json_str_or(v, "/do", "");
    if (streq(what, "status"))
        return xasprintf("{\"state\":\"running\",\"launcherPid\":%d,\"qemuPid\":%d,\"answered\":%s}\n", (int)getpid(),
                         (int)control.qemu_pid, control.actions->answered() ? "true" : "false");
    if (streq(what, "powerdown"))
        control.actions->powerdown();
    else if (streq(what, "kill"))
        control.actions->kill(json_str_or(v, "/reason", "killed"));
    else
        return xstrdup("{\"error\":\"do: status, powerdown or kill\"}\n");
    return xasprintf("{\"done\":\"%s\"}\n", what);
}

static void on_client(void *userdata, int fd, short revents)
{
    struct client *c = find(fd);
    char buf[REQUEST_MAX];
    const char *line;
    size_t len;
    ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 || !frames_feed(&c->frames, buf, (size_t)n)) {
        drop(c);
        return;
    }
    while (frames_next(&c->frames, &line, &len)) {
        _cleanup_free_ char *text = answer(line, len);
        if (send(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
            drop(c);
            return;
        }
    }
    if (c->frames.buffer.len - c->frames.start > REQUEST_MAX)
        drop(c);
}

static void on_listener(void *userdata, int fd, short revents)
{
    int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (client < 0)
        return;
    if (control.n_clients == CLIENTS_MAX || !loop_add(control.loop, client, POLLIN, on_client, NULL)) {
        close(client);
        return;
    }
    control.clients[control.n_clients++] = (struct client){.fd = client};
}

int control_start(struct loop *loop, const char *dir, pid_t qemu_pid, const struct control_actions *actions,
                  struct gw_error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/" LAUNCHER_CONTROL_SOCKET, dir);
    int fd = unix_listen(path, 0600, err);

    if (fd < 0)
        return fd;
    control.loop = loop;
    control.actions = actions;
    control.qemu_pid = qemu_pid;
    loop_add(loop, fd, POLLIN, on_listener, NULL);
    return 0;
}
