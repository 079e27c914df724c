/* Shared by the files of this folder. Who may touch what: fields marked L belong to the loop's thread; W to the one
 * worker that runs the request, while its connection is suspended; the rest says which lock guards it. */
#pragma once

#include <gnutls/abstract.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>

#include "base/str.h"
#include "base/vec.h"
#include "http/http_server.h"

struct http_connection {
    struct http_server *s;
    struct MHD_Connection *mhd;
    struct http_connection *prev, *next; /* L: all connections */
    struct http_request *request;        /* L: the one being served */
    int fd;
    bool met;            /* L: it has begun a request, so its handshake is over */
    unsigned lane;       /* that its requests wait in; changed by W */
    int64_t deadline_ms; /* L: cut when it passes; 0 = the client owes nothing */
    void *data;          /* W */
    void (*free_data)(void *);
    char address[INET6_ADDRSTRLEN];
};

/* NEW -> BODY -> RUNNING (suspended, a worker has it) -> ANSWERED (posted back) -> SENDING; or, upgraded,
 * RUNNING -> SENDING (still suspended) -> OVER */
enum request_phase {
    REQUEST_NEW,
    REQUEST_BODY,
    REQUEST_RUNNING,
    REQUEST_ANSWERED,
    REQUEST_SENDING,
    REQUEST_OVER,
};

struct header {
    char *name, *value;
};
VEC_DEFINE(header_vec, struct header);
VEC_DEFINE(part_vec, struct http_part);

/* What a suspended connection is written and read by (wire.c). L. */
struct wire {
    int fd;
    gnutls_session_t session; /* NULL: plain */
    bool unfinished;          /* a write is to be repeated */
};

struct http_request {
    struct http_connection *c;
    enum request_phase phase; /* L */
    char *method, *target;
    struct str body;
    struct gw_error fault;
    int status; /* W from here on: the answer; 0 = none yet */
    char *content_type;
    struct header_vec headers;
    struct part_vec parts;
    struct http_stream *stream;
    struct http_upgrade *upgrade;
    bool old;                  /* L: HTTP/1.0 */
    bool later;                /* L: the handler answers by http_send */
    bool *started;             /* on the worker's stack: the handler made a stream, the request is gone */
    struct http_job job;       /* in the queue of the workers */
    struct http_request *next; /* in the post */
};

struct http_stream {
    unsigned refs;
    struct http_server *s;
    struct http_connection *c; /* L */
    bool suspended;            /* L: MHD waits for us, */
    bool chunked;              /* L: and we write chunks to */
    struct wire wire;          /* L: this, */
    struct str rest;           /* L: of which these bytes were not taken */
    sd_event_source *source;   /* L */
    http_stream_closed closed;
    void *userdata;
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t taken;
    struct part_vec queue;
    size_t first;   /* index of the first part in queue that is not sent */
    size_t waiting; /* bytes */
    unsigned waiters;
    bool closing, cut, over, kicked;
    struct http_stream *next_kicked;
};

/* Where requests wait for a worker (workers.c). Strangers are connections whose user is not known
 * yet; urgent are refusals, and what the configuration says. */
enum { LANE_STRANGERS, LANE_URGENT, LANE_USERS, HTTP_LANES = 128 };

struct http_lane {
    struct http_job *first, **last;
    unsigned waiting, running;
};

/* L, but for its making. */
struct http_upgrade {
    struct http_request *r;
    char *protocol;
    const struct http_upgrade_handlers *handlers;
    void *userdata;
    struct wire wire;
    bool open;
};

struct http_workers {
    pthread_t *threads;
    unsigned n;
    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t more;
    struct http_lane lanes[HTTP_LANES];
    unsigned turn; /* the lane that is looked at first */
    bool stopping;
};

/* Certificate and key for new connections. Handshakes under way may use an older one, so they stay until the end:
 * rotation happens a few times a year. */
struct http_identity {
    gnutls_pcert_st chain[8];
    unsigned n;
    gnutls_privkey_t key;
    struct http_identity *older;
};

struct http_server {
    struct http_config config;
    sd_event *loop;
    struct MHD_Daemon *daemon;
    struct http_identity *identity;
    struct http_connection *connections; /* L */
    unsigned active;                     /* L: requests between their headers and the end of their answer */
    uint16_t port;
    int wake_fd; /* eventfd: something is in the post */
    sd_event_source *daemon_source, *wake_source, *turn_timer, *again, *janitor;
    int64_t turn_at_ms;  /* L: when turn_timer goes off at the latest; 0 = it is off */
    unsigned strangers;  /* L: connections that have not begun a request */
    unsigned idle_turns; /* L: in a row, asked for by MHD though nothing had come */
    sd_event_source *drain_timer;
    void (*drained)(void *userdata);
    void *drained_data;
    bool draining, stopping;
    struct http_workers workers;
    pthread_mutex_t post_lock; /* guards the rest */
    bool post_told;            /* the loop knows that there is something */
    struct http_request *posted, **posted_end;
    struct http_stream *kicked, **kicked_end;
    struct http_counters counters; /* atomic */
};

static inline void parts_release(const struct http_part *parts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        blob_unref(parts[i].blob);
}

#define COUNT(s, field, by) ((void)__atomic_add_fetch(&(s)->counters.field, (by), __ATOMIC_RELAXED))

/* workers.c */
int workers_start(struct http_workers *w, unsigned n, struct gw_error *err);
void workers_submit(struct http_workers *w, struct http_request *r); /* r->job in the lane of its connection */
void workers_add(struct http_workers *w, const char *user, struct http_job *job);
void workers_stop(struct http_workers *w); /* waits for handlers that run; what is queued stays unanswered */

/* post.c: from any thread, wake the loop */
void server_wake(struct http_server *s);
void server_post(struct http_server *s, struct http_request *r);
void server_kick(struct http_server *s, struct http_stream *st); /* with st->lock held */
/* On the loop's thread: all answers, by their next; one stream, NULL if there is none. */
struct http_request *post_take_answers(struct http_server *s);
struct http_stream *post_take_kicked(struct http_server *s);

/* daemon.c */
int http_daemon_start(struct http_server *s, const char *address, struct gw_error *err);
/* Cuts clients that owe something for too long, or have left. */
void http_daemon_sweep(struct http_server *s);

/* request.c */
struct http_request *request_new(struct http_connection *c, const char *target);
void request_free(struct http_request *r);
/* One call of MHD's access handler. */
enum MHD_Result request_step(struct http_request *r, const char *method, const char *data, size_t *len);

/* answer.c */
enum MHD_Result answer_queue(struct http_request *r);

/* gzip.c: replaces the parts of a large answer, if its client takes that */
void answer_compress(struct http_request *r);

/* stream.c: on the loop's thread */
struct MHD_Response *stream_response(struct http_stream *st, bool chunked);
void stream_kick(struct http_stream *st); /* drops the reference of the kicked list */
void stream_cut(struct http_stream *st);
void stream_over(struct http_stream *st); /* drops the server's reference */

/* wire.c: on the loop's thread; as http_upgrade_read and _write */
void wire_open(struct wire *w, const struct http_connection *c);
ssize_t wire_read(struct wire *w, void *buf, size_t len);
ssize_t wire_write(struct wire *w, const void *data, size_t len);

/* upgrade.c: on the loop's thread */
void upgrade_start(struct http_upgrade *u);
void upgrade_cut(struct http_upgrade *u);
void upgrade_free(struct http_upgrade *u);

/* identity.c */
int http_identity_load(const char *cert_pem, const char *key_pem, struct http_identity **ret, struct gw_error *err);
void http_identity_free(struct http_identity *i);
gnutls_certificate_retrieve_function2 http_identity_retrieve;

/* socket.c */
int socket_listen(const char *address, uint16_t port, uint16_t *ret_port, struct gw_error *err);
