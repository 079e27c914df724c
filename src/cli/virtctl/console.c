/* virtctl console: this terminal becomes the guest's serial line until Ctrl+]. A guest that is not there yet is waited
 * for, as the server's 400 says; one that has moved to another node is connected to again. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"
#include "cli/virtctl/virtctl.h"
#include "client/channel.h"

#define ESCAPE 0x1d /* Ctrl+] and Ctrl+5 */
#define AGAIN_MS 1000
#define WAITING_MAX (64UL << 10)

/* --- The terminal --- */

static struct termios before;

static bool make_raw(void)
{
    struct termios raw;

    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &before) < 0)
        return false;
    raw = before;
    cfmakeraw(&raw);
    return tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

static void restore(const bool *raw)
{
    if (*raw)
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

/* --- The session --- */

enum outcome { LEFT, CLOSED };

/* Returns false when the user has left: by the escape, or by the end of the input. */
static bool take_input(struct api_channel *ch)
{
    char buf[1024];
    ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));
    const char *escape = n > 0 ? memchr(buf, ESCAPE, (size_t)n) : NULL;
    size_t len = escape ? (size_t)(escape - buf) : n > 0 ? (size_t)n : 0;

    if (len)
        api_channel_send(ch, buf, len);
    return n > 0 && !escape;
}

static enum outcome talk(struct api_channel *ch)
{
    _cleanup_str_ struct str data = {0};
    bool open = true;

    for (;;) {
        struct pollfd fds[2] = {{.fd = api_channel_fd(ch), .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};

        open = api_channel_turn(ch, &data);
        if (data.len && write(STDOUT_FILENO, data.data, data.len) < 0)
            return LEFT;
        data.len = 0;
        if (!open)
            return CLOSED;
        if (api_channel_waiting(ch))
            fds[0].events |= POLLOUT;
        if (api_channel_waiting(ch) > WAITING_MAX)
            fds[1].events = 0;
        if (poll(fds, 2, api_channel_more(ch) ? 0 : -1) < 0 && errno != EINTR)
            return LEFT;
        if (fds[1].revents && !take_input(ch))
            return LEFT;
    }
}

/* --- Finding the guest --- */

static int connect_until(struct virtctl *v, const char *path, int64_t deadline_ms, struct api_channel **ret,
                         struct gw_error *err)
{
    for (;;) {
        const struct timespec pause = {AGAIN_MS / 1000, AGAIN_MS % 1000 * 1000000L};
        int r = api_channel_open(v->api.client, path, ret, err);

        if (r == 0 || err->reason != GW_BAD_REQUEST || clock_monotonic_ms() > deadline_ms)
            return r;
        gw_error_done(err);
        (void)nanosleep(&pause, NULL);
    }
}

/* Whether a console that was closed is worth another try: the same instance still runs. */
static bool still_runs(struct virtctl *v, char **uid)
{
    _cleanup_free_ char *path = api_path(&API_VIRTUALMACHINEINSTANCES, v->ns, v->args[0], NULL, NULL);
    _cleanup_doc_ yyjson_doc *doc = NULL;
    bool known = *uid != NULL, same;

    if (cli_api_get(&v->api, path, &doc, NULL) < 0)
        return false;
    yyjson_val *vmi = yyjson_doc_get_root(doc);
    const char *now = json_str_or(vmi, "/metadata/uid", "");
    same = !known || streq(*uid, now);
    if (!known)
        *uid = xstrdup(now);
    return same && streq(json_str_or(vmi, "/status/phase", ""), "Running");
}

static int console(struct virtctl *v, struct gw_error *err)
{
    _cleanup_free_ char *uid = NULL, *path = xasprintf("/apis/subresources.kubevirt.io/v1/namespaces/%s/"
                                                       "virtualmachineinstances/%s/console",
                                                       v->ns, v->args[0]);
    int64_t minutes = flag_int(&v->line, "timeout");
    __attribute__((cleanup(restore))) bool raw = false;
    bool again = false;

    for (;;) {
        struct api_channel *ch = NULL;
        int r = connect_until(v, path, clock_monotonic_ms() + minutes * 60000, &ch, err);

        if (r < 0)
            return again ? 0 : r;
        if (again)
            fputs("\r\nThe console was interrupted, and is connected again.\r\n", stderr);
        else
            fprintf(stderr, "Successfully connected to %s console. Press Ctrl+] or Ctrl+5 to exit console.\n",
                    v->args[0]);
        (void)still_runs(v, &uid); /* which instance it is */
        raw = raw || make_raw();
        enum outcome outcome = talk(ch);
        api_channel_free(ch);
        if (outcome == LEFT || !still_runs(v, &uid))
            return 0;
        again = true;
    }
}

/* --- the table --- */

static const struct flag console_flags[] = {
    {.name = "timeout", .kind = FLAG_INT, .fallback = "5", .help = "minutes to wait for the guest to run"},
    {0},
};

const struct verb console_verbs[] = {
    {.name = "console",
     .args = "(VMI)",
     .n_args = 1,
     .help = "Become the serial console of a guest, also while it moves; Ctrl+] leaves it.",
     .examples = "  # The console of the VMI 'myvmi':\n"
                 "  virtctl console myvmi\n\n"
                 "  # Do not wait for it longer than a minute:\n"
                 "  virtctl console --timeout=1 myvmi\n",
     .flags = console_flags,
     .run = console},
    {0},
};
