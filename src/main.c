/* The one executable: a table of subcommands, each a small file in cli/. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/cli.h"

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help; /* NULL: for developers, not listed */
} commands[] = {
    {"cluster", cmd_cluster, "a whole cluster on this machine: up, status, down"},
    {"watch", cmd_watch, "follow a migration with a progress bar"},
    {"fields", cmd_fields, NULL},
    {"agent", cmd_agent, "run this host's VMs; one per host"},
    {"launcher", cmd_launcher, NULL},
    {"image", cmd_image, "container disks: import, list"},
    {"server", cmd_server, "run the API server and the controllers"},
    {"version", cmd_version, "print the version"},
};

static int usage(FILE *out)
{
    fputs("usage: godwit COMMAND [ARGS]\n\n", out);
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        if (commands[i].help)
            fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].help);
    return out == stderr ? 2 : 0;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return usage(stderr);
    if (streq(argv[1], "help") || streq(argv[1], "--help"))
        return usage(stdout);
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        if (streq(argv[1], commands[i].name))
            return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "godwit: unknown command \"%s\"\n", argv[1]);
    return usage(stderr);
}
