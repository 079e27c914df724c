/* The roles and bindings of the store, kept parsed in memory. They are renewed by the store's own events, taken in
 * before each question: a request is judged by all changes that were acknowledged before it, and nothing is read or
 * parsed for it. */
#pragma once

#include "api/kind.h"
#include "apiserver/request.h"
#include "rbac/rbac.h"
#include "store/store.h"

struct roles;

int roles_new(struct store *store, struct kinds *kinds, struct roles **ret, struct gw_error *err);
struct roles *roles_free(struct roles *r); /* before store_close */

/* A user, as rbac/ knows him. */
static inline struct rbac_user roles_user(const struct api_user *u)
{
    return (struct rbac_user){u->name, u->groups, u->n_groups};
}

/* The policy of now, held still until roles_unlock. While the store can't be read it is empty: nobody has a role. Any
 * thread; hold it for questions only. */
const struct rbac_policy *roles_lock(struct roles *r);
void roles_unlock(struct roles *r);

/* Takes in what has changed, unless somebody is at it: to be called at least as often as there are writes, or their
 * events pile up while nobody asks. */
void roles_keep_up(struct roles *r);
