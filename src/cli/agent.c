/* godwit agent: one per host. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/alloc.h"
#include "base/log.h"
#include "cli/cli.h"

static struct agent_config config = {.qemu_uid = 107, .qemu_gid = 107};

/* Text options; numbers are read from `number` afterwards. */
static const struct row {
    const char *name;
    char **text;
    unsigned *number;
    const char *fallback, *help;
} rows[] = {
    {"server", &config.server, NULL, NULL, "URL of the API server"},
    {"ca-file", &config.ca_file, NULL, NULL, "the cluster's certificate authority"},
    {"token-file", &config.token_file, NULL, NULL, "bootstrap token; needed only to join"},
    {"node", &config.node, NULL, NULL, "name of the node"},
    {"address", &config.address, NULL, NULL, "IPv4 address by which the others reach the node"},
    {"state-dir", &config.state_dir, NULL, "/var/lib/godwit/agent", "certificates, pods"},
    {"run-dir", &config.run_dir, NULL, NULL, "what need not outlive a reboot (STATE-DIR/run)"},
    {"images-dir", &config.images_dir, NULL, "/var/lib/godwit/images", "the image store"},
    {"shared-dir", &config.shared_dir, NULL, NULL, "a folder that all nodes see, for volumes of class shared"},
    {"local-dir", &config.local_dir, NULL, NULL, "this node's own folder for volumes of class local"},
    {"cluster-cidr", &config.cluster_cidr, NULL, "10.244.0.0/16", "range of all pods' and VMs' addresses"},
    {"qemu", &config.qemu, NULL, "qemu-system-x86_64", "QEMU's program"},
    {"qemu-uid", NULL, &config.qemu_uid, NULL, "user that QEMU runs as (107)"},
    {"qemu-gid", NULL, &config.qemu_gid, NULL, "its group (107)"},
    {"direct-port", NULL, (unsigned *)&config.listen_port, NULL,
     "port for the API server and the other agents (any free one)"},
};

void usage_agent(FILE *out)
{
    fputs("usage: godwit agent --server=URL --ca-file=FILE --node=NAME --address=IP [OPTIONS]\n\n", out);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        fprintf(out, "  --%-14s %s%s%s%s\n", rows[i].name, rows[i].help, rows[i].fallback ? " (" : "",
                rows[i].fallback ? rows[i].fallback : "", rows[i].fallback ? ")" : "");
    fputs("  --debug          say more\n", out);
}

static bool read_options(int argc, char **argv, bool *ret_debug)
{
    struct option options[ARRAY_SIZE(rows) + 2] = {{"debug", no_argument, NULL, 'd'}};
    int c, index;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        options[i + 1] = (struct option){rows[i].name, required_argument, NULL, 'o'};
    while ((c = getopt_long(argc, argv, "", options, &index)) != -1) {
        if (c == 'd')
            *ret_debug = true;
        else if (c != 'o')
            return false;
        else if (rows[index - 1].text)
            *rows[index - 1].text = optarg;
        else
            *rows[index - 1].number = (unsigned)strtoul(optarg, NULL, 10);
    }
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
        if (rows[i].text && !*rows[i].text)
            *rows[i].text = (char *)rows[i].fallback;
    return optind == argc && config.server && config.ca_file && config.node && config.address && config.qemu_uid != 0;
}

int cmd_agent(int argc, char **argv)
{
    _cleanup_error_ struct gw_error err = GW_ERROR_INIT;
    _cleanup_free_ char *run_dir = NULL, *who = NULL;
    bool debug = false;

    if (!read_options(argc, argv, &debug))
        return EXIT_USAGE;
    if (geteuid() != 0) {
        fputs("godwit agent: network namespaces, cgroups and QEMU's user need root\n", stderr);
        return 1;
    }
    run_dir = xasprintf("%s/run", config.state_dir);
    if (!config.run_dir)
        config.run_dir = run_dir;
    who = xasprintf("agent %s", config.node);
    log_init(who, debug ? LOG_DEBUG_ : LOG_INFO_);
    if (agent_run(&config, &err) < 0) {
        log_failure(-1, &err, "agent");
        return 1;
    }
    return 0;
}
