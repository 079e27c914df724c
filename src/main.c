/* The one executable: a table of subcommands, each a small file in cli/. */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/cli.h"

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    void (*usage)(FILE *out); /* NULL: it takes no arguments, or knows --help itself */
    const char *help;         /* NULL: for developers, not listed */
} commands[] = {
    {"ca", cmd_ca, usage_ca, "replace the certificate authorities while everything runs"},
    {"cluster", cmd_cluster, usage_cluster, "a whole cluster on this machine: up, status, down"},
    {"watch", cmd_watch, usage_watch, "follow a migration with a progress bar"},
    {"fields", cmd_fields, NULL, NULL},
    {"agent", cmd_agent, usage_agent, "run this host's VMs; one per host"},
    {"kubeconfig", cmd_kubeconfig, usage_kubeconfig, "access for a person: a certificate with user and groups"},
    {"launcher", cmd_launcher, NULL, NULL},
    {"virtctl", cmd_virtctl, NULL, "start, stop, migrate, ... virtual machines, as virtctl does"},
    {"image", cmd_image, usage_image, "container disks: import, list"},
    {"server", cmd_server, usage_server, "run the API server and the controllers"},
    {"version", cmd_version, NULL, "print the version"},
};

/* The names by which virtctl's users call it: the program's own, and kubectl's plugin. */
static bool is_virtctl(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

    return streq(name, "virtctl") || streq(name, "kubectl-virt");
}

static int usage(FILE *out)
{
    fputs("usage: godwit COMMAND [ARGS]\n\n", out);
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        if (commands[i].help)
            fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].help);
    return out == stderr ? EXIT_USAGE : 0;
}

static int run(const struct command *command, int argc, char **argv)
{
    for (int i = 1; i < argc && command->usage && !streq(argv[i], "--"); i++)
        if (streq(argv[i], "--help") || streq(argv[i], "-h"))
            return command->usage(stdout), 0;
    int code = command->run(argc, argv);
    if (code == EXIT_USAGE && command->usage)
        command->usage(stderr);
    return code;
}

int main(int argc, char **argv)
{
    static const struct command virtctl = {"virtctl", cmd_virtctl, NULL, NULL};

    if (argc > 0 && is_virtctl(argv[0]))
        return run(&virtctl, argc, argv);
    if (argc < 2)
        return usage(stderr);
    if (streq(argv[1], "help") || streq(argv[1], "--help"))
        return usage(stdout);
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
        if (streq(argv[1], commands[i].name))
            return run(&commands[i], argc - 1, argv + 1);
    fprintf(stderr, "godwit: unknown command \"%s\"\n", argv[1]);
    return usage(stderr);
}
