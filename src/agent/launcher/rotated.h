/* A file that is appended to and kept small: at `max` bytes it becomes FILE.1, in place of the one before. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct rotated {
    int fd; /* -1: not open, what is written is lost */
    char *path;
    int64_t size, max;
};

/* Opens or makes the file; path is copied. A negative errno on failure. */
int rotated_open(struct rotated *f, const char *path, int64_t max);

/* A full disk costs the words, not the writer. */
void rotated_write(struct rotated *f, const char *data, size_t len);
