/* The launcher's control socket: one JSON object per line.
 *
 *   {"do": "status"}                   -> {"state": "running", "launcherPid": 1, "qemuPid": 2, "answered": true}
 *   {"do": "powerdown"}                -> {"done": "powerdown"}
 *   {"do": "kill", "reason": "..."}    -> {"done": "kill"}; reason is what exit.json will say
 *
 * Whoever is connected sees the connection end when QEMU has ended and exit.json is written (or the launcher has died).
 */
#pragma once

#include <sys/types.h>

#include "agent/launcher/loop.h"
#include "base/error.h"

struct control_actions {
    void (*powerdown)(void);
    void (*kill)(const char *reason);
    bool (*answered)(void);
};

int control_start(struct loop *loop, const char *dir, pid_t qemu_pid, const struct control_actions *actions,
                  struct gw_error *err);
