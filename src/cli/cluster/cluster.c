#include "cli/cluster/cluster.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <fcntl.h>

#include "base/alloc.h"
#include "base/fs.h"
#include "cli/cli.h"
#include "cli/cluster/network.h"

#define DEFAULT_DIR "/var/lib/godwit/cluster"
#define DEFAULT_NODES 2
#define LOCK_FILE "/run/godwit-cluster.lock"
#define MAX_ATTEMPTS 100

struct options {
    const char *dir;
    const char *link_rate, *certificate_lifetime;
    unsigned nodes; /* 0: as it is, or DEFAULT_NODES */
    bool purge, encrypt;
};

void usage_cluster(FILE *out)
{
    fputs(
        "usage: godwit cluster up     [--dir DIR] [--nodes N] [--link-rate RATE] [--encrypt-secrets]\n"
        "                            [--certificate-lifetime DURATION]\n"
        "       godwit cluster status [--dir DIR]\n"
        "       godwit cluster down   [--dir DIR] [--purge]\n\n"
        "A whole cluster on this machine: the server, and N nodes that are network namespaces joined by a bridge.\n\n"
        "  --dir DIR         its folder, with kubeconfig, logs and data (default " DEFAULT_DIR ")\n"
        "  --nodes N         1 to 64 (default 2); a cluster that is up can get more\n"
        "  --link-rate RATE  of each node's link in each direction, such as 1gbit or 100mbit (default: no limit)\n"
        "  --encrypt-secrets encrypt Secrets on disk, from the server's next start on and for good, with keys in\n"
        "                    DIR/" CLUSTER_KEYS "\n"
        "  --certificate-lifetime DURATION\n"
        "                    no certificate that it issues lives longer, from the server's next start on, such as 24h\n"
        "                    (default: a year)\n"
        "  --purge           remove the cluster's data as well\n",
        out);
}

static int parse(int argc, char **argv, struct options *o, struct gw_error *err)
{
    static const struct option options[] = {{"dir", required_argument, NULL, 'd'},
                                            {"nodes", required_argument, NULL, 'n'},
                                            {"link-rate", required_argument, NULL, 'r'},
                                            {"encrypt-secrets", no_argument, NULL, 'e'},
                                            {"purge", no_argument, NULL, 'p'},
                                            {"certificate-lifetime", required_argument, NULL, 'c'},
                                            {0}};
    uint64_t rate;
    int c;

    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'd':
            o->dir = optarg;
            break;
        case 'n':
            o->nodes = (unsigned)strtoul(optarg, NULL, 10);
            if (o->nodes < 1 || o->nodes > CLUSTER_MAX_NODES)
                return gw_error_set(err, GW_INVALID, "--nodes %s: want 1 to %d", optarg, CLUSTER_MAX_NODES);
            break;
        case 'r':
            o->link_rate = optarg;
            if (cluster_rate_parse(optarg, &rate, err) < 0)
                return gw_error_wrap(err, -EINVAL, "--link-rate");
            break;
        case 'e':
            o->encrypt = true;
            break;
        case 'c':
            o->certificate_lifetime = optarg;
            break;
        case 'p':
            o->purge = true;
            break;
        default:
            return gw_error_set(err, GW_INVALID, "unknown option");
        }
    }
    return optind == argc ? 0 : gw_error_set(err, GW_INVALID, "unexpected argument \"%s\"", argv[optind]);
}

/* The folder's real path, so that two ways to write it are one cluster; create: it is made if it is missing. */
static char *resolve(const char *dir, bool create, struct gw_error *err)
{
    char path[PATH_MAX];

    if (create && fs_mkdirs(dir, 0755, err) < 0)
        return NULL;
    if (!realpath(dir, path)) {
        gw_error_errno(err, errno, "%s", dir);
        return NULL;
    }
    return xstrdup(path);
}

/* The plan noted in dir: 1, 0 if there is none. */
static int read_plan(struct cluster_plan *p, const char *dir, struct gw_error *err)
{
    _cleanup_free_ char *path = xasprintf("%s/cluster.json", dir), *text = NULL;
    size_t len = 0;
    int r = fs_exists(path) ? fs_read(path, 0, &text, &len, err) : 0;

    if (r < 0 || !text)
        return r;
    r = cluster_plan_decode(p, dir, text, len, err);
    return r < 0 ? r : 1;
}

static int new_plan(struct cluster_plan *p, const char *dir, struct gw_error *err)
{
    for (unsigned attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
        cluster_plan_make(p, dir, DEFAULT_NODES, NULL, attempt);
        if (!cluster_network_taken(p))
            return 0;
        cluster_plan_done(p);
    }
    return gw_error_set(err, GW_CONFLICT,
                        "no free names and addresses for a cluster; take one down that is not needed");
}

static int up(const struct options *o, struct gw_error *err)
{
    _cleanup_free_ char *dir = resolve(o->dir, true, err);
    _cleanup_plan_ struct cluster_plan plan = {0};
    /* Held until the names are taken, so that clusters started at the same time choose different ones. */
    _cleanup_close_ int lock = open(LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (!dir)
        return -EINVAL;
    if (lock < 0 || flock(lock, LOCK_EX) < 0)
        return gw_error_errno(err, errno, "%s", LOCK_FILE);
    int r = read_plan(&plan, dir, err);
    if (r == 0)
        r = new_plan(&plan, dir, err);
    if (r < 0)
        return r;
    if (o->nodes != 0 && r == 1 && o->nodes < plan.nodes)
        return gw_error_set(err, GW_INVALID, "the cluster has %u nodes and cannot shrink; take it down first",
                            plan.nodes);
    plan.nodes = o->nodes ? o->nodes : plan.nodes;
    if (o->link_rate) {
        free(plan.link_rate);
        plan.link_rate = xstrdup(o->link_rate);
    }
    if (o->certificate_lifetime) {
        free(plan.certificate_lifetime);
        plan.certificate_lifetime = xstrdup(o->certificate_lifetime);
    }
    plan.encrypted = plan.encrypted || o->encrypt;
    r = cluster_prepare(&plan, err);
    if (r < 0)
        return r;
    close(TAKE_FD(lock));
    r = cluster_up(&plan, err);
    if (r >= 0)
        printf("\nexport KUBECONFIG=%s/kubeconfig\n", plan.dir);
    return r;
}

static int existing(const struct options *o, struct cluster_plan *plan, struct gw_error *err)
{
    if (!fs_exists(o->dir))
        return 0;
    _cleanup_free_ char *dir = resolve(o->dir, false, err);
    return dir ? read_plan(plan, dir, err) : -EINVAL;
}

static int down(const struct options *o, struct gw_error *err)
{
    _cleanup_plan_ struct cluster_plan plan = {0};
    int r = existing(o, &plan, err);

    if (r == 0)
        cluster_say("cluster", "there is none in %s", o->dir);
    return r <= 0 ? r : cluster_down(&plan, o->purge, err);
}

static int status(const struct options *o, struct gw_error *err)
{
    _cleanup_plan_ struct cluster_plan plan = {0};
    int r = existing(o, &plan, err);

    if (r < 0)
        return r;
    if (r == 0)
        return gw_error_set(err, GW_NOT_FOUND, "there is no cluster in %s", o->dir);
    return cluster_status(&plan) ? 0 : -EAGAIN; /* what is wrong was printed */
}

static const struct {
    const char *name;
    int (*run)(const struct options *o, struct gw_error *err);
    bool needs_root;
} verbs[] = {{"up", up, true}, {"down", down, true}, {"status", status, false}};

static int run_verb(size_t i, int argc, char **argv, struct gw_error *err)
{
    struct options o = {.dir = DEFAULT_DIR};
    int r = parse(argc, argv, &o, err);

    if (r < 0)
        return r;
    if (verbs[i].needs_root && geteuid() != 0)
        return gw_error_set(err, GW_FORBIDDEN, "needs root for namespaces and links: sudo godwit cluster %s ...",
                            verbs[i].name);
    return verbs[i].run(&o, err);
}

int cmd_cluster(int argc, char **argv)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;

    for (size_t i = 0; argc > 1 && i < ARRAY_SIZE(verbs); i++) {
        if (!streq(argv[1], verbs[i].name))
            continue;
        int r = run_verb(i, argc - 1, argv + 1, &err);
        if (err.reason != GW_OK)
            fprintf(stderr, "godwit cluster %s: %s\n", verbs[i].name, gw_error_message(&err));
        return r < 0 ? 1 : 0;
    }
    return EXIT_USAGE;
}
