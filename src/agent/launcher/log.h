/* The launcher's log, which `kubectl logs` shows: what the launcher does, and what QEMU says on stderr. Each line
 * begins with its time ("2026-11-21T08:00:00.000000Z ") for whoever asks for --since or --timestamps. */
#pragma once

#include <stddef.h>

#include "base/cleanup.h"

/* One log per process, in the pod's folder. Without it, all below do nothing. */
void launcher_log_open(const char *dir);

/* A line of the launcher's own. */
void launcher_log(const char *fmt, ...) _printf_(1, 2);

/* What QEMU said, in whatever portions; the end of a line that was not finished comes with launcher_log_flush. */
void launcher_log_qemu(const char *data, size_t len);
void launcher_log_flush(void);
