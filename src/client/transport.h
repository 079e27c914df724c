/* What a transport implements below client.h: the real one is client_curl.c, simulations bring their own.
 *
 * A transport gets a call with what to send, and reports with api_call_data (any number of times) and api_call_end
 * (once), but never from inside `start`. After api_call_end or `cancel` the call is gone. */
#pragma once

#include "base/str.h"
#include "client/client.h"
#include "client/lines.h"

struct api_client_ops {
    void (*start)(struct api_client *c, struct api_call *call);
    /* Forget the call: neither data nor end may be reported afterwards. */
    void (*cancel)(struct api_client *c, struct api_call *call);
    /* Frees the transport; all calls were cancelled before. */
    void (*free)(struct api_client *c);
};

struct api_client {
    const struct api_client_ops *ops;
    struct api_call *calls; /* running ones; kept by client.c */
};

struct api_call {
    /* what to send; constant while the call lives */
    const char *method; /* static */
    char *path;
    const char *content_type; /* static, NULL without body */
    struct blob *body;
    bool stream; /* a watch: no time limit, data are lines */
    int timeout_ms;

    void *transport; /* the transport's own state of this call */

    /* client.c's */
    struct api_client *client;
    struct api_call *prev, *next;
    struct line_splitter lines; /* of a watch */
    struct str text;            /* the body of anything else */
    struct gw_error failure;    /* what ends a watch */
    bool busy, dead;            /* in a callback; cancelled meanwhile */
    api_done_fn done;
    api_event_fn on_event;
    api_end_fn end;
    void *userdata;
};

/* A piece of the body; code is the HTTP status. false: the call was cancelled by its callback and is gone. */
bool api_call_data(struct api_call *call, int code, const void *data, size_t len);

/* The end: code 0 and err when no (whole) answer came. err stays the transport's. Frees the call. */
void api_call_end(struct api_call *call, int code, const struct gw_error *err);
