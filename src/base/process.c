#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"

#define OUTPUT_MAX (16u << 20)
#define TAIL 2000

struct child {
    pid_t pid;
    int out, err_out;
    int64_t deadline_ms;
};

/* Between fork and exec only async-signal-safe calls are allowed, the caller may have threads. */
static void become(const char *const *argv, const struct process_options *o, int out, int err_out)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int null = open("/dev/null", O_RDONLY);
    int inherit = o->inherit_fd > 0 ? fcntl(o->inherit_fd, F_DUPFD, 10) : -1;
    if (dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err_out, 2) < 0 || (o->folder && chdir(o->folder) < 0))
        _exit(126);
    if (inherit >= 0 && dup2(inherit, 3) < 0)
        _exit(126);
    close_range(inherit >= 0 ? 4 : 3, ~0U, 0);
    execvp(argv[0], (char *const *)argv);
    dprintf(2, "%s: %s", argv[0], strerror(errno));
    _exit(127);
}

static int start(const char *const *argv, const struct process_options *o, struct child *c)
{
    int out[2], err_out[2];

    if (pipe2(out, O_CLOEXEC) < 0)
        return -errno;
    if (pipe2(err_out, O_CLOEXEC) < 0) {
        int number = -errno;
        close(out[0]);
        close(out[1]);
        return number;
    }
    c->pid = fork();
    if (c->pid == 0)
        become(argv, o, out[1], err_out[1]);
    int number = c->pid < 0 ? -errno : 0;
    close(out[1]);
    close(err_out[1]);
    c->out = out[0];
    c->err_out = err_out[0];
    return number;
}

/* Reads what is there; closes *fd at its end or when it says too much. */
static void drain(int *fd, struct str *to, size_t max)
{
    char buf[16384];
    ssize_t n = read(*fd, buf, sizeof(buf));

    if (n > 0 && to->len < max)
        str_add(to, buf, MIN((size_t)n, max - to->len));
    if (n > 0 || (n < 0 && errno == EINTR))
        return;
    close(*fd);
    *fd = -1;
}

/* Collects both outputs until they are closed. False at the deadline. */
static bool collect(struct child *c, struct str *out, struct str *err_out)
{
    while (c->out >= 0 || c->err_out >= 0) {
        struct pollfd fds[2] = {{c->out, POLLIN, 0}, {c->err_out, POLLIN, 0}};
        int64_t left = c->deadline_ms - clock_monotonic_ms();
        if (left <= 0)
            return false;
        if (poll(fds, 2, (int)left) <= 0)
            continue;
        if (fds[0].revents)
            drain(&c->out, out, OUTPUT_MAX);
        if (fds[1].revents)
            drain(&c->err_out, err_out, 64 * 1024);
    }
    return true;
}

static int wait_for(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static const char *tail_of(struct str *said)
{
    while (said->len && (said->data[said->len - 1] == '\n' || said->data[said->len - 1] == ' '))
        said->data[--said->len] = '\0';
    return said->len > TAIL ? said->data + said->len - TAIL : str_text(said);
}

int process_run(const char *const *argv, const struct process_options *options, char **ret_output, struct gw_error *err)
{
    static const struct process_options none = {0};
    const struct process_options *o = options ? options : &none;
    _cleanup_str_ struct str out = {0}, err_out = {0};
    int timeout_ms = o->timeout_ms ? o->timeout_ms : 60000;
    struct child c = {.deadline_ms = clock_monotonic_ms() + timeout_ms};

    int r = start(argv, o, &c);
    if (r < 0)
        return gw_error_errno(err, r, "%s", argv[0]);
    bool whole = collect(&c, &out, &err_out);
    if (!whole)
        kill(c.pid, SIGKILL);
    close_p(&c.out);
    close_p(&c.err_out);
    int status = wait_for(c.pid);
    if (!whole)
        return gw_error_errno(err, ETIMEDOUT, "%s did not end within %d ms", argv[0], timeout_ms);
    if (o->ret_status)
        *o->ret_status = status;
    else if (status != 0)
        return gw_error_set(err, GW_INTERNAL_ERROR, "%s failed with code %d: %s", argv[0], status, tail_of(&err_out));
    if (ret_output)
        *ret_output = str_take(&out);
    return 0;
}
