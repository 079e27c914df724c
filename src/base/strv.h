/* A list of owned strings that always ends with NULL, as argv wants it. Zero-initialised is empty (items is then NULL).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"

struct strv {
    char **items;
    size_t len;
    size_t capacity;
};

void strv_done(struct strv *v);
#define _cleanup_strv_ _cleanup_(strv_done)

void strv_take(struct strv *v, char *text); /* owns text from then on */
void strv_push(struct strv *v, const char *text);
void strv_printf(struct strv *v, const char *fmt, ...) _printf_(2, 3);
bool strv_has(const struct strv *v, const char *text);
void strv_sort(struct strv *v);

/* The items with separator between them. Caller frees. */
char *strv_join(const struct strv *v, const char *separator);
