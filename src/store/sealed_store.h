/* A store in front of another that encrypts the values of some keys (seal.h) and hands on all else as it is. */
#pragma once

#include "store/seal.h"
#include "store/store.h"

/* Puts itself before inner for the keys that begin with prefix. Whenever the first of the encryption keys is another
 * than last time, values are encrypted anew, plain ones too, and what the files hold of earlier versions is wiped;
 * nobody else may use inner meanwhile. keys NULL: *ret is inner itself, and an error says so if its values are
 * encrypted.
 *
 * On success inner and keys belong to *ret and are closed with it; on failure they stay the caller's. */
int store_open_sealed(struct store *inner, const char *prefix, struct seal_keys *keys, struct store **ret,
                      struct gw_error *err);
