/* Splits a byte stream into lines as it arrives, for watches: one JSON document per line. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

/* An object in etcd may have 1.5 MiB; escaped and wrapped it stays far below this. */
#define LINE_MAX_BYTES (16u << 20)

/* line is NUL-terminated, without its "\n" or "\r\n"; empty lines are skipped. false ends the splitting at once. */
typedef bool (*line_fn)(void *userdata, const char *line, size_t len);

struct line_splitter {
    struct str rest; /* the beginning of a line that is not complete */
};

/* 0, or -EMSGSIZE when a line is too long, or -ECANCELED when fn said false (the splitter is not touched after that).
 */
int lines_feed(struct line_splitter *s, const void *data, size_t len, line_fn fn, void *userdata);
void lines_done(struct line_splitter *s);
