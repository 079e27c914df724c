#include "agent/launcher/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/fs.h"

#define ROOT "/sys/fs/cgroup"
#define PERIOD_US 100000

static bool write_value(const char *folder, const char *file, const char *value)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", folder, file);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t len = (ssize_t)strlen(value);

    return fd >= 0 && write(fd, value, (size_t)len) == len;
}

static bool write_number(const char *folder, const char *file, int64_t value)
{
    char text[32];

    snprintf(text, sizeof(text), "%" PRId64, value);
    return write_value(folder, file, text);
}

/* Makes every folder of name below root, passing the controllers down on the way (v2 only; a refusal shows later). */
static bool make_group(const char *root, const char *name, bool v2)
{
    _cleanup_free_ char *path = xasprintf("%s/%s", root, name);

    for (char *c = path + strlen(root); c; c = strchr(c + 1, '/')) {
        *c = '\0';
        if (mkdir(path, 0755) < 0 && errno != EEXIST)
            return false;
        if (v2)
            for (const char *const *k = (const char *const[]){"+cpu", "+memory", "+pids", NULL}; *k; k++)
                (void)write_value(path, "cgroup.subtree_control", *k);
        *c = '/';
    }
    return mkdir(path, 0755) == 0 || errno == EEXIST;
}

/* KubeVirt and Kubernetes: shares are 1024 per CPU requested; v2's weight is that mapped to 1..10000 (KEP-2254). */
static int64_t shares_of(int64_t milli)
{
    return MAX(milli * 1024 / 1000, 2);
}

static bool limit_v2(const char *g, const struct cgroup_limits *l, struct str *note)
{
    char text[64];

    if (l->memory_max && !write_number(g, "memory.max", l->memory_max))
        str_puts(note, "cgroup v2: no memory limit\n");
    snprintf(text, sizeof(text), "%" PRId64 " %d", l->cpu_milli * PERIOD_US / 1000, PERIOD_US);
    if (l->cpu_milli && !write_value(g, "cpu.max", text))
        str_puts(note, "cgroup v2: no cpu limit\n");
    if (l->cpu_request_milli)
        (void)write_number(g, "cpu.weight", 1 + (MIN(shares_of(l->cpu_request_milli), 262144) - 2) * 9999 / 262142);
    if (l->pids_max && !write_number(g, "pids.max", l->pids_max))
        str_puts(note, "cgroup v2: no pids limit\n");
    return true;
}

/* Controllers that the v2 hierarchy at root really offers. */
static bool has_v2_controllers(const char *root)
{
    _cleanup_free_ char *path = xasprintf("%s/cgroup.controllers", root), *text = NULL;

    return fs_read(path, 4096, &text, NULL, NULL) == 0 && strstr(text, "memory") && strstr(text, "cpu");
}

static bool enter_v2(const char *name, const struct cgroup_limits *l, pid_t pid, struct str *note)
{
    _cleanup_free_ char *group = xasprintf("%s/%s", ROOT, name);

    if (!has_v2_controllers(ROOT) || !make_group(ROOT, name, true))
        return false;
    return limit_v2(group, l, note) && write_number(group, "cgroup.procs", pid);
}

static const char *const v1_controllers[] = {"memory", "cpu", "pids"};

static void limit_v1(const char *controller, const char *g, const struct cgroup_limits *l, struct str *note)
{
    bool ok = true;

    if (streq(controller, "memory") && l->memory_max)
        ok = write_number(g, "memory.limit_in_bytes", l->memory_max);
    else if (streq(controller, "pids") && l->pids_max)
        ok = write_number(g, "pids.max", l->pids_max);
    else if (streq(controller, "cpu") && l->cpu_milli)
        ok = write_number(g, "cpu.cfs_period_us", PERIOD_US) &&
             write_number(g, "cpu.cfs_quota_us", l->cpu_milli * PERIOD_US / 1000);
    if (streq(controller, "cpu") && l->cpu_request_milli)
        (void)write_number(g, "cpu.shares", shares_of(l->cpu_request_milli));
    if (!ok)
        str_printf(note, "cgroup v1: no %s limit\n", controller);
}

static void enter_v1(const char *name, const struct cgroup_limits *l, pid_t pid, struct str *note)
{
    for (size_t i = 0; i < ARRAY_SIZE(v1_controllers); i++) {
        _cleanup_free_ char *root = xasprintf("%s/%s", ROOT, v1_controllers[i]);
        _cleanup_free_ char *group = xasprintf("%s/%s", root, name);
        _cleanup_free_ char *probe = xasprintf("%s/cgroup.procs", root);
        if (!fs_exists(probe) || !make_group(root, name, false)) {
            str_printf(note, "cgroup: controller %s cannot be used\n", v1_controllers[i]);
            continue;
        }
        limit_v1(v1_controllers[i], group, l, note);
        if (!write_number(group, "cgroup.procs", pid))
            str_printf(note, "cgroup v1: %s refused the process: %s\n", v1_controllers[i], strerror(errno));
    }
}

void cgroup_enter(const char *name, const struct cgroup_limits *limits, pid_t pid, struct str *note)
{
    if (!enter_v2(name, limits, pid, note))
        enter_v1(name, limits, pid, note);
}

bool cgroup_remove(const char *name)
{
    _cleanup_free_ char *group = xasprintf("%s/%s", ROOT, name);
    bool gone = rmdir(group) == 0 || errno == ENOENT || errno == ENOTDIR;

    for (size_t i = 0; i < ARRAY_SIZE(v1_controllers); i++) {
        _cleanup_free_ char *v1 = xasprintf("%s/%s/%s", ROOT, v1_controllers[i], name);
        if (rmdir(v1) < 0 && errno != ENOENT)
            gone = false;
    }
    return gone;
}
