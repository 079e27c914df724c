/* The transport over HTTPS: libcurl's multi interface on an sd-event loop, keep-alive, HTTP/1.1.
 * Authentication is a client certificate or a bearer token; the server is checked against one pinned CA only. */
#pragma once

#include <systemd/sd-event.h>

#include "client/client.h"

/* PEM texts; all copied by client_curl_new. */
struct client_config {
    char *server;      /* "https://host:port", without a slash at the end */
    char *ca;          /* certificate authority; NULL only with insecure */
    char *cert, *key;  /* client certificate, or NULL */
    char *token;       /* bearer token, or NULL */
    char *server_name; /* name to verify instead of the host in `server`, or NULL */
    char *namespace_;  /* of the kubeconfig's context; "default" if it names none */
    char *user_agent;  /* NULL: "godwit" */
    bool insecure;     /* insecure-skip-tls-verify: for foreign kubeconfigs only */
};

void client_config_done(struct client_config *cfg);
#define _cleanup_client_config_ _cleanup_(client_config_done)

/* A client on loop, which is referenced. No connection is made before the first call. */
int client_curl_new(sd_event *loop, const struct client_config *cfg, struct api_client **ret, struct gw_error *err);

/* A connection of its own to c's server, with c's certificate shown, for what is not a request (channel.c). Blocks.
 * *ret_easy is a CURL handle made with CURLOPT_CONNECT_ONLY, which the caller cleans up; *ret_head are the header lines
 * Host and, with a token, Authorization, which the caller frees. */
int client_curl_connect(struct api_client *c, void **ret_easy, char **ret_head, struct gw_error *err);

/* Checks the server with these authorities from now on; open connections live on. */
int client_curl_set_ca(struct api_client *c, const char *ca, struct gw_error *err);

/* Brings this bearer token from now on; NULL: none. */
void client_curl_set_token(struct api_client *c, const char *token);

/* Uses a new certificate and key from now on (rotation): later connections present them, open ones live on. NULL:
 * none. */
int client_curl_set_cert(struct api_client *c, const char *cert, const char *key, struct gw_error *err);
