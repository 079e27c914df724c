/* Encryption of single values at rest: AES-256-GCM, with the value's key in the store as associated data, so that no
 * value passes for another's. A sealed value names the encryption key that it was sealed with. Nonces are random: one
 * encryption key is good for some 2^32 writes. Internal to src/store but for the reading of keys. */
#pragma once

#include <stdbool.h>

#include "base/blob.h"
#include "base/error.h"

/* Encryption keys: the first seals, all open. Safe on any thread. */
struct seal_keys;

/* From lines of 32 bytes in base64; empty ones are skipped. */
int seal_keys_parse(const char *text, struct seal_keys **ret, struct gw_error *err);
int seal_keys_read(const char *path, struct seal_keys **ret, struct gw_error *err);
/* Wipes them. NULL is allowed; returns NULL. */
struct seal_keys *seal_keys_free(struct seal_keys *k);
DEFINE_CLEANUP(struct seal_keys *, seal_keys_free)
#define _cleanup_seal_keys_ _cleanup_(seal_keys_freep)

/* name: the value's key in the store. */
int seal_value(const struct seal_keys *k, const char *name, const struct blob *plain, struct blob **ret,
               struct gw_error *err);
/* Fails for a value that was changed, belongs to another name, or was sealed with a key that is not among these. */
int seal_open(const struct seal_keys *k, const char *name, const struct blob *sealed, struct blob **ret,
              struct gw_error *err);

bool seal_is_sealed(const struct blob *value);
/* With the first key. */
bool seal_is_current(const struct seal_keys *k, const struct blob *value);
