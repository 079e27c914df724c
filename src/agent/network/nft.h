/* nftables rule sets as text, applied atomically by libnftables in the calling thread's network namespace. */
#pragma once

#include "base/error.h"

/* Applies the commands as one transaction: all or nothing. The error carries nft's own words. */
int nft_apply(const char *commands, struct gw_error *err);

/* What a "list" command prints; caller frees. NULL when it fails (the object is not there). */
char *nft_list(const char *command);
