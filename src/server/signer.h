/* The signers of CertificateSigningRequests. What a request must be, and by whom, is decided by pure functions;
 * signer_process does what follows: approve, sign or deny, with a reason in the conditions. docs/security.md lists the
 * rules for operators. */
#pragma once

#include "apiserver/rest.h"
#include "server/authorities.h"

struct signer {
    struct rest_server *rest;
    struct authorities *authorities;
    int64_t longest_s; /* server_config.certificate_life_s */
};

/* Looks at one request (its whole object) and does what is due; nothing for those that are done or not ours.
 * Level-triggered: may be called any number of times. Negative: to be tried again. */
int signer_process(struct signer *s, yyjson_val *csr, struct gw_error *err);

/* Whether a request has been answered long enough ago, or has waited too long, to be removed. */
bool signer_is_stale(yyjson_val *csr, int64_t wall_ms);
