/* Random bytes from the kernel, and the identifiers made of them. */
#pragma once

#include <stddef.h>

#define UUID_TEXT 37

void random_bytes(void *buf, size_t len);

/* A version 4 UUID in text form. buf holds UUID_TEXT; returns buf. */
char *random_uuid(char *buf);

/* len characters of the alphabet that Kubernetes uses for generated names (no vowels, no look-alikes), and a NUL. */
char *random_suffix(char *buf, size_t len);
