#include "probe.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "echo.h"

atomic_bool probe_stop;

static const struct {
    const char *name;
    int (*run)(const struct probe_options *o);
    const char *help;
} subcommands[] = {
    {"udp", probe_udp, "send datagrams to a UDP echo service; report losses and the longest gap"},
    {"ticks", probe_ticks, "receive a guest's ticks; report losses and the longest gap"},
    {"echo", probe_echo, "drive TCP echo sessions and check every byte"},
    {"serve", probe_serve, "serve TCP echo sessions and check every byte"},
    {"proxy", probe_proxy, "pass TCP on, slowed or stalled; commands on stdin: delay MS, rate KIB, stall MS, cut, heal"},
};
#define N_SUBCOMMANDS (sizeof(subcommands) / sizeof(subcommands[0]))

static const struct option long_options[] = {
    {"address", required_argument, NULL, 'a'},  {"port", required_argument, NULL, 'p'},
    {"interval", required_argument, NULL, 'i'}, {"sessions", required_argument, NULL, 'n'},
    {"seconds", required_argument, NULL, 's'},  {"to", required_argument, NULL, 't'},
    {"to-port", required_argument, NULL, 'P'},  {"delay", required_argument, NULL, 'd'},
    {"rate", required_argument, NULL, 'r'},     {0},
};

static int usage(void)
{
    fputs("usage: probe SUBCOMMAND [--address A] [--port P] [--interval MS] [--sessions N] [--seconds N]\n"
          "             [--to A --to-port P --delay MS --rate KIB]\n\n",
          stderr);
    for (size_t i = 0; i < N_SUBCOMMANDS; i++)
        fprintf(stderr, "  %-8s %s\n", subcommands[i].name, subcommands[i].help);
    return 2;
}

static int parse(int argc, char **argv, struct probe_options *o)
{
    int c;

    while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        unsigned number = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;
        switch (c) {
        case 'a': o->address = optarg; break;
        case 'p': o->port = (int)number; break;
        case 'i': o->interval_ms = number; break;
        case 'n': o->sessions = number; break;
        case 's': o->seconds = number; break;
        case 't': o->to = optarg; break;
        case 'P': o->to_port = (int)number; break;
        case 'd': o->delay_ms = number; break;
        case 'r': o->rate_kib = number; break;
        default: return -1;
        }
    }
    return optind == argc ? 0 : -1;
}

static void stop(int signal)
{
    (void)signal;
    probe_stop = true;
}

int main(int argc, char **argv)
{
    struct probe_options o = {.address = "127.0.0.1", .port = ECHO_PORT, .interval_ms = 5, .sessions = 1};
    struct sigaction on_signal = {.sa_handler = stop};

    if (argc < 2 || parse(argc - 1, argv + 1, &o) < 0)
        return usage();
    sigaction(SIGINT, &on_signal, NULL);
    sigaction(SIGTERM, &on_signal, NULL);
    sigaction(SIGALRM, &on_signal, NULL);
    signal(SIGPIPE, SIG_IGN);
    alarm(o.seconds);
    for (size_t i = 0; i < N_SUBCOMMANDS; i++)
        if (strcmp(argv[1], subcommands[i].name) == 0)
            return subcommands[i].run(&o);
    return usage();
}
