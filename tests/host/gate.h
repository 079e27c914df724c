/* A gate in a machine's QMP session: everything passes, but one command is held back until QEMU has come to a certain run
 * state by itself. So a test hits the instant between a decision of ours and its command. */
#pragma once

#include <stdbool.h>

#include "lab.h"

struct gate;

/* For machine_reopen()s from now on. The first command of that name waits for run_state (asked of QEMU's second monitor, which
 * lifts a migration's limit meanwhile), for at most ten seconds; those behind it wait too, events and replies pass. */
struct gate *gate_new(struct machine *m, const char *command, const char *run_state);
/* Whether the command came, and met the run state. */
bool gate_was_met(struct gate *g);
/* When nobody uses the machine any more. */
void gate_free(struct gate *g);
