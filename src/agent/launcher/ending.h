/* How a QEMU ended, noted durably in exit.json by its launcher, read by the agent. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct ending {
    char *reason;  /* see agent/pod.h, struct pod_exit */
    int code;      /* exit code, -1 if a signal ended it or it never started */
    int signal;    /* 0 if none did */
    char *message; /* tail of stderr, or what could not be started; "" */
    int64_t at_ms; /* wall clock */
};

void ending_done(struct ending *e);
#define _cleanup_ending_ _cleanup_(ending_done)

int ending_write(const struct ending *e, const char *dir, struct gw_error *err);
/* -ENOENT when there is none. */
int ending_read(const char *dir, struct ending *ret, struct gw_error *err);

/* The reason's name from what is known: the reason of QEMU's SHUTDOWN event (NULL: none came), whether we killed it and
 * why (NULL: not), whether it ever answered, and its wait status. */
const char *ending_reason(const char *shutdown, const char *killed, bool answered, int status);
