/* The agent's endpoint: HTTPS with mutual TLS on the node's address. Two kinds of callers are known: other agents (a
 * node's certificate), and the API server, which has already asked whether the user may (docs/agent.md).
 *
 * Everything runs on the agent's loop. */
#pragma once

#include "agent/agent.h"
#include "http/http_server.h"
#include "http/uri.h"

struct endpoint;

enum endpoint_caller {
    CALLER_AGENT,  /* CN=system:node:NAME */
    CALLER_SERVER, /* CN=system:godwit:apiserver */
};
#define ENDPOINT_SERVER_NAME "system:godwit:apiserver"

/* A request of a known caller. Strings live during the call, the request as http_later has it. */
struct endpoint_call {
    struct agent *agent;
    struct http_request *request;
    const struct http_uri *uri;
    const char *node; /* of CALLER_AGENT */
    const char *uid;  /* the path's second segment, "" without one */
    const char *what; /* its third */
    const char *rest; /* its fourth, "" without one */
};

/* Serves METHOD /first/UID/third[/rest] for one kind of caller; third NULL: METHOD /first. A table ends with a row
 * without method. */
struct endpoint_route {
    const char *method, *first, *third;
    enum endpoint_caller caller;
    void (*serve)(void *userdata, const struct endpoint_call *call);
};

struct endpoint *endpoint_new(struct agent *a);
struct endpoint *endpoint_free(struct endpoint *e);

/* Adds a table of routes, which must outlive the endpoint. */
void endpoint_add(struct endpoint *e, const struct endpoint_route *routes, void *userdata);

/* Callers must show a certificate of these authorities, from the next request on; before the first call nobody is
 * known. */
int endpoint_trust(struct endpoint *e, const char *ca_pem, struct gw_error *err);

/* Listens, on the configured address and port, with this serving certificate. Once it listens: later connections see
 * this certificate, open ones live on. */
int endpoint_listen(struct endpoint *e, const char *cert_pem, const char *key_pem, struct gw_error *err);

/* 0 until it listens. */
int endpoint_port(const struct endpoint *e);

/* Answers with a text, and sends it if the call was put off. */
void endpoint_refuse(struct http_request *r, int status, const char *fmt, ...) _printf_(3, 4);
