#include "client/lines.h"

#include <errno.h>
#include <string.h>

void lines_done(struct line_splitter *s)
{
    str_done(&s->rest);
}

/* Takes the complete line out of the splitter first, so that fn may free the splitter. */
static bool deliver(struct line_splitter *s, line_fn fn, void *userdata)
{
    size_t len = s->rest.len;
    _cleanup_free_ char *line = str_take(&s->rest);

    if (len && line[len - 1] == '\r')
        line[--len] = '\0';
    return len == 0 || fn(userdata, line, len);
}

int lines_feed(struct line_splitter *s, const void *data, size_t len, line_fn fn, void *userdata)
{
    const char *p = data, *end = p + len;

    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((newline ? newline : end) - p);

        if (s->rest.len + n > LINE_MAX_BYTES)
            return -EMSGSIZE;
        str_add(&s->rest, p, n);
        p += n;
        if (!newline)
            break;
        p++;
        if (!deliver(s, fn, userdata))
            return -ECANCELED;
    }
    return 0;
}
