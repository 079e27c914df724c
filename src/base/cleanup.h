/* Scope-bound cleanup and ownership transfer, after the practice of systemd and lxc: a resource is released where its
 * variable goes out of scope, and handed on by TAKE_PTR or TAKE_FD, so that functions return early without goto. */
#pragma once

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

/* Defines f##p, which calls f on the pointer held by the variable going out of scope; f must accept NULL. */
#define DEFINE_CLEANUP(type, f) \
    static inline void f##p(type *p) \
    { \
        if (*p) \
            f(*p); \
    }

static inline void free_p(void *p)
{
    free(*(void **)p);
}

static inline void close_p(const int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}

#define _cleanup_free_ _cleanup_(free_p)
#define _cleanup_close_ _cleanup_(close_p)
#define _cleanup_fclose_ _cleanup_(fclosep)

DEFINE_CLEANUP(FILE *, fclose)

/* The value of ptr, which is set to NULL: ownership moves to the caller. */
#define TAKE_PTR(ptr) \
    ({ \
        __typeof__(ptr) _taken = (ptr); \
        (ptr) = NULL; \
        _taken; \
    })

/* The value of fd, which is set to -1. */
#define TAKE_FD(fd) \
    ({ \
        int _taken = (fd); \
        (fd) = -1; \
        _taken; \
    })

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define streq(a, b) (strcmp((a), (b)) == 0)
#define _printf_(f, a) __attribute__((format(printf, f, a)))
#define _unused_ __attribute__((unused))
