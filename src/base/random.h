/* Random bytes from the kernel, and the identifiers made of them. */
#pragma once

#include <stddef.h>

#define UUID_TEXT 37

void random_bytes(void *buf, size_t len);

/* Takes all randomness from elsewhere (NULL: from the kernel again), so that a simulation can be repeated. Never used
 * by programs that serve anybody. */
void random_replace(void (*source)(void *userdata, void *buf, size_t len), void *userdata);

/* A version 4 UUID in text form. buf holds UUID_TEXT; returns buf. */
char *random_uuid(char *buf);

/* len characters of the alphabet that Kubernetes uses for generated names (no vowels, no look-alikes), and a NUL. */
char *random_suffix(char *buf, size_t len);
