/* Files: whole reads, atomic durable writes, directory trees. All fill err with the path. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

/* Reads a whole file (at most max bytes, 0 = 64 MiB); NUL-terminated, caller frees; ret_len may be NULL. -ENOENT if
 * absent. */
int fs_read(const char *path, size_t max, char **ret, size_t *ret_len, struct gw_error *err);

/* The same for a file with a key or a token that this program has written: refused (-EPERM, with what to do) if others
 * than its owner may read or write it, as ssh does. */
int fs_read_secret(const char *path, size_t max, char **ret, size_t *ret_len, struct gw_error *err);

/* For a secret that somebody else has put there: others than its owner may read or write it. Pipes and the like are as
 * their makers want them: false. */
bool fs_is_shared(const char *path);

/* Replaces path by data: written beside it, synced, renamed, folder synced. After a return of 0 it survives a power
 * cut. */
int fs_write(const char *path, const void *data, size_t len, mode_t mode, struct gw_error *err);

/* mkdir -p. */
int fs_mkdirs(const char *path, mode_t mode, struct gw_error *err);

/* rm -rf; an absent path is fine; never crosses into other file systems. */
int fs_remove_tree(const char *path, struct gw_error *err);

bool fs_exists(const char *path);
