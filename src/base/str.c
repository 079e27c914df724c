#include "base/str.h"

#include <string.h>

#include "base/alloc.h"

void str_done(struct str *s)
{
    free(s->data);
    *s = (struct str){0};
}

void str_reserve(struct str *s, size_t extra)
{
    size_t need = s->len + extra + 1;

    if (need <= s->capacity)
        return;
    s->capacity = MAX(need, s->capacity * 2);
    s->capacity = MAX(s->capacity, (size_t)64);
    s->data = xrealloc(s->data, s->capacity);
}

void str_add(struct str *s, const void *data, size_t len)
{
    str_reserve(s, len);
    if (len)
        memcpy(s->data + s->len, data, len);
    s->len += len;
    s->data[s->len] = '\0';
}

void str_puts(struct str *s, const char *text)
{
    str_add(s, text, strlen(text));
}

void str_putc(struct str *s, char c)
{
    str_add(s, &c, 1);
}

void str_printf(struct str *s, const char *fmt, ...)
{
    va_list ap, again;

    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n > 0) {
        str_reserve(s, (size_t)n);
        vsnprintf(s->data + s->len, (size_t)n + 1, fmt, again);
        s->len += (size_t)n;
    }
    va_end(again);
}

char *str_take(struct str *s)
{
    str_reserve(s, 0);
    s->data[s->len] = '\0';
    char *data = s->data;
    *s = (struct str){0};
    return data;
}

const char *str_text(const struct str *s)
{
    return s->data ? s->data : "";
}

bool str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);

    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

bool str_same(const char *a, const char *b)
{
    return a == b || (a && b && streq(a, b));
}
