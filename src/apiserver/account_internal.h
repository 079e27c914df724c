/* Shared by account_token.c and account_check.c. */
#pragma once

#include "apiserver/account_token.h"

/* Kinds of objects that a token can be bound to: it ends with them. */
struct account_bound {
    const char *kind;  /* of the core group */
    const char *claim; /* below "kubernetes.io", with name and uid */
};
extern const struct account_bound account_bounds[]; /* ends with a row without kind */
const struct account_bound *account_bound_find(const char *kind);

/* system:serviceaccount:NS:NAME. Freed by the caller. */
char *account_subject(yyjson_val *account);
