/* Ends a cluster, whatever state it is in: also one of which `up` was killed half-way, or whose agents are gone while
 * their virtual machines run on. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "agent/launcher/cgroup.h"
#include "base/alloc.h"
#include "base/fs.h"
#include "base/str.h"
#include "base/strv.h"
#include "cli/cluster/cluster.h"
#include "cli/cluster/daemons.h"
#include "cli/cluster/network.h"

#define STOP_TIMEOUT_MS 5000
#define MOUNT_POINT_FIELD 5 /* of /proc/self/mountinfo, proc(5) */

/* The mount points below dir, deepest last. mountinfo writes a blank as \040; folders with one are told apart by it. */
static void mounts_below(const char *dir, struct strv *ret)
{
    _cleanup_free_ char *text = NULL, *prefix = xasprintf("%s/", dir);
    char *line, *save = NULL;

    if (fs_read("/proc/self/mountinfo", 0, &text, NULL, NULL) < 0)
        return;
    for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *word = line;
        for (int field = 1; word && field < MOUNT_POINT_FIELD; field++)
            word = strchr(word, ' ') ? strchr(word, ' ') + 1 : NULL;
        if (!word)
            continue;
        word[strcspn(word, " ")] = '\0';
        if (str_starts(word, prefix))
            strv_push(ret, word);
    }
}

/* Inodes of the network namespaces that are the cluster's: its nodes', and those that agents keep mounted below dir. */
static size_t find_netns(const struct cluster_plan *p, const struct strv *mounts, ino_t *ret)
{
    size_t n = 0;
    struct stat st;
    char ns[CLUSTER_NAME_MAX];

    for (unsigned node = 1; node <= p->nodes; node++) {
        _cleanup_free_ char *path = cluster_ns_path(cluster_node_ns(p, node, ns));
        if (stat(path, &st) == 0)
            ret[n++] = st.st_ino;
    }
    for (size_t i = 0; i < mounts->len; i++)
        if (stat(mounts->items[i], &st) == 0 && S_ISREG(st.st_mode))
            ret[n++] = st.st_ino;
    return n;
}

static int stop_daemons(const struct cluster_plan *p, struct gw_error *err)
{
    int r = 0;
    char name[CLUSTER_NAME_MAX];

    for (unsigned node = 1; r >= 0 && node <= p->nodes; node++) {
        _cleanup_free_ char *pid_file = cluster_path(p, "run/%s.pid", cluster_node_name(node, name));
        r = daemon_stop(pid_file, STOP_TIMEOUT_MS, err);
    }
    _cleanup_free_ char *pid_file = cluster_path(p, "run/%s.pid", CLUSTER_SERVER);
    return r < 0 ? r : daemon_stop(pid_file, STOP_TIMEOUT_MS, err);
}

static int unmount_all(const struct strv *mounts, struct gw_error *err)
{
    for (size_t i = mounts->len; i > 0; i--)
        if (umount2(mounts->items[i - 1], MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
            return gw_error_errno(err, errno, "unmount %s", mounts->items[i - 1]);
    return 0;
}

/* The cgroups of the pods whose notes lie in the agents' folders; killed processes leave them a moment late. */
static void remove_cgroups(const struct cluster_plan *p)
{
    for (unsigned node = 1; node <= p->nodes; node++) {
        _cleanup_free_ char *pods = cluster_path(p, "nodes/node%u/pods", node);
        DIR *dir = opendir(pods);
        for (struct dirent *e = NULL; dir && (e = readdir(dir));) {
            _cleanup_free_ char *group = xasprintf("godwit/%s", e->d_name);
            for (int tries = 0; e->d_name[0] != '.' && tries < 50 && !cgroup_remove(group); tries++)
                usleep(20000);
        }
        if (dir)
            closedir(dir);
    }
    (void)cgroup_remove("godwit"); /* stays while another cluster uses it */
}

static int purge_data(const struct cluster_plan *p, struct gw_error *err)
{
    static const char *const made[] = {"server", "nodes", "local",      "shared",      "images",
                                       "logs",   "run",   "kubeconfig", "cluster.json"};
    int r = 0;

    for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(made); i++) {
        _cleanup_free_ char *path = cluster_path(p, "%s", made[i]);
        r = fs_remove_tree(path, err);
    }
    (void)rmdir(p->dir); /* stays if the user keeps other things in it */
    return r;
}

int cluster_down(const struct cluster_plan *p, bool purge, struct gw_error *err)
{
    _cleanup_strv_ struct strv mounts = {0};
    int r = stop_daemons(p, err);

    if (r < 0)
        return r;
    mounts_below(p->dir, &mounts);
    _cleanup_free_ ino_t *netns = xnew_n(ino_t, mounts.len + p->nodes);
    int strays = daemons_kill_strays(p->dir, netns, find_netns(p, &mounts, netns));
    remove_cgroups(p);
    r = unmount_all(&mounts, err);
    if (r >= 0)
        r = cluster_network_down(p, err);
    if (r >= 0 && purge)
        r = purge_data(p, err);
    if (r >= 0)
        cluster_say("cluster", "gw%s is down, %d virtual machine processes ended%s", p->id, strays,
                    purge ? ", its data are gone" : "");
    return r;
}
