/* Bringing a cluster up is one sequence of steps that each look first and then make what is missing, so the same
 * command starts a new cluster, repairs one of which something was killed, and does nothing on one that is well. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/meta.h"
#include "base/alloc.h"
#include "base/base64.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/random.h"
#include "base/str.h"
#include "cli/api.h"
#include "cli/cluster/cluster.h"
#include "cli/cluster/daemons.h"
#include "cli/cluster/network.h"
#include "client/resources.h"
#include "pki/pki.h"

#define SERVER_TIMEOUT_MS 30000
#define NODES_TIMEOUT_MS 90000
#define POLL_US 100000
#define LOG_TAIL_LINES 15

void cluster_say(const char *name, const char *fmt, ...)
{
    va_list ap;

    printf("%-10s ", name);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
}

static int make_folders(const struct cluster_plan *p, struct gw_error *err)
{
    static const struct {
        const char *name;
        mode_t mode;
    } folders[] = {{"server", 0700}, {"nodes", 0711},  {"logs", 0700}, {"run", 0700},
                   {"images", 0755}, {"shared", 0711}, {"local", 0711}};
    _cleanup_free_ char *plan_file = cluster_path(p, "cluster.json"), *plan = cluster_plan_encode(p);
    int r = fs_mkdirs(p->dir, 0755, err);

    for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(folders); i++) {
        _cleanup_free_ char *path = cluster_path(p, "%s", folders[i].name);
        r = fs_mkdirs(path, folders[i].mode, err);
    }
    for (unsigned node = 1; r >= 0 && node <= p->nodes; node++) {
        _cleanup_free_ char *state = cluster_path(p, "nodes/node%u", node),
                            *local = cluster_path(p, "local/node%u", node);
        r = fs_mkdirs(state, 0711, err);
        r = r < 0 ? r : fs_mkdirs(local, 0711, err);
    }
    return r < 0 ? r : fs_write(plan_file, plan, strlen(plan), 0644, err);
}

/* The keys of Secrets on disk are made once; without them the Secrets are lost. */
static int make_keys(const struct cluster_plan *p, struct gw_error *err)
{
    _cleanup_free_ char *path = cluster_path(p, CLUSTER_KEYS);
    _cleanup_key_ char *text = NULL;
    unsigned char key[32];
    int r;

    if (!p->encrypted || fs_exists(path))
        return 0;
    random_bytes(key, sizeof(key));
    text = base64_encode(key, sizeof(key));
    r = fs_write(path, text, strlen(text), 0600, err);
    explicit_bzero(key, sizeof(key));
    return r;
}

/* The last lines of a text. */
static const char *tail(const char *text, int lines)
{
    const char *at = text + strlen(text);

    while (at > text && lines >= 0)
        if (*--at == '\n')
            lines--;
    return at > text ? at + 1 : text;
}

static int say_log(const struct cluster_plan *p, const char *name, int number, struct gw_error *err)
{
    _cleanup_free_ char *path = cluster_path(p, "logs/%s.log", name), *text = NULL;

    if (fs_read(path, 0, &text, NULL, NULL) < 0)
        return number;
    fprintf(stderr, "--- end of %s\n%s---\n", path, tail(text, LOG_TAIL_LINES));
    return gw_error_wrap(err, number, "%s", name);
}

static int start(const struct cluster_plan *p, const char *name, const char *netns, struct strv *argv,
                 struct gw_error *err)
{
    _cleanup_free_ char *pid_file = cluster_path(p, "run/%s.pid", name), *log = cluster_path(p, "logs/%s.log", name);
    struct daemon_spec spec = {
        .argv = (const char *const *)argv->items, .pid_file = pid_file, .log_file = log, .netns = netns};
    pid_t pid = daemon_start(&spec, err);

    return pid < 0 ? gw_error_wrap(err, pid, "%s", name) : 0;
}

/* A process that was just started has no pid file yet; so it counts as gone only if it stays away for a while. */
static bool gone(const struct cluster_plan *p, const char *name, int64_t since_ms)
{
    _cleanup_free_ char *pid_file = cluster_path(p, "run/%s.pid", name);

    return clock_monotonic_ms() - since_ms > 1000 && daemon_pid(pid_file) == 0;
}

static char *own_program(void)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path));

    return n > 0 && (size_t)n < sizeof(path) ? xstrndup(path, (size_t)n) : xstrdup("/proc/self/exe");
}

static int try_server(const struct cluster_plan *p, struct gw_error *err)
{
    _cleanup_free_ char *kubeconfig = cluster_path(p, "kubeconfig");
    _cleanup_cli_api_ struct cli_api api = {0};
    _cleanup_doc_ yyjson_doc *answer = NULL;
    int r = cli_api_open(&api, kubeconfig, err);

    return r < 0 ? r : cli_api_get(&api, "/api/v1/namespaces/default", &answer, err);
}

static int up_server(const struct cluster_plan *p, const char *program, struct gw_error *err)
{
    int64_t begin = clock_monotonic_ms();
    char address[CLUSTER_NAME_MAX];
    _cleanup_strv_ struct strv argv = {0};

    cluster_server_argv(p, program, &argv);
    int r = start(p, CLUSTER_SERVER, NULL, &argv, err);
    if (r < 0)
        return r;
    while ((r = try_server(p, err)) < 0) {
        if (gone(p, CLUSTER_SERVER, begin))
            return say_log(p, CLUSTER_SERVER, gw_error_set(err, GW_INTERNAL_ERROR, "the process has ended"), err);
        if (clock_monotonic_ms() - begin > SERVER_TIMEOUT_MS)
            return say_log(p, CLUSTER_SERVER, r, err);
        usleep(POLL_US);
    }
    gw_error_done(err);
    cluster_say(CLUSTER_SERVER, "https://%s:%d answers after %.1f s", cluster_host_address(p, address), CLUSTER_PORT,
                (double)(clock_monotonic_ms() - begin) / 1000);
    return 0;
}

/* One look: marks the nodes that have become Ready. Returns how many still are not, negative if the server is not
 * there. */
static int look_at_nodes(struct cli_api *api, const struct cluster_plan *p, bool *ready, int64_t begin,
                         struct gw_error *err)
{
    _cleanup_doc_ yyjson_doc *list = NULL;
    int missing = 0, r = cli_api_get(api, "/api/v1/nodes", &list, err);
    yyjson_val *items = r < 0 ? NULL : json_at(yyjson_doc_get_root(list), "/items"), *item;

    for (unsigned node = 1; r >= 0 && node <= p->nodes; node++) {
        char name[CLUSTER_NAME_MAX];
        cluster_node_name(node, name);
        json_each(items, item)
            if (!ready[node] && streq(json_str_or(item, "/metadata/name", ""), name) && condition_true(item, "Ready")) {
                ready[node] = true;
                cluster_say(name, "Ready after %.1f s", (double)(clock_monotonic_ms() - begin) / 1000);
            }
        missing += !ready[node];
    }
    return r < 0 ? r : missing;
}

static int await_nodes(const struct cluster_plan *p, struct gw_error *err)
{
    _cleanup_free_ char *kubeconfig = cluster_path(p, "kubeconfig");
    _cleanup_cli_api_ struct cli_api api = {0};
    bool ready[CLUSTER_MAX_NODES + 1] = {false};
    int64_t begin = clock_monotonic_ms();
    int r = cli_api_open(&api, kubeconfig, err);

    if (r < 0)
        return r;
    while ((r = look_at_nodes(&api, p, ready, begin, err)) != 0) {
        bool late = clock_monotonic_ms() - begin > NODES_TIMEOUT_MS;
        for (unsigned node = 1; node <= p->nodes; node++) {
            char name[CLUSTER_NAME_MAX];
            bool ended = gone(p, cluster_node_name(node, name), begin);
            if (ended || (late && !ready[node])) {
                r = gw_error_set(err, GW_TIMEOUT, ended ? "the agent has ended" : "the node does not get Ready");
                return say_log(p, name, r, err);
            }
        }
        if (late)
            return r < 0 ? r : gw_error_set(err, GW_TIMEOUT, "the nodes do not get Ready");
        usleep(POLL_US);
    }
    return 0;
}

static int up_agents(const struct cluster_plan *p, const char *program, struct gw_error *err)
{
    int r = 0;

    for (unsigned node = 1; r >= 0 && node <= p->nodes; node++) {
        char ns[CLUSTER_NAME_MAX], name[CLUSTER_NAME_MAX];
        _cleanup_free_ char *netns = cluster_ns_path(cluster_node_ns(p, node, ns));
        _cleanup_strv_ struct strv argv = {0};
        cluster_agent_argv(p, program, node, &argv);
        r = start(p, cluster_node_name(node, name), netns, &argv, err);
    }
    return r < 0 ? r : await_nodes(p, err);
}

int cluster_prepare(const struct cluster_plan *p, struct gw_error *err)
{
    char address[CLUSTER_NAME_MAX];
    int r;

    cluster_say("cluster", "gw%s in %s: %u nodes, links %s", p->id, p->dir, p->nodes,
                p->link_rate ? p->link_rate : "without limit");
    r = make_folders(p, err);
    r = r < 0 ? r : make_keys(p, err);
    if (r >= 0)
        r = cluster_network_up(p, err);
    if (r >= 0)
        cluster_say("network", "%s/24, one namespace per node", cluster_host_address(p, address));
    return r;
}

int cluster_up(const struct cluster_plan *p, struct gw_error *err)
{
    _cleanup_free_ char *program = own_program();
    int r = up_server(p, program, err);

    return r < 0 ? r : up_agents(p, program, err);
}
