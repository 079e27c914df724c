/* Which lines of a launcher's log are shown (agent/launcher/log.h has their form). Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "http/uri.h"

/* As kubectl logs asks for them. */
struct line_options {
    int64_t tail;     /* lines; -1: all */
    int64_t since_ms; /* wall clock; 0: all */
    int64_t limit;    /* bytes of output; -1: any */
    bool timestamps;
    bool follow;
};

/* Reads the query of Kubernetes' pods/log: tailLines, sinceSeconds, sinceTime, limitBytes, timestamps, follow. What is
 * no number or time is BadRequest. */
int line_options_read(const struct http_uri *uri, int64_t now_ms, struct line_options *ret, struct gw_error *err);

/* Where the last `tail` lines begin. */
size_t lines_tail(const char *text, size_t len, int64_t tail);

/* Appends the lines that are to be shown to out, less what makes more than o->limit bytes (which is counted down).
 * Returns how much of text was used: whole lines only. */
size_t lines_take(struct line_options *o, const char *text, size_t len, struct str *out);
