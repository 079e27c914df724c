/* The test guest's agent: a few services that show from inside whether a guest was moved intact.
 *
 * It answers one-line commands on TCP port 7000 with one line, "ok ..." or "error ...", and repeats both on the console.
 * The services are one file each; every command is one row of the table in agent.c. */
#pragma once

#include <stdio.h>

#define AGENT_PORT 7000

/* A command gets its arguments (at least as many as its row says, then NULL) and writes the one line of its answer. */
typedef void command_fn(char **args, FILE *answer);

/* memory.c: a region of numbered pages, a writer of settable rate, and a check of every byte. */
command_fn memory_init, memory_dirty, memory_verify;
/* journal.c: records written to a disk one by one, each synced before the next. */
command_fn journal_start, journal_stop, journal_verify;
/* net.c: UDP ticks; TCP and UDP echo, served and driven. */
command_fn tick_start, tick_stop, echo_open, echo_close, echo_status;
void net_serve(void);

/* Starts a detached thread, or ends the agent: there is no memory for it at boot. */
void spawn(void *(*run)(void *), void *arg);
