/* Typed growing arrays.
 *
 *   VEC_DEFINE(pod_vec, struct pod *);
 *   struct pod_vec v = {0};
 *   pod_vec_push(&v, pod);
 *   VEC_EACH(&v, p) use(*p);
 *   pod_vec_done(&v);            (frees the array, not what its items point to)
 */
#pragma once

#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

#define VEC_DEFINE(name, type) \
    struct name { \
        type *items; \
        size_t len; \
        size_t capacity; \
    }; \
    static inline _unused_ void name##_push(struct name *v, type item) \
    { \
        if (v->len == v->capacity) { \
            v->capacity = v->capacity ? v->capacity * 2 : 8; \
            v->items = xrealloc(v->items, v->capacity * sizeof(type)); \
        } \
        v->items[v->len++] = item; \
    } \
    static inline _unused_ void name##_remove(struct name *v, size_t at) \
    { \
        memmove(v->items + at, v->items + at + 1, (v->len - at - 1) * sizeof(type)); \
        v->len--; \
    } \
    static inline _unused_ void name##_done(struct name *v) \
    { \
        free(v->items); \
        *v = (struct name){0}; \
    } \
    struct name

#define VEC_EACH(v, it) for (__typeof__(&*(v)->items) it = (v)->items; it && it < (v)->items + (v)->len; it++)
