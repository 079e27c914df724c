#include "agent/guest/lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static int read_number(const struct http_uri *uri, const char *name, int64_t *ret, struct gw_error *err)
{
    const char *text = http_uri_param(uri, name);
    char *end;

    if (!text)
        return 0;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (errno || end == text || *end || n < 0)
        return gw_error_set(err, GW_BAD_REQUEST, "%s: want a whole number from 0 on, not \"%s\"", name, text);
    *ret = n;
    return 0;
}

int line_options_read(const struct http_uri *uri, int64_t now_ms, struct line_options *ret, struct gw_error *err)
{
    struct line_options o = {.tail = -1, .limit = -1};
    const char *since = http_uri_param(uri, "sinceTime");
    int64_t seconds = -1;
    int r = read_number(uri, "tailLines", &o.tail, err);

    r = r < 0 ? r : read_number(uri, "limitBytes", &o.limit, err);
    r = r < 0 ? r : read_number(uri, "sinceSeconds", &seconds, err);
    if (r < 0)
        return r;
    if (since && seconds >= 0)
        return gw_error_set(err, GW_BAD_REQUEST, "at most one of sinceTime and sinceSeconds can be given");
    if (seconds >= 0)
        o.since_ms = now_ms - 1000 * MIN(seconds, now_ms / 1000);
    if (since && (o.since_ms = clock_parse(since)) < 0)
        return gw_error_set(err, GW_BAD_REQUEST, "sinceTime: \"%s\" is no time", since);
    o.timestamps = http_uri_flag(uri, "timestamps");
    o.follow = http_uri_flag(uri, "follow");
    *ret = o;
    return 0;
}

size_t lines_tail(const char *text, size_t len, int64_t tail)
{
    if (tail <= 0)
        return tail < 0 ? 0 : len;
    for (size_t at = len ? len - 1 : 0; at > 0; at--)
        if (text[at - 1] == '\n' && --tail == 0)
            return at;
    return 0;
}

static bool is_shown(const struct line_options *o, const char *line, size_t time_len)
{
    char time[CLOCK_TEXT_MAX];

    if (o->since_ms == 0 || time_len >= sizeof(time))
        return true;
    memcpy(time, line, time_len);
    time[time_len] = '\0';
    return clock_parse(time) >= o->since_ms;
}

size_t lines_take(struct line_options *o, const char *text, size_t len, struct str *out)
{
    size_t used = 0;
    const char *end;

    while (used < len && (end = memchr(text + used, '\n', len - used))) {
        const char *line = text + used, *space = memchr(line, ' ', (size_t)(end - line));
        size_t time_len = space ? (size_t)(space - line) : 0;
        const char *from = o->timestamps || !space ? line : space + 1;
        size_t n = (size_t)(end + 1 - from);

        used = (size_t)(end + 1 - text);
        if (!is_shown(o, line, time_len))
            continue;
        if (o->limit >= 0) {
            n = MIN(n, (size_t)o->limit);
            o->limit -= (int64_t)n;
        }
        str_add(out, from, n);
    }
    return used;
}
