/* The API for commands: a client from a kubeconfig, and calls that wait for their answer. */
#pragma once

#include <systemd/sd-event.h>

#include "client/client.h"

struct cli_api {
    sd_event *loop;
    struct api_client *client;
    char *namespace_; /* of the kubeconfig's context */
};

/* The kubeconfig that counts when none is named, for kubeconfig_load_list: $KUBECONFIG, else ~/.kube/config. Caller
 * frees. */
char *cli_default_kubeconfig(void);

/* kubeconfig NULL: the files of $KUBECONFIG as one, else ~/.kube/config. */
int cli_api_open(struct cli_api *api, const char *kubeconfig, struct gw_error *err);
/* The same with one of its contexts; NULL: the current one. */
int cli_api_open_context(struct cli_api *api, const char *kubeconfig, const char *context, struct gw_error *err);
void cli_api_done(struct cli_api *api);
#define _cleanup_cli_api_ _cleanup_(cli_api_done)

/* GET of a path as api_path() makes it; the answer's document is the caller's. */
int cli_api_get(struct cli_api *api, const char *path, yyjson_doc **ret, struct gw_error *err);
/* Any request; body (may be NULL) is sent as JSON. *ret is NULL when the answer has no body. err keeps the reason that
 * the server gave. */
int cli_api_call(struct cli_api *api, const char *method, const char *path, yyjson_mut_doc *body, yyjson_doc **ret,
                 struct gw_error *err);
