/* The launcher's own QMP session, over a socket that QEMU inherits: it learns why QEMU ends (SHUTDOWN says the reason)
 * and can ask for a powerdown while no agent is there. */
#pragma once

#include <stdbool.h>

#include "agent/launcher/loop.h"

/* One monitor per process; fd is owned from then on. */
void monitor_start(struct loop *loop, int fd);

/* Reads what QEMU still said, after its death. */
void monitor_drain(void);

/* QEMU has answered a command, so it is past its set-up (it greets before). */
bool monitor_answered(void);

/* The reason of the last SHUTDOWN event ("guest-shutdown", "host-qmp-quit", ...), NULL if there was none. */
const char *monitor_shutdown(void);

/* Presses the guest's power button. */
void monitor_powerdown(void);
