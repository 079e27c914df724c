/* The path of the field that a walk over an object is at ("spec.disks[2].name"). Walks enter and leave many times per
 * object, so nothing is formatted. */
#pragma once

#include "base/str.h"

/* Both return the length to leave to. */
static inline size_t field_path_enter(struct str *path, const char *name)
{
    size_t before = path->len;

    if (before)
        str_putc(path, '.');
    str_puts(path, name);
    return before;
}

static inline size_t field_path_enter_item(struct str *path, size_t index)
{
    char digits[20], *d = digits + sizeof(digits);
    size_t before = path->len;

    do
        *--d = (char)('0' + index % 10);
    while (index /= 10);
    str_putc(path, '[');
    str_add(path, d, (size_t)(digits + sizeof(digits) - d));
    str_putc(path, ']');
    return before;
}

static inline void field_path_leave(struct str *path, size_t before)
{
    path->len = before;
    if (path->data)
        path->data[before] = '\0';
}
