/* What a process gives up before it becomes QEMU. To be called in the child, after fork and before exec, in this order;
 * each returns 0 or a negative errno with *ret_what naming what failed. The caller is root and has one thread. */
#pragma once

#include "agent/launcher/spec.h"

/* A mount namespace whose root holds nothing but the system's programs and libraries (read-only), a /dev of a few
 * devices that belong to QEMU's user, an empty /tmp, and the paths of the spec. */
int sandbox_mounts(const struct launcher_spec *s, const char **ret_what);

/* The unprivileged user, no capabilities, no way to get any; death with the parent; only descriptors up to `keep`. */
int sandbox_user(const struct launcher_spec *s, int keep, const char **ret_what);

/* For the launcher itself once QEMU runs: drops all capabilities but CAP_KILL. That one it needs: the kernel lets a
 * dying parent's death signal through only if the parent could have sent it, and QEMU belongs to another user. */
int sandbox_launcher(const char **ret_what);
