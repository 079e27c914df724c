/* Elements of Accept and Content-Type (RFC 9110, section 8.3.1 and 12.5.1). */
#include <ctype.h>
#include <string.h>

#include "http/uri.h"

/* The length of the piece of text up to one of the characters in stop, which count only outside of quotes. */
static size_t piece(const char *text, size_t len, const char *stop)
{
    bool quoted = false;
    size_t i;

    for (i = 0; i < len; i++) {
        if (quoted && text[i] == '\\' && i + 1 < len)
            i++;
        else if (text[i] == '"')
            quoted = !quoted;
        else if (!quoted && strchr(stop, text[i]))
            break;
    }
    return i;
}

static void trim(const char **text, size_t *len)
{
    while (*len && isspace((unsigned char)**text))
        (*text)++, (*len)--;
    while (*len && isspace((unsigned char)(*text)[*len - 1]))
        (*len)--;
}

/* Copies a token; false if it is empty or too long. */
static bool take_token(const char *text, size_t len, char *out)
{
    trim(&text, &len);
    if (len == 0 || len >= HTTP_MEDIA_TEXT)
        return false;
    for (size_t i = 0; i < len; i++)
        out[i] = (char)tolower((unsigned char)text[i]);
    out[len] = '\0';
    return true;
}

static bool take_value(const char *text, size_t len, char *out)
{
    size_t n = 0;

    trim(&text, &len);
    if (len >= HTTP_MEDIA_TEXT)
        return false;
    if (len < 2 || text[0] != '"' || text[len - 1] != '"') {
        memcpy(out, text, len);
        out[len] = '\0';
        return true;
    }
    for (size_t i = 1; i < len - 1; i++) {
        if (text[i] == '\\' && i + 1 < len - 1)
            i++;
        out[n++] = text[i];
    }
    out[n] = '\0';
    return true;
}

static bool take_param(const char *text, size_t len, struct http_media *m)
{
    size_t name_len = piece(text, len, "=");

    if (name_len == len || m->n_params == HTTP_MEDIA_MAX_PARAMS ||
        !take_token(text, name_len, m->params[m->n_params].name) ||
        !take_value(text + name_len + 1, len - name_len - 1, m->params[m->n_params].value))
        return false;
    m->n_params++;
    return true;
}

static bool take_media(const char *text, size_t len, struct http_media *m)
{
    size_t n = piece(text, len, ";");

    m->n_params = 0;
    if (!take_token(text, n, m->type) || !strchr(m->type, '/'))
        return false;
    while (n < len) {
        size_t next = piece(text + n + 1, len - n - 1, ";");

        if (!take_param(text + n + 1, next, m))
            return false;
        n += next + 1;
    }
    return true;
}

bool http_media_next(const char **cursor, struct http_media *ret)
{
    while (**cursor) {
        const char *text = *cursor;
        size_t len = piece(text, strlen(text), ",");

        *cursor = text + len + (text[len] == ',');
        if (take_media(text, len, ret))
            return true;
    }
    return false;
}

const char *http_media_param(const struct http_media *m, const char *name)
{
    for (size_t i = 0; i < m->n_params; i++)
        if (streq(m->params[i].name, name))
            return m->params[i].value;
    return NULL;
}
