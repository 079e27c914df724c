/* What the server does on its own, in one thread: signs certificate requests, takes CustomResourceDefinitions into the
 * registry, compacts the store, removes stale requests. It follows the store's changes, so nothing depends on who made
 * them; and it looks at everything once at its start and after a lost watch, so nothing depends on having been there.
 */
#pragma once

#include "server/signer.h"
#include "store/store.h"

struct chores;

/* The pointers in signer must outlive it. CustomResourceDefinitions that are there are registered when this returns. */
int chores_start(const struct signer *signer, struct chores **ret, struct gw_error *err);

/* Waits for the thread. NULL is allowed. */
struct chores *chores_stop(struct chores *c);
