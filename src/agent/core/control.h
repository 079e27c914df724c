/* The agent's end of a launcher's control socket (launcher/control.h). */
#pragma once

#include <systemd/sd-event.h>

#include "base/error.h"

struct control;

/* ended is called once, from the loop, when the launcher closes the connection: QEMU has ended, or the launcher was
 * killed. */
int control_open(sd_event *loop, const char *dir, void (*ended)(void *userdata), void *userdata, struct control **ret,
                 struct gw_error *err);
struct control *control_close(struct control *c);

void control_powerdown(struct control *c);
void control_kill(struct control *c, const char *reason);
