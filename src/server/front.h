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
    int64_t refused_ms;  /* atomic: when it was last said why somebody is not believed */
    bool ready;          /* atomic: what /readyz says */
};

/* Serves a request of user (request->user may be another one, as whom it is made) and audits it. Blocks. */
void front_serve(struct front *f, const struct api_user *user, struct api_request *request, const char *address,
                 struct api_response *response);

/* http_handler; userdata is the struct front. */
void front_handle(struct http_request *r, void *userdata);
