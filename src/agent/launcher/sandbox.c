#include "agent/launcher/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/alloc.h"

#define FAIL(what) (*ret_what = (what), -errno)

/* mkdir -p of all but the last part of path below root; then the last part as folder or empty file like `like`. */
static int make_target(const char *root, const char *path, const struct stat *like, char **ret)
{
    _cleanup_free_ char *target = xasprintf("%s%s", root, path);

    for (char *c = target + strlen(root) + 1; (c = strchr(c, '/')); c++) {
        *c = '\0';
        if (mkdir(target, 0755) < 0 && errno != EEXIST)
            return -errno;
        *c = '/';
    }
    if (S_ISDIR(like->st_mode)) {
        if (mkdir(target, 0755) < 0 && errno != EEXIST)
            return -errno;
    } else {
        int fd = open(target, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
            return -errno;
        close(fd);
    }
    *ret = TAKE_PTR(target);
    return 0;
}

/* Mounts path of the host, which may be a link, at the same path below root. */
static int bind_path(const char *root, const char *path, bool writable)
{
    _cleanup_free_ char *target = NULL;
    struct stat st;
    int r;

    if (stat(path, &st) < 0)
        return -errno;
    if ((r = make_target(root, path, &st, &target)) < 0)
        return r;
    if (mount(path, target, NULL, MS_BIND, NULL) < 0)
        return -errno;
    unsigned long flags = MS_BIND | MS_REMOUNT | MS_NOSUID | MS_NODEV | (writable ? 0 : MS_RDONLY);
    return mount(NULL, target, NULL, flags, NULL) < 0 ? -errno : 0;
}

/* A device node like the host's, for QEMU's user alone; where nodes cannot be made (user namespaces) the host's own. */
static int add_device(const char *root, const char *name, const struct launcher_spec *s, mode_t mode)
{
    _cleanup_free_ char *host = xasprintf("/dev/%s", name), *target = NULL;
    struct stat st;

    if (stat(host, &st) < 0)
        return -errno;
    int r = make_target(root, host, &st, &target);
    if (r < 0)
        return r;
    (void)unlink(target);
    if (mknod(target, S_IFCHR | mode, st.st_rdev) < 0) {
        r = make_target(root, host, &(struct stat){.st_mode = S_IFREG}, &target);
        return r < 0 ? r : mount(host, target, NULL, MS_BIND, NULL) < 0 ? -errno : 0;
    }
    return chmod(target, mode) < 0 || chown(target, s->uid, s->gid) < 0 ? -errno : 0;
}

static int make_dev(const char *root, const struct launcher_spec *s, const char **ret_what)
{
    static const char *const always[] = {"null", "zero", "random", "urandom"};
    int r = 0;

    for (size_t i = 0; i < ARRAY_SIZE(always) && r == 0; i++)
        if ((r = add_device(root, *ret_what = always[i], s, 0666)) < 0)
            return r;
    for (size_t i = 0; i < s->devices.len && r == 0; i++)
        if ((r = add_device(root, *ret_what = s->devices.items[i], s, 0600)) < 0)
            return r;
    return r;
}

/* A part of the system: links stay links (merged /usr), what is absent is left out. */
static int bind_system(const char *root, const char *path)
{
    char link[PATH_MAX] = "";
    struct stat st;

    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISLNK(st.st_mode))
        return bind_path(root, path, false);
    _cleanup_free_ char *target = xasprintf("%s%s", root, path);
    return readlink(path, link, sizeof(link) - 1) < 0 || symlink(link, target) < 0 ? -errno : 0;
}

static int bind_all(const char *root, const struct launcher_spec *s, const char **ret_what)
{
    /* Programs and libraries, the linker's cache, GnuTLS's system-wide priorities. */
    static const char *const system[] = {"/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/gnutls"};
    int r;

    for (size_t i = 0; i < ARRAY_SIZE(system); i++)
        if ((r = bind_system(root, *ret_what = system[i])) < 0)
            return r;
    for (size_t i = 0; i < s->read_only.len; i++)
        if ((r = bind_path(root, *ret_what = s->read_only.items[i], false)) < 0)
            return r;
    for (size_t i = 0; i < s->writable.len; i++)
        if ((r = bind_path(root, *ret_what = s->writable.items[i], true)) < 0)
            return r;
    return 0;
}

static int make_tmp(const char *root)
{
    _cleanup_free_ char *tmp = xasprintf("%s/tmp", root);

    if (mkdir(tmp, 0755) < 0)
        return -errno;
    return mount("tmpfs", tmp, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=16m") < 0 ? -errno : 0;
}

int sandbox_mounts(const struct launcher_spec *s, const char **ret_what)
{
    _cleanup_free_ char *root = xasprintf("%s/root", s->dir);
    int r;

    if (unshare(CLONE_NEWNS | CLONE_NEWIPC) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return FAIL("mount namespace");
    if (mkdir(root, 0700) < 0 && errno != EEXIST)
        return FAIL("root folder");
    if (mount("godwit", root, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=1m") < 0)
        return FAIL("root tmpfs");
    if ((r = make_tmp(root)) < 0) /* first: paths of the spec may lie below it */
        return *ret_what = "/tmp", r;
    if ((r = bind_all(root, s, ret_what)) < 0 || (r = make_dev(root, s, ret_what)) < 0)
        return r;
    if (mount(NULL, root, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC, NULL) < 0)
        return FAIL("read-only root");
    if (chdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 ||
        chdir(s->run_dir) < 0)
        return FAIL("pivot_root");
    return 0;
}

static int set_capabilities(uint32_t low)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{.effective = low, .permitted = low}};

    return (int)syscall(SYS_capset, &header, data);
}

static void drop_bounding_set(void)
{
    for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        (void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
}

int sandbox_user(const struct launcher_spec *s, int keep, const char **ret_what)
{
    struct rlimit none = {0, 0};
    sigset_t empty;

    (void)setrlimit(RLIMIT_CORE, &none); /* guest memory must not land in files */
    if (close_range((unsigned)keep + 1, ~0U, CLOSE_RANGE_CLOEXEC) < 0)
        return FAIL("close_range");
    drop_bounding_set();
    if (setgroups(0, NULL) < 0 || setresgid(s->gid, s->gid, s->gid) < 0 || setresuid(s->uid, s->uid, s->uid) < 0)
        return FAIL("unprivileged user");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return FAIL("no_new_privs");
    /* After the change of user, which clears it. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        return FAIL("death signal");
    sigemptyset(&empty);
    if (sigprocmask(SIG_SETMASK, &empty, NULL) < 0)
        return FAIL("signal mask");
    umask(0077);
    return 0;
}

int sandbox_launcher(const char **ret_what)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return FAIL("no_new_privs");
    if (set_capabilities(1u << CAP_KILL) < 0)
        return FAIL("capabilities");
    return 0;
}
