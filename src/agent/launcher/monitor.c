#include "agent/launcher/monitor.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/json.h"
#include "qmp/frames.h"

static struct {
    struct loop *loop;
    int fd;
    struct frames frames;
    bool answered;
    char *shutdown;
} monitor = {.fd = -1};

static void say(const char *command)
{
    _cleanup_free_ char *line = xasprintf("{\"execute\":\"%s\"}\n", command);

    (void)!send(monitor.fd, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void handle(const char *line, size_t len)
{
    _cleanup_doc_ yyjson_doc *doc = NULL;

    if (json_parse(line, len, &doc, NULL) < 0)
        return;
    yyjson_val *v = yyjson_doc_get_root(doc);
    if (json_at(v, "/QMP"))
        say("qmp_capabilities");
    else if (json_at(v, "/return"))
        monitor.answered = true;
    else if (streq(json_str_or(v, "/event", ""), "SHUTDOWN")) {
        free(monitor.shutdown);
        monitor.shutdown = xstrdup(json_str_or(v, "/data/reason", "crashed"));
    } else if (streq(json_str_or(v, "/event", ""), "RESUME")) {
        free(monitor.shutdown); /* it was a reboot */
        monitor.shutdown = NULL;
    }
}

/* False when nothing more comes. */
static bool read_some(void)
{
    char buf[4096];
    const char *line;
    size_t len;
    ssize_t n = recv(monitor.fd, buf, sizeof(buf), MSG_DONTWAIT);

    if (n <= 0)
        return false;
    if (frames_feed(&monitor.frames, buf, (size_t)n))
        while (frames_next(&monitor.frames, &line, &len))
            handle(line, len);
    return true;
}

static void on_readable(void *userdata, int fd, short revents)
{
    if (!read_some() && (revents & POLLHUP))
        loop_remove(monitor.loop, fd);
}

void monitor_start(struct loop *loop, int fd)
{
    monitor.loop = loop;
    monitor.fd = fd;
    loop_add(loop, fd, POLLIN, on_readable, NULL);
}

void monitor_drain(void)
{
    while (read_some())
        ;
}

bool monitor_answered(void)
{
    return monitor.answered;
}

const char *monitor_shutdown(void)
{
    return monitor.shutdown;
}

void monitor_powerdown(void)
{
    say("system_powerdown");
}
