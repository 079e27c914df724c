/* Bootstrap tokens, ID.SECRET (6 and 16 of a-z0-9): what joining agents bring. They come from the server's file, and
 * from Secrets kube-system/bootstrap-token-ID of type bootstrap.kubernetes.io/token as in Kubernetes, which count as
 * long as they are there, are meant for authentication and have not expired. */
#pragma once

#include "apiserver/identity.h"
#include "apiserver/rest.h"

/* A new one. Freed by the caller. */
char *bootstrap_token_new(void);

/* Whether a text has the form of one. */
bool bootstrap_token_is_one(const char *text);

/* Whoever brings it: system:bootstrap:ID in system:bootstrappers. */
struct identity *bootstrap_identity(const char *token);

/* By the Secrets. 0 with *ret NULL if there is none of this ID, or it has another secret; Unauthorized with the reason
 * if it is not to be used. */
int bootstrap_token_check(struct rest_server *s, const char *token, struct identity **ret, struct gw_error *err);

/* Whether a Secret is a bootstrap token that has ended, and may be removed. */
bool bootstrap_secret_is_stale(yyjson_val *secret, int64_t wall_ms);
