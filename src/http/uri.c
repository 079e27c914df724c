#include "http/uri.h"

#include <ctype.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes len bytes; in a query '+' is a space (application/x-www-form-urlencoded). NULL for broken encoding and for
 * NUL bytes, which no name or value may hold and which would end C strings early. */
static char *decode(const char *text, size_t len, bool in_query)
{
    _cleanup_free_ char *out = xmalloc(len + 1);
    char *o = out;

    for (size_t i = 0; i < len; i++) {
        int c = (unsigned char)text[i];

        if (c == '+' && in_query)
            c = ' ';
        else if (c == '%') {
            int high = len - i > 2 ? hex_digit(text[i + 1]) : -1, low = high < 0 ? -1 : hex_digit(text[i + 2]);

            if (low < 0)
                return NULL;
            c = high * 16 + low;
            i += 2;
        }
        if (c == 0)
            return NULL;
        *o++ = (char)c;
    }
    *o = '\0';
    return TAKE_PTR(out);
}

static int add_segment(struct http_uri *u, const char *text, size_t len, struct gw_error *err)
{
    char *segment;

    if (len == 0)
        return 0;
    if (u->n_segments == HTTP_URI_MAX_SEGMENTS)
        return gw_error_set(err, GW_BAD_REQUEST, "the request path has more than %d parts", HTTP_URI_MAX_SEGMENTS);
    segment = decode(text, len, false);
    if (!segment)
        return gw_error_set(err, GW_BAD_REQUEST, "the request path has a broken percent encoding");
    u->segments[u->n_segments++] = segment;
    if (streq(segment, ".") || streq(segment, ".."))
        return gw_error_set(err, GW_BAD_REQUEST, "the request path has a \"%s\" in it", segment);
    return 0;
}

static int parse_path(const char *path, size_t path_len, struct http_uri *u, struct gw_error *err)
{
    const char *end = path + path_len;
    _cleanup_str_ struct str joined = {0};

    if (path[0] != '/')
        return gw_error_set(err, GW_BAD_REQUEST, "the request path does not begin with \"/\"");
    u->segments = xnew_n(char *, HTTP_URI_MAX_SEGMENTS);
    for (const char *p = path; p < end;) {
        const char *slash = memchr(p + 1, '/', (size_t)(end - p - 1));
        size_t len = (size_t)((slash ? slash : end) - p - 1);
        int r = add_segment(u, p + 1, len, err);

        if (r < 0)
            return r;
        p += len + 1;
    }
    for (size_t i = 0; i < u->n_segments; i++)
        str_printf(&joined, "/%s", u->segments[i]);
    if (u->n_segments == 0)
        str_putc(&joined, '/');
    u->path = str_take(&joined);
    return 0;
}

static int add_param(struct http_uri *u, const char *text, size_t len, struct gw_error *err)
{
    const char *equal = memchr(text, '=', len);
    size_t name_len = equal ? (size_t)(equal - text) : len;
    struct http_param *p;

    if (len == 0)
        return 0;
    if (u->n_params == HTTP_URI_MAX_PARAMS)
        return gw_error_set(err, GW_BAD_REQUEST, "the request has more than %d query parameters", HTTP_URI_MAX_PARAMS);
    u->params = xrealloc(u->params, (u->n_params + 1) * sizeof(*u->params));
    p = &u->params[u->n_params++];
    p->name = decode(text, name_len, true);
    p->value = equal ? decode(equal + 1, len - name_len - 1, true) : xstrdup("");
    if (!p->name || !p->value)
        return gw_error_set(err, GW_BAD_REQUEST, "the query has a broken percent encoding");
    return 0;
}

static int parse_query(const char *query, struct http_uri *u, struct gw_error *err)
{
    for (const char *p = query; *p;) {
        size_t len = strcspn(p, "&");
        int r = add_param(u, p, len, err);

        if (r < 0)
            return r;
        p += len + (p[len] == '&');
    }
    return 0;
}

int http_uri_parse(const char *target, struct http_uri *ret, struct gw_error *err)
{
    _cleanup_uri_ struct http_uri u = {0};
    size_t path_len = strcspn(target, "?");
    int r = parse_path(target, path_len, &u, err);

    if (r < 0)
        return r;
    r = target[path_len] ? parse_query(target + path_len + 1, &u, err) : 0;
    if (r < 0)
        return r;
    *ret = u;
    u = (struct http_uri){0};
    return 0;
}

void http_uri_done(struct http_uri *u)
{
    free(u->path);
    for (size_t i = 0; i < u->n_segments; i++)
        free(u->segments[i]);
    free(u->segments);
    for (size_t i = 0; i < u->n_params; i++) {
        free(u->params[i].name);
        free(u->params[i].value);
    }
    free(u->params);
    *u = (struct http_uri){0};
}

const char *http_uri_param(const struct http_uri *u, const char *name)
{
    for (size_t i = 0; i < u->n_params; i++)
        if (streq(u->params[i].name, name))
            return u->params[i].value;
    return NULL;
}

bool http_uri_flag(const struct http_uri *u, const char *name)
{
    static const char *const yes[] = {"", "1", "t", "T", "true", "True", "TRUE"};
    const char *value = http_uri_param(u, name);

    for (size_t i = 0; value && i < ARRAY_SIZE(yes); i++)
        if (streq(value, yes[i]))
            return true;
    return false;
}
