#include "agent/core/control.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/launcher/spec.h"
#include "base/alloc.h"
#include "base/json.h"
#include "base/unix.h"

struct control {
    int fd;
    sd_event_source *io;
    void (*ended)(void *userdata);
    void *userdata;
};

/* Answers are of no interest: what counts is what happens. */
static int on_readable(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
    struct control *c = userdata;
    char buf[512];
    ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

    if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
        return 0;
    c->io = sd_event_source_disable_unref(c->io);
    c->ended(c->userdata);
    return 0;
}

int control_open(sd_event *loop, const char *dir, void (*ended)(void *userdata), void *userdata, struct control **ret,
                 struct gw_error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/" LAUNCHER_CONTROL_SOCKET, dir);
    int fd = unix_connect(path);

    if (fd < 0)
        return gw_error_errno(err, fd, "%s", path);
    struct control *c = xnew(struct control);
    c->fd = fd;
    c->ended = ended;
    c->userdata = userdata;
    int r = sd_event_add_io(loop, &c->io, fd, EPOLLIN, on_readable, c);
    if (r < 0) {
        control_close(c);
        return gw_error_errno(err, r, "%s", path);
    }
    *ret = c;
    return 0;
}

struct control *control_close(struct control *c)
{
    if (!c)
        return NULL;
    sd_event_source_disable_unref(c->io);
    close(c->fd);
    free(c);
    return NULL;
}

static void say(struct control *c, const char *what, const char *reason)
{
    _cleanup_mut_doc_ yyjson_mut_doc *d = json_object();

    json_set_str(d, "/do", what);
    if (reason)
        json_set_str(d, "/reason", reason);
    _cleanup_free_ char *text = json_text(yyjson_mut_doc_get_root(d)), *line = xasprintf("%s\n", text);
    (void)!send(c->fd, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL);
}

void control_powerdown(struct control *c)
{
    say(c, "powerdown", NULL);
}

void control_kill(struct control *c, const char *reason)
{
    say(c, "kill", reason);
}
