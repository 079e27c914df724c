/* Running another program to its end. Blocks: for commands and worker threads, not for loops. */
#pragma once

#include "base/error.h"

struct process_options {
    const char *folder; /* working folder; NULL: the caller's */
    int timeout_ms;     /* the program is killed then (-ETIMEDOUT); 0: 60 s */
    int inherit_fd;     /* handed on as descriptor 3; 0: none */
    int *ret_status;    /* the exit code is returned here instead of being an error, 128 + signal if one ended it */
};

/* Runs argv[0] (searched in PATH) with stdin from /dev/null and no other descriptors. Its output goes to ret_output
 * (may be NULL; at most 16 MiB; the caller frees). A program that cannot be started, or ends with another code than 0,
 * is an error that carries the tail of what it said on stderr. options may be NULL. */
int process_run(const char *const *argv, const struct process_options *options, char **ret_output,
                struct gw_error *err);
