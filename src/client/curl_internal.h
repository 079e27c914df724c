/* Shared by client_curl.c (the client) and curl_transfer.c (one call). */
#pragma once

#include <curl/curl.h>

#include "base/str.h"
#include "client/client_curl.h"
#include "client/curl_loop.h"
#include "client/transport.h"

/* A PEM text as a file name. */
struct pem {
    int fd;
    char path[32];
};

struct curl_client {
    struct api_client client;
    struct curl_loop *loop;
    struct client_config cfg;
    struct pem ca, cert, key;
    struct pem old_ca, old_cert, old_key; /* of the last rotation: transfers under way may still open them */
    struct transfer *transfers;
};

struct transfer {
    struct curl_client *owner;
    struct api_call *call;
    struct transfer *prev, *next;
    CURL *easy;
    struct curl_slist *headers, *connect_to;
    struct str data;
    char error[CURL_ERROR_SIZE];
    bool ended;
    CURLcode result;
};

/* Begins; the client's loop hears of its end. */
struct transfer *transfer_new(struct curl_client *c, struct api_call *call);
void transfer_free(struct transfer *t);

/* The HTTP status; 0 while there is none. */
int transfer_code(const struct transfer *t);
/* Why it has no answer. */
void transfer_error(const struct transfer *t, struct gw_error *err);
