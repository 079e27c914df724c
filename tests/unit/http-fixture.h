/* An HTTP server with real sockets: a loop in its own thread; and raw TCP for what no proper client sends. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/str.h"
#include "http/http_server.h"

struct fixture {
    struct http_config config;
    struct http_server *s;
    pthread_t thread;
    pthread_barrier_t ready;
    int stop_fd;
    const char *new_cert, *new_key; /* to be taken over when stop_fd is written 2 */
    bool drain;
};

void server_start(struct fixture *f);
void server_stop(struct fixture *f);

int dial(const struct fixture *f);
void say(int fd, const char *text);
/* Reads until `until` was seen, the peer closed, or ms passed. */
char *listen_for(int fd, const char *until, int ms);
/* True when the server has closed the connection within ms. */
bool ends(int fd, int ms);
/* One request on a connection of its own, and what came until `until`. */
char *exchange(const struct fixture *f, const char *request, const char *until);
/* Bytes of the body as curl sees it; with decode NULL as they came over the wire. */
size_t fetch(const struct fixture *f, const char *path, const char *header, const char *decode);
/* The server's side of a stream that fd is the client's of, when it was answered. */
struct http_stream *open_stream(int fd);
/* For curl: appends to a struct str. */
size_t collect(char *data, size_t size, size_t n, void *userdata);

/* http-handlers.c: what the server serves. */
void serve(struct http_request *r, void *userdata);
struct http_part text_part(const char *text);

extern struct http_stream *last_stream; /* atomic: of /stream */
extern unsigned closed_streams, ended_upgrades;
extern sd_event *served_loop; /* of the one server that runs */
