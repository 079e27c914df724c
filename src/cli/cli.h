/* The subcommands of the table in main.c. Each gets its own name as argv[0] and returns the exit code; for EXIT_USAGE
 * main prints how the command is used, and it does so for --help, which no command but virtctl sees. */
#pragma once

#include <stdio.h>

#define EXIT_USAGE 2

int cmd_ca(int argc, char **argv);
int cmd_cluster(int argc, char **argv);
int cmd_watch(int argc, char **argv);
int cmd_fields(int argc, char **argv);
int cmd_agent(int argc, char **argv);
int cmd_kubeconfig(int argc, char **argv);
int cmd_launcher(int argc, char **argv);
int cmd_image(int argc, char **argv);
int cmd_server(int argc, char **argv);
int cmd_virtctl(int argc, char **argv);
int cmd_version(int argc, char **argv);

void usage_ca(FILE *out);
void usage_cluster(FILE *out);
void usage_watch(FILE *out);
void usage_agent(FILE *out);
void usage_kubeconfig(FILE *out);
void usage_image(FILE *out);
void usage_server(FILE *out);
