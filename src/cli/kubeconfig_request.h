/* A certificate for a person, asked of the server and approved in one go: for administrators who are not where the
 * server's data directory is. */
#pragma once

#include <stdint.h>

#include "client/client_curl.h"
#include "pki/pki.h"

/* By the rights of the kubeconfig in use, which must allow to create and to approve certificate requests. Fills ret
 * with the server, its authorities, certificate and key; the caller clears it. */
int kubeconfig_request(const struct pki_subject *subject, int64_t lifetime_s, struct client_config *ret,
                       struct gw_error *err);
