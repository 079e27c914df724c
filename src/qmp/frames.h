/* Cuts a byte stream into lines, as QMP sends one JSON object per line (QEMU's qmp-spec: "terminated by CRLF"; no JSON
 * text holds a raw line feed). Bytes come in any portions; a line may be as long as FRAMES_MAX, or as its reader
 * allows. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

/* query-qmp-schema answers about 1 MiB; nothing that QEMU says is near this. */
#define FRAMES_MAX (64u << 20)

struct frames {
    struct str buffer;
    size_t start;   /* first byte not handed out */
    size_t scanned; /* bytes before it hold no line feed beyond start */
    size_t max;     /* bytes of a line; 0: FRAMES_MAX */
};

void frames_done(struct frames *f);

/* Appends bytes. False when a line became longer than is allowed: the stream is not worth going on with. */
bool frames_feed(struct frames *f, const void *data, size_t len);

/* Drops all that was not handed out. */
void frames_clear(struct frames *f);

/* The next whole line without its end; empty lines are skipped. Valid until the next call of frames_feed. */
bool frames_next(struct frames *f, const char **ret_line, size_t *ret_len);
