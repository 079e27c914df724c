/* Secrets of type kubernetes.io/service-account-token: whoever makes one with the annotation
 * kubernetes.io/service-account.name gets a token without end in it (data.token, data.ca.crt, data.namespace), as from
 * Kubernetes' token controller. It goes when the account goes. */
#pragma once

#include "apiserver/rest.h"

/* Fills one Secret if it is of that type and lacks something, or removes it if its account is gone. Level-triggered. A
 * Secret that names an account which is not there yet waits for it. Negative: to be tried again. */
int account_secret_ensure(struct rest_server *rest, const char *ca_pem, yyjson_val *secret, struct gw_error *err);

/* The same for all Secrets of a namespace: after a ServiceAccount came or went. */
int account_secrets_ensure(struct rest_server *rest, const char *ca_pem, const char *namespace, struct gw_error *err);
