#include "agent/launcher/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/launcher/cgroup.h"
#include "agent/launcher/console.h"
#include "agent/launcher/control.h"
#include "agent/launcher/dhcp_server.h"
#include "agent/launcher/ending.h"
#include "agent/launcher/identity.h"
#include "agent/launcher/log.h"
#include "agent/launcher/loop.h"
#include "agent/launcher/monitor.h"
#include "agent/launcher/sandbox.h"
#include "base/alloc.h"
#include "base/clock.h"

#define TAIL_MAX 4096
#define PIDS_MAX 4096

static struct {
    struct launcher_spec spec;
    struct loop loop;
    pid_t qemu;
    int qemu_stderr;
    char tail[TAIL_MAX + 1]; /* of QEMU's stderr */
    size_t tail_len;
    char *killed; /* why we killed it */
} launcher;

/* --- QEMU's words and its end --- */

static void keep_tail(const char *data, size_t len)
{
    if (len > TAIL_MAX) {
        data += len - TAIL_MAX;
        len = TAIL_MAX;
    }
    size_t over = launcher.tail_len + len > TAIL_MAX ? launcher.tail_len + len - TAIL_MAX : 0;
    memmove(launcher.tail, launcher.tail + over, launcher.tail_len - over);
    launcher.tail_len -= over;
    memcpy(launcher.tail + launcher.tail_len, data, len);
    launcher.tail_len += len;
    launcher.tail[launcher.tail_len] = '\0';
}

static bool read_stderr(void)
{
    char buf[2048];
    ssize_t n = read(launcher.qemu_stderr, buf, sizeof(buf));

    if (n <= 0)
        return false;
    keep_tail(buf, (size_t)n);
    launcher_log_qemu(buf, (size_t)n);
    return true;
}

static void on_stderr(void *userdata, int fd, short revents)
{
    if (!read_stderr() && (revents & POLLHUP))
        loop_remove(&launcher.loop, fd);
}

static void note_ending(int status)
{
    bool signalled = WIFSIGNALED(status);
    struct ending e = {
        .reason = (char *)ending_reason(monitor_shutdown(), launcher.killed, monitor_answered(), status),
        .code = signalled ? -1 : WEXITSTATUS(status),
        .signal = signalled ? WTERMSIG(status) : 0,
        .message = launcher.tail,
        .at_ms = clock_wall_ms(),
    };

    launcher_log_flush();
    launcher_log("QEMU ended: %s (%s %d)", e.reason, signalled ? "signal" : "code", signalled ? e.signal : e.code);
    (void)ending_write(&e, launcher.spec.dir, NULL); /* a full disk: the agent then says that the ending was lost */
}

static void on_qemu_ended(void *userdata, int fd, short revents)
{
    int status = 0;

    if (waitpid(launcher.qemu, &status, WNOHANG) != launcher.qemu)
        return;
    monitor_drain();
    console_drain();
    while (read_stderr())
        ;
    note_ending(status);
    launcher.loop.quit = true;
}

/* --- What the control socket can ask for --- */

static void kill_qemu(const char *reason)
{
    free(launcher.killed);
    launcher.killed = xstrdup(reason);
    launcher_log("killing QEMU: %s", reason);
    kill(launcher.qemu, SIGKILL);
}

static void power_down(void)
{
    launcher_log("pressing the guest's power button");
    monitor_powerdown();
}

static const struct control_actions actions = {power_down, kill_qemu, monitor_answered};

/* --- Start --- */

/* The child. What fails is told over `report` (closed by a successful exec). */
static void become_qemu(const struct launcher_spec *s, int console, int qmp, int err_out, int report)
{
    const char *what = "descriptors";
    int null = open("/dev/null", O_RDWR);
    int fds[5] = {fcntl(null, F_DUPFD, 20), fcntl(null, F_DUPFD, 20), fcntl(err_out, F_DUPFD, 20),
                  fcntl(console, F_DUPFD, 20), fcntl(qmp, F_DUPFD, 20)};
    int r = 0;

    report = fcntl(report, F_DUPFD_CLOEXEC, 20);
    for (int i = 0; i < 5 && r >= 0; i++)
        r = dup2(fds[i], i) < 0 ? -errno : 0;
    if (r >= 0)
        r = sandbox_mounts(s, &what);
    if (r >= 0)
        r = sandbox_user(s, LAUNCHER_QMP_FD, &what);
    /* The death signal tells of deaths to come; one before it was set shows as our sockets' other end being closed. */
    if (r >= 0 && recv(LAUNCHER_QMP_FD, &(char){0}, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
        _exit(127);
    if (r >= 0) {
        execv(s->argv.items[0], s->argv.items);
        what = s->argv.items[0];
        r = -errno;
    }
    dprintf(report, "%s: %s", what, strerror(-r));
    _exit(127);
}

struct pipes {
    int console[2], qmp[2], err_out[2], report[2]; /* ours first */
};

static int make_pipes(struct pipes *p)
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p->console) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p->qmp) < 0 ||
        pipe2(p->err_out, O_CLOEXEC | O_NONBLOCK) < 0 || pipe2(p->report, O_CLOEXEC) < 0)
        return -errno;
    return 0;
}

static int enter_netns(const char *path, struct gw_error *err)
{
    if (!path)
        return 0;
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
        return gw_error_errno(err, errno, "network namespace %s", path);
    return 0;
}

/* A child in a pid namespace of its own: it sees no other process to signal. Waits until it has become QEMU. */
static int start_qemu(struct pipes *p, struct gw_error *err)
{
    char why[512];

    if (unshare(CLONE_NEWPID) < 0)
        return gw_error_errno(err, errno, "pid namespace");
    launcher.qemu = fork();
    if (launcher.qemu < 0)
        return gw_error_errno(err, errno, "fork");
    if (launcher.qemu == 0)
        become_qemu(&launcher.spec, p->console[1], p->qmp[1], p->err_out[1], p->report[1]);
    close(p->console[1]);
    close(p->qmp[1]);
    close(p->err_out[1]);
    close(p->report[1]);
    ssize_t n = read(p->report[0], why, sizeof(why));
    close(p->report[0]);
    if (n > 0)
        return gw_error_set(err, GW_INTERNAL_ERROR, "QEMU's sandbox: %.*s", (int)n, why);
    launcher.qemu_stderr = p->err_out[0];
    return 0;
}

static int write_note(const struct str *cgroup_note, struct gw_error *err)
{
    struct launcher_note n = {
        .launcher = {getpid(), process_start_ticks(getpid())},
        .qemu = {launcher.qemu, process_start_ticks(launcher.qemu)},
        .cgroup_note = (char *)str_text(cgroup_note),
    };

    boot_id(n.boot_id);
    return launcher_note_write(&n, launcher.spec.dir, err);
}

static int watch_qemu(struct pipes *p, struct gw_error *err)
{
    const struct launcher_spec *s = &launcher.spec;
    int fd = (int)syscall(SYS_pidfd_open, launcher.qemu, 0);

    if (fd < 0)
        return gw_error_errno(err, errno, "pidfd");
    launcher_log("QEMU runs as process %d, user %u%s%s", (int)launcher.qemu, (unsigned)s->uid,
                 s->cgroup ? ", cgroup " : "", s->cgroup ? s->cgroup : "");
    loop_add(&launcher.loop, fd, POLLIN, on_qemu_ended, NULL);
    loop_add(&launcher.loop, launcher.qemu_stderr, POLLIN, on_stderr, NULL);
    monitor_start(&launcher.loop, p->qmp[0]);
    int r = console_start(&launcher.loop, p->console[0], s->dir, s->console_log_max, err);
    return r < 0 ? r : control_start(&launcher.loop, s->dir, launcher.qemu, &actions, err);
}

/* Everything up to a running QEMU. The cgroup comes first, so that QEMU's memory is counted from its first page. */
static int set_up(struct gw_error *err)
{
    const struct launcher_spec *s = &launcher.spec;
    const struct cgroup_limits limits = {s->memory_max, s->cpu_milli, s->cpu_request_milli, PIDS_MAX};
    _cleanup_str_ struct str note = {0};
    struct dhcp_server *dhcp;
    struct pipes p;
    const char *what;

    int r = enter_netns(s->netns, err);
    if (r == 0 && s->dhcp.interface)
        r = dhcp_server_start(&launcher.loop, &s->dhcp, &dhcp, err);
    if (r < 0)
        return r;
    if (s->cgroup)
        cgroup_enter(s->cgroup, &limits, getpid(), &note);
    if (make_pipes(&p) < 0)
        return gw_error_errno(err, errno, "pipes");
    if ((r = start_qemu(&p, err)) < 0 || (r = write_note(&note, err)) < 0 || (r = watch_qemu(&p, err)) < 0)
        return r;
    r = sandbox_launcher(&what);
    return r < 0 ? gw_error_errno(err, r, "%s", what) : 0;
}

/* Runs in the daemon. The start's result goes to `report`: nothing for success. */
static int run(int report)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    struct ending failed = {.reason = "start-failed", .code = -1, .at_ms = clock_wall_ms()};

    (void)setsid();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    prctl(PR_SET_NAME, "godwit-launcher");
    launcher_log_open(launcher.spec.dir);
    if (set_up(&err) < 0) {
        launcher_log("cannot start QEMU: %s", gw_error_message(&err));
        if (launcher.qemu > 0)
            kill(launcher.qemu, SIGKILL);
        failed.message = (char *)gw_error_message(&err);
        (void)ending_write(&failed, launcher.spec.dir, NULL);
        dprintf(report, "%s", gw_error_message(&err));
        return 1;
    }
    close(report);
    loop_run(&launcher.loop);
    return 0;
}

/* stdin, stdout and stderr must not keep the agent's pipes open. */
static void detach_streams(void)
{
    int null = open("/dev/null", O_RDWR);

    for (int i = 0; i < 3; i++)
        (void)dup2(null, i);
    if (null > 2)
        close(null);
}

int launcher_main(const char *spec_path)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    char why[1024];
    int report[2];

    if (launcher_spec_read(spec_path, &launcher.spec, &err) < 0 || pipe2(report, O_CLOEXEC) < 0) {
        fprintf(stderr, "godwit-launcher: %s\n", gw_error_message(&err));
        return 1;
    }
    pid_t first = fork();
    if (first == 0) {
        close(report[0]);
        detach_streams();
        if (fork() == 0)
            _exit(run(report[1]));
        _exit(0);
    }
    close(report[1]);
    (void)waitpid(first, NULL, 0);
    ssize_t n = first < 0 ? -1 : read(report[0], why, sizeof(why));
    if (n == 0)
        return 0;
    fprintf(stderr, "godwit-launcher: %.*s\n", n > 0 ? (int)n : 11, n > 0 ? why : "cannot fork");
    return 1;
}
