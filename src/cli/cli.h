/* The subcommands of the table in main.c. Each gets its own name as argv[0] and returns the exit code. */
#pragma once

int cmd_cluster(int argc, char **argv);
int cmd_watch(int argc, char **argv);
int cmd_fields(int argc, char **argv);
int cmd_agent(int argc, char **argv);
int cmd_launcher(int argc, char **argv);
int cmd_image(int argc, char **argv);
int cmd_server(int argc, char **argv);
int cmd_version(int argc, char **argv);
