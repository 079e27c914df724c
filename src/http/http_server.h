/* The HTTPS server. One loop thread does all the I/O; complete requests run on worker threads.
 *
 * A handler is called on a worker thread once a request is complete, may block (in the store, say), and before it
 * returns it must either answer or turn the connection into a stream; a handler that does neither has answered 500.
 * After that the request must not be touched any more.
 *
 * http_server.c opens with how it works and what its limits are. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/blob.h"
#include "base/error.h"

struct http_server;
struct http_request;
struct http_stream;

typedef void (*http_handler)(struct http_request *r, void *userdata);

struct http_config {
    const char *address;  /* "127.0.0.1", "::", "0.0.0.0" */
    uint16_t port;        /* 0: any free one, see http_server_port */
    const char *cert_pem; /* the server's chain, leaf first; NULL: plain HTTP (unit tests only) */
    const char *key_pem;
    http_handler handler;
    void *userdata;
    const char *const *urgent; /* beginnings of targets that wait for nobody; NULL-terminated, or NULL */
    /* Limits; 0 takes the default in brackets. */
    unsigned workers;         /* [16] */
    size_t max_body;          /* bytes of a request body [3 MiB, as kube-apiserver]; more is 413 */
    size_t max_header;        /* bytes of request line and headers [32 KiB]; more is 431 */
    unsigned max_connections; /* in all [8192] */
    unsigned max_per_client;  /* from one address [4096] */
    unsigned max_waiting;     /* requests of one user that wait for a worker [2048]; more are 429 */
    unsigned idle_timeout_s;  /* for a handshake, for request headers, between requests [120] */
    unsigned body_timeout_s;  /* for a whole request body [60] */
    size_t max_backlog;       /* bytes that a stream may have waiting before its reader is cut off [8 MiB] */
};

/* Binds, and serves on `loop` from its next turn on. Free it on the loop's thread. */
int http_server_new(sd_event *loop, const struct http_config *config, struct http_server **ret, struct gw_error *err);

/* Stops accepting and ends all streams; calls done (on the loop) when the last request is answered, or after
 * timeout_ms. */
void http_server_drain(struct http_server *s, unsigned timeout_ms, void (*done)(void *userdata), void *userdata);

/* Waits for handlers that still run, cuts all connections. NULL is allowed. */
struct http_server *http_server_free(struct http_server *s);

uint16_t http_server_port(const struct http_server *s);

/* New connections get this certificate from now on. Call on the loop's thread. */
int http_server_set_identity(struct http_server *s, const char *cert_pem, const char *key_pem, struct gw_error *err);

/* Numbers for /metrics and tests; any thread. */
struct http_counters {
    uint64_t requests;
    uint64_t streams;     /* open now */
    uint64_t connections; /* open now */
    uint64_t cut;         /* streams cut because their reader was too slow */
};
struct http_counters http_server_counters(struct http_server *s);

/* --- The request. Strings live as long as the request. --- */

const char *http_method(const struct http_request *r);
const char *http_target(const struct http_request *r);                   /* as sent; http/uri.h parses it */
const char *http_header(const struct http_request *r, const char *name); /* any case; NULL when absent */
/* Calls visit for each header, in their order; one that was sent several times comes several times. */
void http_each_header(const struct http_request *r, void (*visit)(void *data, const char *name, const char *value),
                      void *data);
const char *http_body(const struct http_request *r, size_t *ret_len); /* never NULL, NUL-terminated */
const char *http_client_address(const struct http_request *r);        /* "10.0.0.7" */
/* Non-NULL when the request is not to be served but refused with this error: a body beyond max_body, for one. */
const struct gw_error *http_fault(const struct http_request *r);

/* Whose requests come by this connection: its next ones wait with those of the same user, and users take turns. */
void http_set_user(struct http_request *r, const char *name);

/* The token of "Authorization: Bearer ..." or NULL. */
const char *http_bearer_token(const struct http_request *r);

/* The certificate that the client proved to hold the key of, DER, leaf first; 0 when it sent none. It is NOT verified
 * against any CA here: that is the caller's decision (pki_trust_verify). */
struct http_der {
    const void *data;
    size_t len;
};
size_t http_peer_chain(const struct http_request *r, struct http_der *ret, size_t max);

/* One pointer kept per connection (requests of a connection never overlap), for what was learned from its certificate.
 */
void *http_connection_data(const struct http_request *r);
void http_set_connection_data(struct http_request *r, void *data, void (*free_data)(void *));

/* --- The answer --- */

/* A piece of a body: len bytes of blob from offset on. */
struct http_part {
    struct blob *blob;
    size_t offset;
    size_t len;
};

/* Adds a header to the answer or stream; before http_answer and the like. */
void http_add_header(struct http_request *r, const char *name, const char *value);

/* Answers with the n parts one after the other; takes over one reference of each part's blob. content_type NULL: none.
 * HEAD requests send the headers only; large bodies are compressed if the client takes gzip. */
void http_answer(struct http_request *r, int status, const char *content_type, const struct http_part *parts, size_t n);

/* The same with one copied text; NULL: no body. */
void http_answer_text(struct http_request *r, int status, const char *content_type, const char *text);

/* --- Streams: an answer of unknown length (chunked), fed later from any thread --- */

/* Called once on the loop's thread when the stream is over: closed by us, left by the client, or cut off. Don't block.
 */
typedef void (*http_stream_closed)(struct http_stream *st, void *userdata);

/* Sends status and headers at once and leaves the connection open. Returns one reference for the caller. */
struct http_stream *http_stream_start(struct http_request *r, int status, const char *content_type,
                                      http_stream_closed closed, void *userdata);

/* Queues the parts; takes over one reference of each part's blob, in any case. Never blocks. Returns -EPIPE when the
 * stream is over, which includes: more than max_backlog bytes were waiting, so the reader has just been cut off. */
int http_stream_send(struct http_stream *st, const struct http_part *parts, size_t n);

/* Waits on a worker thread until at most `bytes` are waiting: for bulk, such as the first state of a watch.
 * -ETIMEDOUT (the reader takes nothing for timeout_ms) or -EPIPE. */
int http_stream_wait(struct http_stream *st, size_t bytes, unsigned timeout_ms);

/* Ends the stream after what is queued. */
void http_stream_close(struct http_stream *st);

struct http_stream *http_stream_ref(struct http_stream *st);
struct http_stream *http_stream_unref(struct http_stream *st);
