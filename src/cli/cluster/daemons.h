/* Background processes known by a pid file. The file is written by the process itself before it becomes the program,
 * and holds the pid and when the process was started, so that neither a crash of the starter nor a reused pid misleads.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

struct daemon_spec {
    const char *const *argv; /* argv[0] is a path */
    const char *pid_file;
    const char *log_file; /* appended to */
    const char *netns;    /* path of a network namespace, or NULL for the caller's */
};

/* Starts it unless it runs. Returns its pid. */
pid_t daemon_start(const struct daemon_spec *spec, struct gw_error *err);

/* Its pid, or 0 when it does not run. */
pid_t daemon_pid(const char *pid_file);

/* SIGTERM, and SIGKILL when it has not ended after timeout_ms. Removes the pid file. Fine when it does not run. */
int daemon_stop(const char *pid_file, int timeout_ms, struct gw_error *err);

/* Ends, at once, every process that hangs on the cluster in dir: those in one of the network namespaces, by inode, and
 * godwit's and QEMU's that name a file under dir in their command line. Returns how many. */
int daemons_kill_strays(const char *dir, const ino_t *netns, size_t n_netns);
