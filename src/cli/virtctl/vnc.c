/* virtctl vnc: the guest's screen as a port of this host, for one viewer; which is started, unless --proxy-only. */
#include <errno.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/str.h"
#include "cli/virtctl/forward.h"
#include "client/channel.h"

extern char **environ;

/* Those of KubeVirt's virtctl that Linux distributions have. */
static int start_viewer(const char *address, int port, struct gw_error *err)
{
    _cleanup_free_ char *url = xasprintf("vnc://%s:%d", address, port), *host = xasprintf("%s::%d", address, port);
    char remote[] = "remote-viewer", tiger[] = "vncviewer";
    char *const lines[][3] = {{remote, url, NULL}, {tiger, host, NULL}};

    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        pid_t pid;

        if (posix_spawnp(&pid, lines[i][0], NULL, NULL, lines[i], environ) == 0)
            return 0;
    }
    return gw_error_set(err, GW_NOT_FOUND, "could not find remote-viewer or vncviewer binary in $PATH");
}

/* The viewer's connection; or none, because the guest ended before. */
static int wait_viewer(int listener, struct api_channel *ch, int *ret, struct gw_error *err)
{
    struct pollfd fds[] = {{listener, POLLIN, 0}, {api_channel_fd(ch), POLLRDHUP, 0}};

    while (poll(fds, ARRAY_SIZE(fds), -1) < 0 && errno == EINTR)
        ;
    if (!fds[0].revents)
        return gw_error_set(err, GW_INTERNAL_ERROR, "the VMI has closed the connection");
    *ret = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    return *ret < 0 ? gw_error_errno(err, errno, "cannot accept the viewer") : 0;
}

static int serve(struct virtctl *v, struct api_channel **ch, struct gw_error *err)
{
    const char *address = flag_text(&v->line, "address");
    _cleanup_close_ int listener = -1;
    int port = (int)flag_int(&v->line, "port"), viewer = -1;
    int r = forward_listen(address, &port, &listener, err);

    if (r == 0 && flag_bool(&v->line, "proxy-only")) {
        printf("{\"port\":%d}\n", port);
        (void)fflush(stdout);
    } else if (r == 0) {
        r = start_viewer(address, port, err);
    }
    r = r < 0 ? r : wait_viewer(listener, *ch, &viewer, err);
    if (r == 0)
        forward_join(viewer, TAKE_PTR(*ch));
    return r;
}

static int vnc(struct virtctl *v, struct gw_error *err)
{
    _cleanup_free_ char *path = xasprintf("/apis/subresources.kubevirt.io/v1/namespaces/%s/virtualmachineinstances/%s/"
                                          "vnc?preserveSession=false",
                                          v->ns, v->args[0]);
    struct api_channel *ch = NULL;
    int r = api_channel_open(v->api.client, path, &ch, err);

    r = r < 0 ? r : serve(v, &ch, err);
    if (ch)
        api_channel_free(ch);
    return r < 0 ? virtctl_fail(err, r, "can't access VMI %s: ", v->args[0]) : 0;
}

/* --- the table --- */

static const struct flag vnc_flags[] = {
    {.name = "address", .fallback = "127.0.0.1", .help = "address of this host that the viewer connects to"},
    {.name = "port", .kind = FLAG_INT, .fallback = "0", .help = "port of this host; 0 takes a free one"},
    {.name = "proxy-only", .kind = FLAG_BOOL, .help = "start no viewer, and print the port"},
    {0},
};

const struct verb vnc_verbs[] = {
    {.name = "vnc",
     .args = "(VMI)",
     .n_args = 1,
     .help = "Show the screen of a guest in a viewer.",
     .examples = "  # The screen of the VMI 'myvmi', in remote-viewer or vncviewer:\n"
                 "  virtctl vnc myvmi\n\n"
                 "  # For a viewer of your own:\n"
                 "  virtctl vnc myvmi --proxy-only --port=5901\n",
     .flags = vnc_flags,
     .run = vnc},
    {0},
};
