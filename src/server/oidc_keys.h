/* Reads the keys of an OpenID Connect issuer, in a thread of its own: its discovery document
 * (ISSUER/.well-known/openid-configuration) and the key set that this names, over HTTPS. At once, every few minutes,
 * and soon after a token named a key that is not known; a failure is logged and tried again, and the keys that are
 * known stay. */
#pragma once

#include "apiserver/oidc.h"

struct oidc_keys;

int oidc_keys_start(const struct oidc_config *config, struct oidc *oidc, struct oidc_keys **ret, struct gw_error *err);
/* Waits for the thread, which gives up what it is reading. Nobody may check tokens any more. NULL is allowed. */
struct oidc_keys *oidc_keys_stop(struct oidc_keys *k);
