#include "qmp/frames.h"

#include <string.h>

void frames_done(struct frames *f)
{
    str_done(&f->buffer);
    *f = (struct frames){0};
}

/* Moves what is left to the front, so that the buffer never grows beyond one line and one portion. */
static void compact(struct frames *f)
{
    if (f->start == 0)
        return;
    memmove(f->buffer.data, f->buffer.data + f->start, f->buffer.len - f->start);
    f->buffer.len -= f->start;
    f->scanned -= f->start;
    f->start = 0;
}

bool frames_feed(struct frames *f, const void *data, size_t len)
{
    compact(f);
    if (len == 0)
        return true;
    str_add(&f->buffer, data, len);
    return f->buffer.len <= (f->max ? f->max : FRAMES_MAX) || memchr(f->buffer.data, '\n', f->buffer.len);
}

void frames_clear(struct frames *f)
{
    f->buffer.len = f->start = f->scanned = 0;
}

bool frames_next(struct frames *f, const char **ret_line, size_t *ret_len)
{
    while (f->scanned < f->buffer.len) {
        const char *from = f->buffer.data + f->scanned;
        const char *end = memchr(from, '\n', f->buffer.len - f->scanned);
        if (!end) {
            f->scanned = f->buffer.len;
            return false;
        }
        const char *line = f->buffer.data + f->start;
        size_t len = (size_t)(end - line);
        f->start = f->scanned = (size_t)(end + 1 - f->buffer.data);
        if (len > 0 && line[len - 1] == '\r')
            len--;
        if (len == 0)
            continue;
        *ret_line = line;
        *ret_len = len;
        return true;
    }
    return false;
}
