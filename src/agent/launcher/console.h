/* The serial console: QEMU's end is a socket that the launcher holds from before QEMU runs, so that no byte is lost.
 * What the guest says goes to the log and to everybody who is connected to the console socket; what any of them types
 * goes to the guest. Whoever reads too slowly loses his connection, never the guest's time. */
#pragma once

#include <stdint.h>

#include "agent/launcher/loop.h"
#include "base/error.h"

/* fd: our end of QEMU's console (owned from then on). dir gets console.sock and console.log; a log that has reached
 * log_max bytes becomes console.log.1. One console per process. */
int console_start(struct loop *loop, int fd, const char *dir, int64_t log_max, struct gw_error *err);

/* Reads what QEMU still left in the socket, after its death. */
void console_drain(void);
