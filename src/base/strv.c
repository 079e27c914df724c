#include "base/strv.h"

#include <stdarg.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"

void strv_done(struct strv *v)
{
    for (size_t i = 0; i < v->len; i++)
        free(v->items[i]);
    free(v->items);
    *v = (struct strv){0};
}

void strv_take(struct strv *v, char *text)
{
    if (v->len + 2 > v->capacity) {
        v->capacity = v->capacity ? v->capacity * 2 : 8;
        v->items = xrealloc(v->items, v->capacity * sizeof(char *));
    }
    v->items[v->len++] = text;
    v->items[v->len] = NULL;
}

void strv_push(struct strv *v, const char *text)
{
    strv_take(v, xstrdup(text));
}

void strv_printf(struct strv *v, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    strv_take(v, xvasprintf(fmt, ap));
    va_end(ap);
}

bool strv_has(const struct strv *v, const char *text)
{
    for (size_t i = 0; i < v->len; i++)
        if (streq(v->items[i], text))
            return true;
    return false;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void strv_sort(struct strv *v)
{
    if (v->len > 1)
        qsort(v->items, v->len, sizeof(char *), compare);
}

char *strv_join(const struct strv *v, const char *separator)
{
    struct str s = {0};

    for (size_t i = 0; i < v->len; i++) {
        if (i)
            str_puts(&s, separator);
        str_puts(&s, v->items[i]);
    }
    return str_take(&s);
}
