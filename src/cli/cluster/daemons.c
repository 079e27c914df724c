#include "cli/cluster/daemons.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/str.h"

#define START_TIME_FIELD 22 /* of /proc/PID/stat, proc(5) */

/* When a process was started, in clock ticks since boot; 0 when there is none, or only its remains. */
static unsigned long long start_time(pid_t pid)
{
    _cleanup_free_ char *path = xasprintf("/proc/%d/stat", pid), *text = NULL;

    if (fs_read(path, 4096, &text, NULL, NULL) < 0)
        return 0;
    char *at = strrchr(text, ')'); /* the name before it may hold anything */
    if (!at || at[1] != ' ' || at[2] == 'Z' || at[2] == 'X')
        return 0;
    for (int field = 2; at && field < START_TIME_FIELD; field++)
        at = strchr(at + 1, ' ');
    return at ? strtoull(at, NULL, 10) : 0;
}

pid_t daemon_pid(const char *pid_file)
{
    _cleanup_free_ char *text = NULL;
    unsigned long long started = 0;
    int pid = 0;

    if (fs_read(pid_file, 64, &text, NULL, NULL) < 0 || sscanf(text, "%d %llu", &pid, &started) != 2 || pid <= 0)
        return 0;
    return started != 0 && start_time(pid) == started ? pid : 0;
}

/* In the child: what it says from here on goes to the log. */
static void become(const struct daemon_spec *spec)
{
    _cleanup_free_ char *line = NULL;
    int log = open(spec->log_file, O_WRONLY | O_CREAT | O_APPEND, 0600), null = open("/dev/null", O_RDONLY);
    int ns = spec->netns ? open(spec->netns, O_RDONLY | O_CLOEXEC) : -1;
    sigset_t none;

    if (log < 0 || null < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
        return;
    setsid();
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (spec->netns && (ns < 0 || setns(ns, CLONE_NEWNET) < 0)) {
        fprintf(stderr, "cannot enter %s: %s\n", spec->netns, strerror(errno));
        return;
    }
    line = xasprintf("%d %llu\n", getpid(), start_time(getpid()));
    if (fs_write(spec->pid_file, line, strlen(line), 0644, NULL) < 0)
        return;
    syscall(SYS_close_range, 3, ~0U, 0);
    execv(spec->argv[0], (char *const *)spec->argv);
    fprintf(stderr, "cannot start %s: %s\n", spec->argv[0], strerror(errno));
}

pid_t daemon_start(const struct daemon_spec *spec, struct gw_error *err)
{
    pid_t pid = daemon_pid(spec->pid_file);

    if (pid > 0)
        return pid;
    pid = fork();
    if (pid < 0)
        return gw_error_errno(err, errno, "fork");
    if (pid == 0) {
        become(spec);
        _exit(127);
    }
    return pid;
}

int daemon_stop(const char *pid_file, int timeout_ms, struct gw_error *err)
{
    pid_t pid = daemon_pid(pid_file);
    _cleanup_close_ int fd = pid > 0 ? pidfd_open(pid, 0) : -1;

    if (fd >= 0) {
        struct pollfd ended = {.fd = fd, .events = POLLIN};
        (void)pidfd_send_signal(fd, SIGTERM, NULL, 0);
        if (poll(&ended, 1, timeout_ms) == 0) {
            (void)pidfd_send_signal(fd, SIGKILL, NULL, 0);
            if (poll(&ended, 1, 10000) == 0)
                return gw_error_set(err, GW_TIMEOUT, "process %d does not end, not even when killed", pid);
        }
    }
    (void)unlink(pid_file);
    return 0;
}

/* Whether /proc/PID/exe is one of ours: godwit or a QEMU. */
static bool is_ours(pid_t pid)
{
    char path[64], exe[512];

    snprintf(path, sizeof(path), "/proc/%d/exe", pid);
    ssize_t n = readlink(path, exe, sizeof(exe) - 1);
    if (n <= 0)
        return false;
    exe[n] = '\0';
    const char *name = strrchr(exe, '/') ? strrchr(exe, '/') + 1 : exe;
    return str_starts(name, "godwit") || str_starts(name, "qemu-");
}

/* Whether an argument holds "DIR/"; `godwit cluster` itself names DIR as well and is spared. */
static bool names_dir(pid_t pid, const char *dir)
{
    _cleanup_free_ char *path = xasprintf("/proc/%d/cmdline", pid), *text = NULL, *wanted = xasprintf("%s/", dir);
    size_t len = 0;

    if (fs_read(path, 1 << 20, &text, &len, NULL) < 0)
        return false;
    const char *second = text + strlen(text) + 1;
    return !(second < text + len && streq(second, "cluster")) && memmem(text, len, wanted, strlen(wanted));
}

static bool in_netns(pid_t pid, const ino_t *netns, size_t n_netns)
{
    char path[64];
    struct stat st;

    snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
    if (stat(path, &st) < 0)
        return false;
    for (size_t i = 0; i < n_netns; i++)
        if (st.st_ino == netns[i])
            return true;
    return false;
}

static int kill_once(const char *dir, const ino_t *netns, size_t n_netns)
{
    int n = 0;
    DIR *proc = opendir("/proc");

    for (struct dirent *e = NULL; proc && (e = readdir(proc));) {
        int pid = atoi(e->d_name);
        if (pid <= 1 || pid == getpid() || start_time(pid) == 0)
            continue;
        if (in_netns(pid, netns, n_netns) || (is_ours(pid) && names_dir(pid, dir)))
            n += kill(pid, SIGKILL) == 0;
    }
    if (proc)
        closedir(proc);
    return n;
}

int daemons_kill_strays(const char *dir, const ino_t *netns, size_t n_netns)
{
    int total = 0, n = 0;

    /* Again until none is found: a launcher may just have started another. */
    for (int64_t end = clock_monotonic_ms() + 10000; clock_monotonic_ms() < end; usleep(20000)) {
        n = kill_once(dir, netns, n_netns);
        if (n == 0)
            break;
        total = MAX(total, n);
    }
    return total;
}
