/* What a client may write into a request line and into headers, parsed: pure functions over foreign bytes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct http_param {
    char *name;
    char *value; /* "" for "?watch" and "?watch=" */
};

/* A request target. Segments are split before they are decoded, so %2F stays inside its segment. Empty segments are
 * dropped ("/version/" is "/version"). */
struct http_uri {
    char *path; /* decoded segments joined by '/', beginning with '/' */
    char **segments;
    size_t n_segments;
    struct http_param *params;
    size_t n_params;
};

#define HTTP_URI_MAX_SEGMENTS 64
#define HTTP_URI_MAX_PARAMS 256

/* target: as sent, "/api/v1/pods?watch=1". BadRequest for broken percent encoding, NUL bytes, "." and ".." segments, or
 * too many parts. */
int http_uri_parse(const char *target, struct http_uri *ret, struct gw_error *err);
void http_uri_done(struct http_uri *u);
#define _cleanup_uri_ __attribute__((cleanup(http_uri_done)))

/* The first value of a query parameter, NULL when absent. */
const char *http_uri_param(const struct http_uri *u, const char *name);
/* True for "true", "True", "1" and for a parameter without a value, as strconv.ParseBool and url.Values have it. */
bool http_uri_flag(const struct http_uri *u, const char *name);

/* One element of Accept or Content-Type: "application/json;as=Table;v=v1;g=meta.k8s.io". */
#define HTTP_MEDIA_MAX_PARAMS 8
#define HTTP_MEDIA_TEXT 64
struct http_media {
    char type[HTTP_MEDIA_TEXT]; /* lower case, "application/json" */
    struct {
        char name[HTTP_MEDIA_TEXT];  /* lower case */
        char value[HTTP_MEDIA_TEXT]; /* quotes removed */
    } params[HTTP_MEDIA_MAX_PARAMS];
    size_t n_params;
};

/* Takes the next element off *cursor, which starts at the header's value; false at the end. Elements that are too long
 * or malformed are skipped. */
bool http_media_next(const char **cursor, struct http_media *ret);
const char *http_media_param(const struct http_media *m, const char *name);
