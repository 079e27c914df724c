/* `godwit server`: the parts of the API server put together, from start to shutdown. */
#pragma once

#include <stdint.h>

#include "apiserver/oidc.h"
#include "base/error.h"

struct server_config {
    const char *data_dir; /* everything that must survive; made if absent, 0700 */
    const char *address;  /* to listen on; 0.0.0.0 and :: mean all */
    uint16_t port;
    const char *advertise;     /* address for kubeconfigs; NULL: address, or 127.0.0.1 when that means all */
    const char *const *names;  /* further names and addresses for the server's certificate; NULL-terminated, or NULL */
    const char *kubeconfig;    /* where the administrator's goes; NULL: DATA_DIR/admin.kubeconfig */
    const char *static_tokens; /* file of static tokens, or NULL */
    const char *audit_log;     /* file that writes are recorded in (audit.h), or NULL */
    const char *encryption_keys; /* file of keys for Secrets at rest, or NULL */
    int64_t certificate_life_s;  /* no certificate that it issues lives longer; 0: each as long as its kind */
    struct oidc_config oidc;     /* issuer_url NULL: no issuer */
};

/* Serves until SIGTERM or SIGINT. Signals must be handled by nobody else; call it in a process with one thread. */
int server_run(const struct server_config *config, struct gw_error *err);
