/* The HTTPS server. One loop thread does all the I/O; complete requests run on worker threads, or on the loop's.
 *
 * A handler is called on a worker thread once a request is complete, may block (in the store, say), and before it
 * returns it must answer, turn the connection into a stream, or upgrade it; a handler that does none of these has
 * answered 500. After that the request must not be touched any more.
 *
 * With `on_loop` there are no workers: handlers run on the loop's thread and must not block, but may put an answer off.
 *
 * http_server.c opens with how it works and what its limits are. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
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
    bool on_loop;             /* handlers run on the loop's thread; no workers */
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

/* Work of the process's own for one of the workers: it waits for its turn among the requests of that user. Any thread;
 * job lives until run begins, and user is not kept. What waits when the server is freed never runs. */
struct http_job {
    void (*run)(struct http_job *job);
    struct http_job *next; /* the queue's */
};
void http_server_work(struct http_server *s, const char *user, struct http_job *job);

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

/* With on_loop: the handler returns without an answer, which is made later on the loop's thread and then sent by
 * http_send. Until then the request stays valid, even if its client leaves; the server is not freed before. */
void http_later(struct http_request *r);
void http_send(struct http_request *r);

/* --- Upgrades: the connection becomes a channel of bytes, both ways --- */

struct http_upgrade;

/* Both are called on the loop's thread. */
struct http_upgrade_handlers {
    /* 101 was sent. u NULL: the client left before; nothing follows. */
    void (*open)(void *userdata, struct http_upgrade *u);
    /* The server is stopping: call http_upgrade_end before returning. Only between open and http_upgrade_end. */
    void (*cut)(void *userdata);
};

/* Answers 101 with "Upgrade: protocol". handlers must outlive the server; headers can be added before. */
void http_upgrade(struct http_request *r, const char *protocol, const struct http_upgrade_handlers *handlers,
                  void *userdata);

/* The rest is for the loop's thread, and never blocks. The descriptor is for waiting only: reading may go on without
 * another event as long as it does not say -EAGAIN, since TLS takes in whole records. */
int http_upgrade_fd(const struct http_upgrade *u);
/* Bytes read; 0 at the end; -EAGAIN; or another negative errno. */
ssize_t http_upgrade_read(struct http_upgrade *u, void *buf, size_t len);
/* Bytes taken; after -EAGAIN the next call must begin with the same bytes. */
ssize_t http_upgrade_write(struct http_upgrade *u, const void *data, size_t len);

/* The end of it: what was written is still delivered. u must not be used any more. */
void http_upgrade_end(struct http_upgrade *u);

/* Keep-alive and time limits as the server's own connections have them, for other TCP sockets. */
void http_tune(int fd);

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

/* Bytes that wait for the reader now. */
size_t http_stream_waiting(struct http_stream *st);

/* Ends the stream after what is queued. */
void http_stream_close(struct http_stream *st);

struct http_stream *http_stream_ref(struct http_stream *st);
struct http_stream *http_stream_unref(struct http_stream *st);
