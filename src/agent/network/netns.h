/* Named network namespaces: a file on which the namespace is mounted keeps it, as `ip netns` does. The caller's own
 * namespace never changes: what must run inside runs in a thread of its own. */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* Makes a namespace mounted on path, whose folder must exist. One that is there already is kept. */
int netns_create(const char *path, struct gw_error *err);

/* Whether path is a namespace, not only the empty file that a killed process left. */
bool netns_exists(const char *path);

/* An open descriptor of the namespace, close-on-exec. */
int netns_open(const char *path, struct gw_error *err);

/* Unmounts and removes path; an absent one is fine. The namespace lives on while processes are inside. */
int netns_remove(const char *path, struct gw_error *err);

/* Calls fn(data, err) in a thread inside the namespace and returns what it returns. /proc/sys/net is the namespace's
 * there. */
int netns_run(const char *path, int (*fn)(void *data, struct gw_error *err), void *data, struct gw_error *err);

/* Writes a value to /proc/sys/net/<name> of the calling thread's namespace unless it is there already. Returns 1 if it
 * was changed, 0 if not; -ENOENT (without err) where the kernel has no such setting. */
int netns_sysctl(const char *name, const char *value, struct gw_error *err);
/* The value as a number, or fallback. */
long netns_sysctl_get(const char *name, long fallback);
