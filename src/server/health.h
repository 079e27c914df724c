/* /livez, /readyz and /healthz, open to everybody as Kubernetes has them: load balancers and service managers ask here.
 * "ok", or a line for each check with ?verbose and when one fails (then 500); ?exclude=NAME leaves checks out, and each
 * check has a path of its own (/readyz/ping). */
#pragma once

#include <stdbool.h>

#include "http/http_server.h"

/* The beginnings of these targets, which must be answered when nothing else is any more: for http_config.urgent. */
extern const char *const health_targets[];

/* Answers r if its target is one of health. serving: the server has started and is not about to stop. */
bool health_answer(struct http_request *r, bool serving);
