/* A growing byte string, always NUL-terminated once something was added. Zero-initialised is empty. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

struct str {
    char *data;
    size_t len;
    size_t capacity;
};

#define _cleanup_str_ __attribute__((cleanup(str_done)))

void str_done(struct str *s);
void str_reserve(struct str *s, size_t extra);
void str_add(struct str *s, const void *data, size_t len);
void str_puts(struct str *s, const char *text);
void str_putc(struct str *s, char c);
void str_printf(struct str *s, const char *fmt, ...) _printf_(2, 3);

/* The text as a heap string owned by the caller ("" when empty); s is empty afterwards. */
char *str_take(struct str *s);

/* The text without a copy, "" when empty; valid until s changes. */
const char *str_text(const struct str *s);

bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);

/* a equals b where NULL equals only NULL. */
bool str_same(const char *a, const char *b);
