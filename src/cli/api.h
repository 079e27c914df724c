/* The API for commands: a client from a kubeconfig, and calls that wait for their answer. */
#pragma once

#include <systemd/sd-event.h>

#include "client/client.h"

struct cli_api {
    sd_event *loop;
    struct api_client *client;
    char *namespace_; /* of the kubeconfig's context */
};

/* kubeconfig NULL: $KUBECONFIG, else ~/.kube/config. */
int cli_api_open(struct cli_api *api, const char *kubeconfig, struct gw_error *err);
void cli_api_done(struct cli_api *api);
#define _cleanup_cli_api_ _cleanup_(cli_api_done)

/* GET of a path as api_path() makes it; the answer's document is the caller's. */
int cli_api_get(struct cli_api *api, const char *path, yyjson_doc **ret, struct gw_error *err);
