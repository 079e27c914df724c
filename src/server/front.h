/* The front of the API: who asks, which part answers, and the answer's way back. */
#pragma once

#include "apiserver/authn.h"
#include "apiserver/discovery.h"
#include "apiserver/rest.h"
#include "http/http_server.h"

struct front {
    struct rest_server *rest;
    struct discovery *discovery;
    struct authn *authn;
    struct audit *audit; /* NULL: no log */
    bool ready;          /* atomic: what /readyz says */
};

/* http_handler; userdata is the struct front. */
void front_handle(struct http_request *r, void *userdata);
