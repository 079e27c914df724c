#include "agent/network/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>

#include "base/alloc.h"
#include "base/str.h"

struct thread_call {
    int (*fn)(void *data, struct gw_error *err);
    void *data;
    struct gw_error *err;
    int result;
};

static void *thread_main(void *data)
{
    struct thread_call *call = data;

    call->result = call->fn(call->data, call->err);
    return NULL;
}

/* A namespace belongs to a thread: one that ends takes its change with it, whatever happens to fn. Signals stay with
 * the caller's threads. */
static int in_thread(int (*fn)(void *data, struct gw_error *err), void *data, struct gw_error *err)
{
    struct thread_call call = {.fn = fn, .data = data, .err = err};
    sigset_t all, before;
    pthread_t thread;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&thread, NULL, thread_main, &call);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0)
        return gw_error_errno(err, r, "cannot start a thread");
    pthread_join(thread, NULL);
    return call.result;
}

bool netns_exists(const char *path)
{
    struct statfs fs;

    return statfs(path, &fs) == 0 && fs.f_type == NSFS_MAGIC;
}

static int create_here(void *data, struct gw_error *err)
{
    const char *path = data;

    if (unshare(CLONE_NEWNET) < 0)
        return gw_error_errno(err, errno, "cannot make a network namespace");
    if (mount("/proc/thread-self/ns/net", path, NULL, MS_BIND, NULL) < 0)
        return gw_error_errno(err, errno, "cannot mount a network namespace on %s", path);
    return 0;
}

int netns_create(const char *path, struct gw_error *err)
{
    if (netns_exists(path))
        return 0;
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
    if (fd < 0)
        return gw_error_errno(err, errno, "cannot create %s", path);
    return in_thread(create_here, (void *)path, err);
}

int netns_open(const char *path, struct gw_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    return fd < 0 ? gw_error_errno(err, errno, "cannot open network namespace %s", path) : fd;
}

int netns_remove(const char *path, struct gw_error *err)
{
    while (netns_exists(path))
        if (umount2(path, MNT_DETACH) < 0)
            return gw_error_errno(err, errno, "cannot unmount %s", path);
    if (unlink(path) < 0 && errno != ENOENT)
        return gw_error_errno(err, errno, "cannot remove %s", path);
    return 0;
}

struct inside_call {
    int netns;
    int (*fn)(void *data, struct gw_error *err);
    void *data;
};

static int run_inside(void *data, struct gw_error *err)
{
    struct inside_call *call = data;

    if (setns(call->netns, CLONE_NEWNET) < 0)
        return gw_error_errno(err, errno, "cannot enter a network namespace");
    return call->fn(call->data, err);
}

int netns_run(const char *path, int (*fn)(void *data, struct gw_error *err), void *data, struct gw_error *err)
{
    _cleanup_close_ int fd = netns_open(path, err);

    if (fd < 0)
        return fd;
    return in_thread(run_inside, &(struct inside_call){fd, fn, data}, err);
}

static int sysctl_read(const char *path, char *buf, size_t size)
{
    _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

    if (n < 0)
        return -errno;
    buf[n] = '\0';
    buf[strcspn(buf, "\n")] = '\0';
    return 0;
}

long netns_sysctl_get(const char *name, long fallback)
{
    _cleanup_free_ char *path = xasprintf("/proc/sys/net/%s", name);
    char now[32];

    return sysctl_read(path, now, sizeof(now)) < 0 ? fallback : strtol(now, NULL, 10);
}

int netns_sysctl(const char *name, const char *value, struct gw_error *err)
{
    _cleanup_free_ char *path = xasprintf("/proc/sys/net/%s", name);
    char now[32];

    int r = sysctl_read(path, now, sizeof(now));
    if (r == -ENOENT)
        return r;
    if (r == 0 && streq(now, value))
        return 0;
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, value, strlen(value)) < 0)
        return gw_error_errno(err, errno, "cannot set %s to %s", path, value);
    return 1;
}
