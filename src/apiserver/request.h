/* One API request and its answer, free of sockets: the HTTP server fills the first and sends the second, tests and
 * simulations do the same by hand. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/error.h"
#include "base/vec.h"

struct watcher;

/* A further attribute of a user; one with several values stands there several times in a row. */
struct api_extra {
    const char *key, *value;
};

/* Who asks, as authentication found out. */
struct api_user {
    const char *name; /* "system:anonymous" when nobody was identified */
    const char *const *groups;
    size_t n_groups;
    const char *uid; /* NULL = none is known */
    const struct api_extra *extra;
    size_t n_extra;
};

bool api_user_in_group(const struct api_user *u, const char *group);

/* All pointers are borrowed for the time of the call. */
struct api_request {
    const char *method; /* "GET" */
    const char *target; /* "/api/v1/pods?limit=5": as sent, still percent-encoded */
    const char *accept; /* headers; NULL = not sent */
    const char *content_type;
    const char *if_none_match;
    const char *user_agent;
    const char *upgrade;
    const void *body;
    size_t body_len;
    struct api_user user;
};

/* A piece of a body: len bytes of blob from offset on. */
struct api_part {
    struct blob *blob;
    size_t offset;
    size_t len;
};
VEC_DEFINE(api_parts, struct api_part);

struct api_header {
    char *name;
    char *value;
};
VEC_DEFINE(api_headers, struct api_header);

/* An answer that is made by other means than a body: whoever sends answers calls run with its own request (the HTTP
 * server: struct http_request), which must answer it; or drop, when none is sent. Exactly one of them takes data. */
struct api_handoff {
    void (*run)(void *data, void *transport);
    void (*drop)(void *data);
    void *data;
};

/* The answer. The body is the concatenation of its parts, so that stored bytes go out without a copy. With `watch` set
 * it is a stream instead: status and headers go out at once, then what watcher_next (watch.h) gives until its end;
 * whoever sends it takes the watcher over (TAKE_PTR) and closes it. */
struct api_response {
    int status;
    const char *content_type;   /* static string */
    struct api_headers headers; /* besides Content-Type and Content-Length */
    struct api_parts body;
    struct watcher *watch;
    struct api_handoff handoff; /* run NULL: none. The headers are still the answer's */
};

/* Empties r, also of a watcher nobody took. */
void api_response_done(struct api_response *r);
#define _cleanup_response_ __attribute__((cleanup(api_response_done)))

/* Appends to the body. The blob form takes one reference over; text is copied. */
void api_parts_add(struct api_parts *p, struct blob *b, size_t offset);
void api_parts_add_text(struct api_parts *p, const char *text);
void api_parts_clear(struct api_parts *p);
/* Total bytes; and all of them joined, for tests and small bodies. */
size_t api_parts_len(const struct api_parts *p);
struct blob *api_parts_join(const struct api_parts *p);

void api_response_header(struct api_response *r, const char *name, const char *fmt, ...) _printf_(3, 4);

/* The answer is this one JSON document (reference taken over), or text. Replaces what r had as status, type and body.
 */
void api_response_json(struct api_response *r, int status, struct blob *body);
void api_response_text(struct api_response *r, int status, const char *text);

/* What an answer is about; all may be NULL. */
struct api_subject {
    const char *group;
    const char *resource; /* plural: most errors name it */
    const char *kind;     /* Invalid ones name it; NULL = resource there too */
    const char *name;
    const char *uid;
};

/* The answer is the Status object for err (code, reason, details with causes, Retry-After), encoded as Kubernetes does.
 * Which of about's texts go into details depends on the reason, as in k8s.io/apimachinery's errors. */
void api_response_error(struct api_response *r, const struct gw_error *err, const struct api_subject *about);
struct blob *api_status_encode(const struct gw_error *err, const struct api_subject *about);
/* The Status of success, as a delete answers it. */
struct blob *api_status_success(const struct api_subject *about);
